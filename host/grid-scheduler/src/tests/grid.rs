//! A machine with names for what tests do to it.

use grid_proto::message::{
    Answer, Assignment, FromClient, FromWorker, Outcome, Query, Registration, Submission, ToClient,
    ToWorker,
};
use grid_proto::report::CallInfo;
use grid_proto::{
    Arg, Attempt, BundleDescription, BundleHash, CallOptions, CallSpec, ClientId, Codec, Failure,
    FailureKind, Key, ObjectMeta, Parameter, RequestId, Spent, TaskDescription, TaskLimits,
    TaskRef, Value, Version, WorkerId,
};

use crate::{Action, Config, Event, Now, Scheduler};

pub(super) const BUNDLE: BundleHash = BundleHash([9; 32]);
pub(super) const ANN: ClientId = ClientId(1);
pub(super) const BOB: ClientId = ClientId(2);
/// Asks for the tests themselves.
const TESTER: ClientId = ClientId(1_000);

pub(super) struct Grid {
    pub(super) machine: Scheduler,
    pub(super) now: Now,
    requests: u64,
}

/// What came out of one batch.
#[derive(Debug, Default)]
pub(super) struct Out(pub(super) Vec<Action>);

impl Grid {
    /// Two clients, no worker, and a bundle.
    pub(super) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(super) fn with(config: Config) -> Self {
        let machine = Scheduler::new(config);
        let mut grid = Self { machine, now: Now(1), requests: 0 };
        let description = description("tests", "1");
        grid.tell(Event::BundleRestored { hash: BUNDLE, size_bytes: 10, description });
        for client in [ANN, BOB, TESTER] {
            grid.tell(Event::ClientConnected(client));
        }
        grid
    }

    /// One event, one placement round, all checks.
    pub(super) fn tell(&mut self, event: Event) -> Out {
        self.machine.handle(self.now, event);
        self.settle()
    }

    pub(super) fn settle(&mut self) -> Out {
        self.machine.flush(self.now);
        self.machine.check().unwrap();
        while self.machine.has_leftovers() {
            self.machine.flush(self.now);
        }
        self.machine.check().unwrap();
        Out(std::iter::from_fn(|| self.machine.poll_action()).collect())
    }

    pub(super) fn worker(&mut self, id: u32, slots: u32) -> Out {
        self.register(id, &format!("w{id}"), id, slots, Vec::new())
    }

    pub(super) fn register(
        &mut self,
        id: u32,
        name: &str,
        pid: u32,
        slots: u32,
        holds: Vec<(Key, ObjectMeta)>,
    ) -> Out {
        let registration = Registration { holds, ..self.registration(id, name, pid, slots) };
        self.tell(Event::WorkerConnected(WorkerId(id), registration))
    }

    pub(super) fn registration(&self, id: u32, name: &str, pid: u32, slots: u32) -> Registration {
        Registration {
            name: name.to_owned(),
            address: format!("{name}:1"),
            host: format!("host-{id}"),
            labels: Vec::new(),
            resources: Vec::new(),
            memory_bytes: 1 << 30,
            object_bytes: 1 << 30,
            pid,
            slots,
            holds: Vec::new(),
            in_hand: Vec::new(),
        }
    }

    pub(super) fn submit(&mut self, client: ClientId, calls: &[CallSpec], wanted: &[Key]) -> Out {
        self.requests += 1;
        let request = RequestId(self.requests);
        let (calls, wanted) = (calls.to_vec(), wanted.to_vec());
        let whole = Submission {
            request,
            tasks: tasks(),
            calls,
            wanted,
            detached: Vec::new(),
            more: false,
        };
        self.say(client, FromClient::Submit(whole))
    }

    pub(super) fn say(&mut self, client: ClientId, message: FromClient) -> Out {
        self.tell(Event::Client(client, message))
    }

    /// Several messages, one placement round.
    pub(super) fn say_all(
        &mut self,
        client: ClientId,
        messages: impl IntoIterator<Item = FromClient>,
    ) -> Out {
        for message in messages {
            self.machine.handle(self.now, Event::Client(client, message));
        }
        self.settle()
    }

    pub(super) fn hear(&mut self, worker: u32, message: FromWorker) -> Out {
        self.tell(Event::Worker(WorkerId(worker), message))
    }

    pub(super) fn finish(&mut self, worker: u32, call: u64, attempt: u32, bytes: u64) -> Out {
        let outcome = Outcome::Memory { meta: meta(bytes), inline: None };
        self.end(worker, call, attempt, outcome)
    }

    pub(super) fn fail(&mut self, worker: u32, call: u64, attempt: u32, kind: FailureKind) -> Out {
        self.end(worker, call, attempt, Outcome::Failed(Failure::new(kind, "it broke")))
    }

    fn end(&mut self, worker: u32, call: u64, attempt: u32, outcome: Outcome) -> Out {
        let (key, attempt) = (key(call), Attempt(attempt));
        let spent = Spent { wall_us: 100, ..Spent::default() };
        self.hear(worker, FromWorker::Finished { key, attempt, outcome, spent })
    }

    pub(super) fn ask(&mut self, query: Query) -> Answer {
        let out = self.say(TESTER, FromClient::Query { request: RequestId(0), query });
        match out.0.into_iter().next() {
            Some(Action::ToClient(TESTER, ToClient::Answer { answer, .. })) => answer,
            other => panic!("no answer, but {other:?}"),
        }
    }

    pub(super) fn calls(&mut self) -> Vec<CallInfo> {
        let query = Query::Calls { prefix: String::new(), state: None, count_max: u32::MAX };
        match self.ask(query) {
            Answer::Calls(calls) => calls,
            other => panic!("no calls, but {other:?}"),
        }
    }

    pub(super) fn state(&mut self, call: u64) -> String {
        let query = Query::Calls { prefix: key(call).to_string(), state: None, count_max: 1 };
        let Answer::Calls(found) = self.ask(query) else { panic!("no calls") };
        found.first().map_or_else(|| "unknown".to_owned(), |info| info.state.clone())
    }

    pub(super) fn stale(&self) -> u64 {
        self.machine.status().stale_messages
    }
}

impl Out {
    /// Assignments, with the worker that got each.
    pub(super) fn runs(&self) -> Vec<(u32, &Assignment)> {
        let mut runs = Vec::new();
        for action in &self.0 {
            if let Action::ToWorker(worker, ToWorker::Run(assignments)) = action {
                runs.extend(assignments.iter().map(|assignment| (worker.0, assignment)));
            }
        }
        runs
    }

    /// `(worker, call, attempt)` of each assignment.
    pub(super) fn placed(&self) -> Vec<(u32, u64, u32)> {
        let placed = |(worker, run): (u32, &Assignment)| (worker, number(run.key), run.attempt.0);
        self.runs().into_iter().map(placed).collect()
    }

    pub(super) fn cancelled(&self) -> Vec<(u32, u64, u32)> {
        let mut cancelled = Vec::new();
        for action in &self.0 {
            if let Action::ToWorker(worker, ToWorker::Cancel(attempts)) = action {
                let triple = |(key, attempt): &(Key, Attempt)| (worker.0, number(*key), attempt.0);
                cancelled.extend(attempts.iter().map(triple));
            }
        }
        cancelled
    }

    pub(super) fn freed(&self) -> Vec<(u32, u64)> {
        let mut freed = Vec::new();
        for action in &self.0 {
            if let Action::ToWorker(worker, ToWorker::Free { keys, .. }) = action {
                freed.extend(keys.iter().map(|key| (worker.0, number(*key))));
            }
        }
        freed
    }

    pub(super) fn ready(&self, client: ClientId) -> Vec<u64> {
        let ready = |action: &Action| match action {
            Action::ToClient(id, ToClient::Ready { key, .. }) if *id == client => {
                Some(number(*key))
            }
            _ => None,
        };
        self.0.iter().filter_map(ready).collect()
    }

    pub(super) fn failed(&self, client: ClientId) -> Vec<(u64, &Failure)> {
        let failed = |action| match action {
            &Action::ToClient(id, ToClient::Failed { key, ref failure }) if id == client => {
                Some((number(key), failure))
            }
            _ => None,
        };
        self.0.iter().filter_map(failed).collect()
    }

    /// Why a submission or question was refused.
    pub(super) fn refusal(&self) -> Option<String> {
        self.0.iter().find_map(|action| match action {
            Action::ToClient(_, ToClient::Refused { error, .. }) => Some(error.to_string()),
            Action::ToClient(_, ToClient::Answer { answer: Answer::Refused(error), .. }) => {
                Some(error.to_string())
            }
            _ => None,
        })
    }

    pub(super) fn is_accepted(&self) -> bool {
        let accepted =
            |action: &Action| matches!(action, Action::ToClient(_, ToClient::Accepted(_)));
        self.0.iter().any(accepted)
    }
}

/// A call of `plain` on other calls.
pub(super) fn call(number: u64, inputs: &[u64]) -> CallSpec {
    let args = inputs.iter().map(|input| Arg::Key(key(*input))).collect();
    CallSpec {
        key: key(number),
        task: inputs.len().min(3) as u32,
        args,
        options: CallOptions::default(),
    }
}

/// A call of a task that takes one value.
pub(super) fn typed(number: u64, bytes: &[u8]) -> CallSpec {
    let value = Value { codec: Codec::Msgpack, bytes: bytes.to_vec() };
    CallSpec { task: 4, args: vec![Arg::Value(value)], ..call(number, &[]) }
}

pub(super) fn with_retries(spec: CallSpec, retries: u32) -> CallSpec {
    let options = CallOptions { retries: Some(retries), ..spec.options };
    CallSpec { options, ..spec }
}

pub(super) fn tasks() -> Vec<TaskRef> {
    let task = |task: &str| TaskRef { bundle: BUNDLE, task: task.to_owned() };
    ["none", "one", "two", "three", "typed", "reads"].into_iter().map(task).collect()
}

pub(super) fn description(name: &str, version: &str) -> BundleDescription {
    let parameter =
        |n: usize| Parameter { name: format!("p{n}"), shape: "Blob".to_owned(), lazy: false };
    let task = |name: &str, parameters| TaskDescription {
        name: name.to_owned(),
        doc: String::new(),
        parameters,
        output: "Blob".to_owned(),
        pure: true,
        resident: false,
        retries: 0,
        scratch_bytes: 0,
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let number = Parameter { name: "n".to_owned(), shape: "u32".to_owned(), lazy: false };
    BundleDescription {
        name: name.to_owned(),
        version: version.to_owned(),
        sdk: "test@1".to_owned(),
        tasks: vec![
            task("none", Vec::new()),
            task("one", vec![parameter(0)]),
            task("two", vec![parameter(0), parameter(1)]),
            task("three", (0..3).map(parameter).collect()),
            task("typed", vec![number]),
            task("reads", vec![Parameter { lazy: true, ..parameter(0) }, parameter(1)]),
        ],
        imports: Vec::new(),
    }
}

pub(super) fn key(number: u64) -> Key {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Key(key)
}

pub(super) fn number(key: Key) -> u64 {
    u64::from_le_bytes(key.0[..8].try_into().unwrap())
}

pub(super) fn heartbeat() -> FromWorker {
    FromWorker::Heartbeat {
        resident_bytes: 0,
        descriptors: 0,
        fetched_bytes: 0,
        fetching_us: 0,
        memory: grid_proto::report::MemoryUse::default(),
    }
}

/// A copy of a result of so many bytes.
pub(super) fn copy(call: u64, bytes: u64) -> (Key, Version) {
    (key(call), meta(bytes).version())
}

pub(super) fn meta(bytes: u64) -> ObjectMeta {
    ObjectMeta { codec: Codec::Raw, size: bytes, hash: [bytes as u8; 32] }
}
