//! A worker host around the real agent: what `grid-worker`'s driver, slots, store and peers do, on
//! simulated time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::{FromWorker, Outcome, Registration, ToWorker};
use grid_proto::{
    Arg, Attempt, BundleHash, Codec, Failure, FailureKind, Instance, Key, Spent, Value, WorkerId,
};
use grid_worker::agent::{Action, Agent, Execution};

use crate::agenda::{Agenda, Event, LinkId, Process, WorkerEvent};
use crate::data::Upload;
use crate::faults::Faults;
use crate::invariants::needs;
use crate::nested::Nested;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::sharing::Sharing;
use crate::store::Store;
use crate::task::{self, Hash, Kind};

/// Executions that run longer are reported as started.
const STARTED_AFTER_US: u64 = 10_000;
/// A running call ends so soon after it was stopped.
const TICK_US: u64 = 10_000;

/// What a worker's parts share with the world.
pub(crate) struct Context<'a> {
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) oracle: &'a mut Oracle,
    pub(crate) faults: &'a Faults,
    pub(crate) rng: &'a mut Rng,
}

/// A request to a peer that the world has to bring there.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) from: WorkerId,
    pub(crate) address: Option<String>,
    pub(crate) keys: Vec<Key>,
}

#[derive(Debug)]
pub(crate) struct Executing {
    pub(crate) execution: Execution,
    /// The inputs' values as they were in the store when it was dispatched.
    inputs: BTreeMap<Key, Hash>,
    pub(crate) running: bool,
    pub(crate) stopped: bool,
    /// What it submitted, once it has.
    pub(crate) nested: Option<Nested>,
    /// What it does with what is shared, once it has begun to.
    pub(crate) sharing: Option<Sharing>,
}

impl Executing {
    /// It has given its slot back, or did.
    fn has_waited(&self) -> bool {
        self.nested.is_some() || self.sharing.is_some()
    }
}

#[derive(Debug)]
pub(crate) struct SimWorker {
    place: usize,
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) alive: bool,
    pub(crate) slots: usize,
    memory_bytes: u64,
    pub(crate) agent: Agent,
    pub(crate) store: Store,
    /// What the world has counted of its bytes.
    pub(crate) counted_bytes: u64,
    pub(crate) link: Option<LinkId>,
    pub(crate) welcomed: bool,
    pub(crate) executing: BTreeMap<u64, Executing>,
    pub(crate) queue: VecDeque<u64>,
    started: BTreeSet<u64>,
    bundles: BTreeSet<BundleHash>,
    /// What goes to the scheduler at the end of this turn, and to peers.
    outbox: Vec<FromWorker>,
    requests: Vec<Request>,
    died: bool,
    /// Attempts that the scheduler cancelled in this turn.
    cancelled: Vec<(Key, Attempt)>,
    /// Happened while the connection was being made anew.
    pub(crate) deferred: Vec<WorkerEvent>,
}

impl SimWorker {
    pub(crate) fn new(place: usize, slots: usize, memory_bytes: u64) -> Self {
        Self {
            place,
            name: format!("w{place}"),
            process: 0,
            alive: false,
            slots,
            memory_bytes,
            agent: Agent::new(slots, 16),
            store: Store::default(),
            counted_bytes: 0,
            link: None,
            welcomed: false,
            executing: BTreeMap::new(),
            queue: VecDeque::new(),
            started: BTreeSet::new(),
            bundles: BTreeSet::new(),
            outbox: Vec::new(),
            requests: Vec::new(),
            died: false,
            cancelled: Vec::new(),
            deferred: Vec::new(),
        }
    }

    /// It may have an object of this size.
    pub(crate) fn may_hold(&self, size: u64) -> bool {
        self.memory_bytes >= size
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.place, self.process)
    }

    /// The supervisor starts a process; its predecessor's memory is gone.
    pub(crate) fn start(&mut self, name: String) {
        let process = self.process + 1;
        *self = Self { name, process, alive: true, ..self.anew() };
    }

    fn anew(&self) -> Self {
        Self::new(self.place, self.slots, self.memory_bytes)
    }

    pub(crate) fn registration(&self) -> FromWorker {
        FromWorker::Register(Registration {
            host: format!("h{}", self.place / 2),
            labels: needs::labels(self.place),
            resources: needs::resources(self.place),
            memory_bytes: self.memory_bytes,
            object_bytes: self.memory_bytes,
            name: self.name.clone(),
            address: self.address(),
            pid: u32::try_from(self.place).expect("workers are few") * 1_000 + self.process,
            slots: u32::try_from(self.slots).expect("slots are few"),
            holds: self.store.iter().map(|(key, meta)| (*key, *meta)).collect(),
            in_hand: self.agent.in_hand(),
        })
    }

    pub(crate) fn on_messages(&mut self, batch: Vec<ToWorker>) {
        self.welcomed = true;
        for message in batch {
            if let ToWorker::Cancel(attempts) = &message {
                self.cancelled.extend(attempts);
            }
            self.agent.on_message(message);
        }
    }

    pub(crate) fn on_disconnected(&mut self) {
        self.link = None;
        self.welcomed = false;
        self.agent.on_disconnected();
    }

    pub(crate) fn on_event(&mut self, event: WorkerEvent, context: &mut Context<'_>) {
        match event {
            WorkerEvent::Look(number) => self.on_look(number),
            WorkerEvent::Ended(number) => self.on_ended(number, context),
            WorkerEvent::Loaded(bundle, None) => {
                self.bundles.insert(bundle);
                self.agent.on_bundle(bundle, Ok(()));
            }
            WorkerEvent::Loaded(bundle, Some(message)) => {
                self.agent.on_bundle(bundle, Err(Failure::new(FailureKind::LostData, message)));
            }
            WorkerEvent::Fetched { from, found, failed } => {
                let got: Vec<_> = found.iter().map(|(key, meta)| (*key, meta.version())).collect();
                for (key, meta) in found {
                    self.store.insert(key, meta);
                }
                self.agent.on_fetched(from, &got, &failed);
            }
            WorkerEvent::Brought(Upload { key, meta, .. }) => {
                self.store.insert(key, meta);
                self.agent.on_brought(&[(key, meta.version())]);
            }
            WorkerEvent::Full(full) => self.agent.on_paused(full),
            WorkerEvent::Heartbeat => {
                self.agent.on_tick();
                self.outbox.push(FromWorker::Heartbeat {
                    resident_bytes: 1,
                    descriptors: 1,
                    fetched_bytes: 0,
                    fetching_us: 0,
                    memory: grid_proto::report::MemoryUse::default(),
                });
            }
            WorkerEvent::Inspected(bundle) => {
                let result = Ok(task::description());
                self.outbox.push(FromWorker::Inspected { bundle, result });
            }
            WorkerEvent::Start | WorkerEvent::Connect | WorkerEvent::Asked { .. } => {}
        }
    }

    /// The driver's loop body behind an event. What it sends goes nowhere without a connection.
    pub(crate) fn turn(&mut self, context: &mut Context<'_>) -> (Vec<FromWorker>, Vec<Request>) {
        self.agent.flush();
        while let Some(action) = self.agent.poll_action() {
            self.carry_out(action, context);
        }
        (std::mem::take(&mut self.outbox), std::mem::take(&mut self.requests))
    }

    /// Verifies the agent, and that it stopped what it was told to stop.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let cancelled = std::mem::take(&mut self.cancelled);
        let runs_on = |executing: &&Executing| {
            let attempt = (executing.execution.key, executing.execution.attempt);
            !executing.stopped && cancelled.contains(&attempt)
        };
        if let Some(executing) = self.executing.values().find(runs_on) {
            return Err(format!("{} runs on though cancelled", executing.execution.key.short()));
        }
        let held: BTreeSet<_> = self.agent.held().collect();
        if !held.into_iter().eq(self.store.keys()) {
            return Err("its store holds something else than it believes".to_owned());
        }
        self.agent.check()
    }

    /// Says once whether an execution took the process along.
    pub(crate) fn take_death(&mut self) -> bool {
        std::mem::take(&mut self.died)
    }

    fn event(&self, event: WorkerEvent) -> Event {
        Event::Worker(self.place, self.process, event)
    }

    fn carry_out(&mut self, action: Action, context: &mut Context<'_>) {
        match action {
            Action::Send(message) => self.outbox.push(message),
            Action::Execute(execution) => self.execute(execution, context),
            Action::Stop(key, attempt) => self.stop(key, attempt, context),
            Action::Fetch { from, address, keys } => {
                self.requests.push(Request { from, address, keys });
            }
            Action::Tell(key, attempt, message) => {
                self.on_told(key, attempt, *message);
                self.fill_slots(context);
            }
            // What is on its way still comes, or fails: the agent must cope with both.
            Action::HangUp { .. } => {}
            Action::Drop(key) => {
                self.store.remove(&key);
            }
            Action::Load(bundle) => {
                let percent = context.faults.load_fail_percent;
                let failed = context.faults.strikes(percent, context.rng).then(|| {
                    let message = format!("injected while loading, {}", context.agenda.sequence());
                    context.oracle.on_injected(&message, None);
                    message
                });
                let event = self.event(WorkerEvent::Loaded(bundle, failed));
                context.agenda.after(context.rng.range(100, 20_000), event);
            }
            Action::Inspect(bundle) => {
                let event = self.event(WorkerEvent::Inspected(bundle));
                context.agenda.after(context.rng.range(100, 40_000), event);
            }
        }
    }

    fn execute(&mut self, execution: Execution, context: &mut Context<'_>) {
        assert!(self.bundles.contains(&execution.task.bundle), "dispatched without its bundle");
        if let Instance::Of(actor) = execution.instance {
            let inside = |other: &Executing| other.execution.instance == execution.instance;
            assert!(!self.executing.values().any(inside), "two methods in one actor");
            assert!(self.store.get(&actor).is_some(), "a method without its actor");
        }
        let input = |arg: &Arg| match arg {
            Arg::Key(key) => self.store.get(key).map(|meta| (*key, meta.hash)),
            Arg::Value(_) => None,
        };
        let inputs = execution.args.iter().filter_map(input).collect();
        let number = context.agenda.sequence() * 1_000 + self.executing.len() as u64;
        let executing = Executing {
            execution,
            inputs,
            running: false,
            stopped: false,
            nested: None,
            sharing: None,
        };
        self.executing.insert(number, executing);
        self.queue.push_back(number);
        self.fill_slots(context);
    }

    pub(crate) fn fill_slots(&mut self, context: &mut Context<'_>) {
        let mut running = self.executing.values().filter(|executing| executing.running).count();
        while running < self.slots
            && let Some(number) = self.queue.pop_front()
        {
            let Some(executing) = self.executing.get_mut(&number) else {
                // It was stopped while it waited for its slot.
                continue;
            };
            running += 1;
            executing.running = true;
            if executing.has_waited() {
                let Execution { key, attempt, .. } = executing.execution;
                self.agent.on_waits(key, attempt, false);
            }
            let duration = match executing.stopped {
                true => 10,
                false => task::duration_us(&executing.execution.key, context.rng),
            };
            context.agenda.after(duration, self.event(WorkerEvent::Ended(number)));
            if context.faults.reports_started && duration > STARTED_AFTER_US {
                context.agenda.after(STARTED_AFTER_US, self.event(WorkerEvent::Look(number)));
            }
        }
    }

    fn stop(&mut self, key: Key, attempt: Attempt, context: &mut Context<'_>) {
        let found = self.executing.iter_mut().find(|(_, executing)| {
            executing.execution.key == key && executing.execution.attempt == attempt
        });
        if let Some((number, executing)) = found {
            executing.stopped = true;
            if executing.running || executing.has_waited() {
                let number = *number;
                let event = Event::Worker(self.place, self.process, WorkerEvent::Ended(number));
                context.agenda.after(context.rng.range(0, TICK_US), event);
            }
        }
    }

    fn on_look(&mut self, number: u64) {
        if let Some(executing) = self.executing.get(&number)
            && self.started.insert(number)
        {
            let attempt = (executing.execution.key, executing.execution.attempt);
            self.outbox.push(FromWorker::Started(vec![attempt]));
        }
    }

    fn on_ended(&mut self, number: u64, context: &mut Context<'_>) {
        if self.begins_to_wait(number) || self.begins_to_share(number) {
            self.fill_slots(context);
            return;
        }
        let Some(executing) = self.executing.remove(&number) else {
            return;
        };
        self.started.remove(&number);
        let Executing { execution, inputs, stopped, nested, sharing, .. } = executing;
        // What was stopped may have been done already.
        let done = nested.as_ref().is_none_or(Nested::all_ended)
            && sharing.as_ref().is_none_or(Sharing::is_done);
        let stopped = stopped && (!done || context.rng.chance(70));
        let (key, attempt) = (execution.key, execution.attempt);
        if let Some(release) = sharing.filter(|_| !stopped).and_then(|it| it.last_words()) {
            self.agent.on_said(key, attempt, release);
        }
        let kind = Kind::of(&execution.task.name).expect("tasks are those of the bundle");
        if kind == Kind::Killer
            && !stopped
            && context.faults.strikes(context.faults.kill_percent, context.rng)
        {
            self.died = true;
            return;
        }
        let spent = Spent { wall_us: context.rng.range(50, 20_000), ..Spent::default() };
        if kind == Kind::Wanderer && !stopped && task::moves_on(&key, attempt) {
            self.agent.on_executed(key, attempt, Outcome::Reschedule, spent);
            return self.fill_slots(context);
        }
        let result = match stopped {
            true => Err(Failure::new(FailureKind::Cancelled, "stopped")),
            false => run(&execution, kind, (&inputs, nested.as_ref()), number, context),
        };
        if let Instance::Of(actor) = execution.instance {
            if let Err(broken) = context.oracle.on_method(key) {
                panic!("{broken}");
            }
            // Half of those that fail were traps.
            if stopped || (result.is_err() && context.rng.chance(50)) {
                context.oracle.on_actor_lost(actor);
                self.agent.on_actor_lost(actor, "stopped".to_owned());
            }
        }
        match result {
            Ok(hash) => {
                context.oracle.on_produced(key, hash);
                let meta = task::meta(hash);
                let small = meta.size <= 4_096;
                if small {
                    self.outbox.push(FromWorker::Output { key, attempt, text: key.short() });
                }
                let inline = small.then(|| Value { codec: Codec::Raw, bytes: hash.to_vec() });
                let outcome = Outcome::Memory { meta, inline };
                if self.agent.on_executed(key, attempt, outcome, spent) {
                    self.store.insert(key, meta);
                }
            }
            Err(failure) => {
                self.agent.on_executed(key, attempt, Outcome::Failed(failure), spent);
            }
        }
        self.fill_slots(context);
    }

    /// Nothing is left of what it was told to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.executing.is_empty() && self.store.is_empty() && self.agent.in_hand().is_empty()
    }
}

fn run(
    execution: &Execution,
    kind: Kind,
    (inputs, nested): (&BTreeMap<Key, Hash>, Option<&Nested>),
    number: u64,
    context: &mut Context<'_>,
) -> Result<Hash, Failure> {
    let salt = if kind == Kind::Impure { number } else { 0 };
    let name = &execution.task.name;
    let input = |key: &Key| inputs.get(key).copied();
    let Some(hash) = task::compute(name, &execution.args, salt, input) else {
        let message = "an input is not in this worker's store";
        return Err(Failure::new(FailureKind::LostData, message));
    };
    let (poison, flaky) = (context.faults.poison_percent, context.faults.flaky_percent);
    match task::fault(kind, &execution.key, execution.attempt, poison, flaky) {
        Some((kind, message)) => {
            context.oracle.on_injected(&message, Some(execution.key));
            Err(Failure::new(kind, message))
        }
        None => match nested {
            None => Ok(hash),
            Some(nested) => nested.gather(hash).map_err(|message| {
                context.oracle.on_injected(&message, Some(execution.key));
                Failure::new(FailureKind::User, message)
            }),
        },
    }
}
