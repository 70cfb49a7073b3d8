//! Runs operations on the machine, with the model beside it.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::coordination::{Coordinated, DatasetOperation, Operation as Sharing};
use grid_proto::message::{Answer, FromClient, FromWorker, Query, ToClient};
use grid_proto::report::CallInfo;
use grid_proto::{ClientId, Key, RequestId, WorkerId};
use grid_scheduler::{Action, Config, Event, Now, Scheduler};

use crate::graph;
use crate::model::Model;
use crate::operation::{CLIENTS, Operation};
use crate::workers::Worker;

/// Asks for the run itself.
const PROBE: ClientId = ClientId(1_000_000);
/// At rest after so many rounds, or never.
const ROUNDS_MAX: usize = 10_000;

/// What a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// Calls that ended well.
    pub finished: u32,
    /// Calls that failed by their own fault.
    pub failed: u32,
    /// Times that the grid was at rest and all promises were checked.
    pub rests: u32,
}

struct Grid {
    machine: Scheduler,
    model: Model,
    clients: Vec<ClientId>,
    /// By place, with the number of the connection.
    workers: BTreeMap<u8, (WorkerId, Worker)>,
    connections: u32,
    requests: u64,
    answer: Option<Answer>,
    ends: Ends,
}

/// Runs these operations, lets the grid come to rest, and lets everything go.
///
/// # Errors
/// The first invariant or promise that does not hold.
pub fn run(operations: &[Operation]) -> Result<Ends, String> {
    let config = Config { turn_calls_max: 3, quarantine_strikes: 0, ..Config::default() };
    let mut grid = Grid {
        machine: Scheduler::new(config),
        model: Model::default(),
        clients: Vec::new(),
        workers: BTreeMap::new(),
        connections: 0,
        requests: 0,
        answer: None,
        ends: Ends::default(),
    };
    let description = graph::description();
    grid.tell(Event::BundleRestored { hash: graph::BUNDLE, size_bytes: 1, description })?;
    grid.tell(Event::ClientConnected(PROBE))?;
    for _ in 0..CLIENTS {
        grid.welcome()?;
    }
    for (number, operation) in operations.iter().enumerate() {
        let named = |broken| format!("operation {number}, {operation:?}: {broken}");
        grid.operate(*operation).map_err(named)?;
    }
    grid.rest()?;
    grid.let_go()?;
    Ok(grid.ends)
}

impl Grid {
    /// One event, one round; what the machine wants done is done.
    fn tell(&mut self, event: Event) -> Result<(), String> {
        self.machine.handle(Now(1), event);
        self.round()
    }

    fn round(&mut self) -> Result<(), String> {
        self.machine.flush(Now(1));
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::ToClient(PROBE, ToClient::Answer { answer, .. }) => {
                    self.answer = Some(answer);
                }
                Action::ToClient(_, ToClient::Answer { answer, .. }) => self.answer = Some(answer),
                Action::ToClient(client, message) => self.model.on_told(client, message)?,
                Action::ToWorker(id, message) => {
                    if let Some((_, worker)) = self.workers.values_mut().find(|(at, _)| *at == id) {
                        worker.on_message(message)?;
                    }
                }
                Action::CloseWorker(..)
                | Action::DismissWorker(_)
                | Action::BundleAccepted(..)
                | Action::BundleRejected(_) => {}
            }
        }
        self.machine.check()
    }

    fn say(&mut self, client: ClientId, message: FromClient) -> Result<(), String> {
        self.tell(Event::Client(client, message))
    }

    fn hear(
        &mut self,
        place: u8,
        said: impl IntoIterator<Item = FromWorker>,
    ) -> Result<(), String> {
        let Some(id) = self.workers.get(&place).map(|(id, _)| *id) else { return Ok(()) };
        said.into_iter().try_for_each(|said| self.tell(Event::Worker(id, said)))
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    fn welcome(&mut self) -> Result<(), String> {
        self.connections += 1;
        let client = ClientId(self.connections);
        self.clients.push(client);
        self.tell(Event::ClientConnected(client))
    }

    fn operate(&mut self, operation: Operation) -> Result<(), String> {
        let client = |place: u8| self.clients[usize::from(place)];
        match operation {
            Operation::Submit(by, call) => self.submit(client(by), call, false),
            Operation::Detach(by, call) => self.submit(client(by), call, true),
            Operation::Release(by, call) => {
                let by = client(by);
                self.model.wanted.remove(&(by, call));
                self.say(by, FromClient::Release(vec![graph::key(call)]))
            }
            Operation::Cancel(by, call) => self.cancel(client(by), call, false),
            Operation::Force(by, call) => self.cancel(client(by), call, true),
            Operation::Retry(by, call) => {
                let (by, keys) = (client(by), vec![graph::key(call)]);
                let request = self.request();
                self.say(by, FromClient::Retry { request, keys })
            }
            Operation::Locate(by, call) => {
                let (by, keys) = (client(by), vec![graph::key(call)]);
                self.say(by, FromClient::Locate { keys, failed: Vec::new() })
            }
            Operation::Publish(by, call, name) => self.publish(client(by), call, name),
            Operation::Unpublish(name) => {
                self.model.named.remove(&name);
                self.share(PROBE, name, DatasetOperation::Unpublish)
            }
            Operation::Leave(by) => self.leave(by),
            Operation::Join(place, slots) => self.join(place, slots),
            Operation::Die(place) => self.lose(place, false),
            Operation::Depart(place) => self.lose(place, true),
            Operation::Reconnect(place) => self.reconnect(place),
            Operation::Start(place, call) => {
                let worker = self.workers.get_mut(&place);
                let said = worker.and_then(|(_, worker)| worker.start(call));
                self.hear(place, said)
            }
            Operation::Finish(place, call) => self.finish(place, call),
            Operation::Fail(place, call) => {
                let worker = self.workers.get_mut(&place);
                let said = worker.and_then(|(_, worker)| worker.fail(call));
                if let Some(FromWorker::Finished { key, .. }) = &said {
                    self.model.failed.insert(graph::call(*key));
                    self.ends.failed += 1;
                }
                self.hear(place, said)
            }
            Operation::GiveBack(place) => {
                let worker = self.workers.get_mut(&place);
                let said = worker.map(|(_, worker)| worker.give_back());
                self.hear(place, said.unwrap_or_default())
            }
            Operation::Rest => self.rest(),
        }
    }

    fn submit(&mut self, client: ClientId, call: u8, detached: bool) -> Result<(), String> {
        if !detached {
            self.model.wants(client, call);
        }
        let submission = graph::submission(self.request(), call, detached);
        self.say(client, FromClient::Submit(submission))
    }

    fn cancel(&mut self, client: ClientId, call: u8, force: bool) -> Result<(), String> {
        self.model.cancel((!force).then_some(client), call);
        self.say(client, FromClient::Cancel { keys: vec![graph::key(call)], force })
    }

    fn publish(&mut self, client: ClientId, call: u8, name: u8) -> Result<(), String> {
        let keys = vec![graph::key(call)];
        self.share(client, name, DatasetOperation::Publish { keys, replace: true })?;
        // A call that nobody submitted cannot be published.
        if matches!(self.answer, Some(Answer::Coordinated(Coordinated::Done))) {
            self.model.named.insert(name, call);
        }
        Ok(())
    }

    fn share(&mut self, by: ClientId, name: u8, operation: DatasetOperation) -> Result<(), String> {
        let operation = Sharing::Dataset { name: format!("name {name}"), operation };
        let request = self.request();
        self.answer = None;
        self.say(by, FromClient::Coordinate { request, operation })
    }

    fn leave(&mut self, place: u8) -> Result<(), String> {
        let client = self.clients.remove(usize::from(place));
        self.model.wanted.retain(|(wants, _), _| *wants != client);
        self.tell(Event::ClientGone(client))?;
        self.welcome()
    }

    fn join(&mut self, place: u8, slots: u8) -> Result<(), String> {
        if self.workers.contains_key(&place) {
            return Ok(());
        }
        self.connect(place, Worker::new(slots))
    }

    fn connect(&mut self, place: u8, worker: Worker) -> Result<(), String> {
        self.connections += 1;
        let id = WorkerId(self.connections);
        let registration = worker.registration(place);
        self.workers.insert(place, (id, worker));
        self.tell(Event::WorkerConnected(id, registration))
    }

    fn lose(&mut self, place: u8, planned: bool) -> Result<(), String> {
        let Some((id, worker)) = self.workers.remove(&place) else { return Ok(()) };
        if planned {
            return self.tell(Event::Worker(id, FromWorker::Leaving));
        }
        // Each of them may be one death away from being blamed.
        self.model.failed.extend(worker.hands.iter().map(|run| graph::call(run.key)));
        self.tell(Event::WorkerGone(id))
    }

    fn reconnect(&mut self, place: u8) -> Result<(), String> {
        let Some((_, mut worker)) = self.workers.remove(&place) else { return Ok(()) };
        // The machine tells it to stop what it has in hand; here that is done before it can.
        let registration = worker.registration(place);
        worker.forget_hands();
        self.connections += 1;
        let id = WorkerId(self.connections);
        self.workers.insert(place, (id, worker));
        self.tell(Event::WorkerConnected(id, registration))
    }

    fn finish(&mut self, place: u8, call: u8) -> Result<(), String> {
        let stores = self.stores();
        let worker = self.workers.get_mut(&place);
        let said = worker.map(|(_, worker)| worker.finish(call, &stores)).unwrap_or_default();
        let ended = said.iter().any(|said| matches!(said, FromWorker::Finished { .. }));
        self.ends.finished += u32::from(ended);
        self.hear(place, said)
    }

    fn stores(&self) -> BTreeMap<WorkerId, BTreeSet<Key>> {
        self.workers.values().map(|(id, worker)| (*id, worker.store.clone())).collect()
    }

    /// All that can end does; then every promise is checked.
    fn rest(&mut self) -> Result<(), String> {
        self.join(0, 2)?;
        for _ in 0..ROUNDS_MAX {
            let busy = self.workers.iter().find(|(_, (_, worker))| !worker.hands.is_empty());
            match busy.map(|(place, _)| *place) {
                Some(place) => self.finish(place, 0)?,
                None if self.machine.poll_timeout() == Some(Now(1)) => self.round()?,
                None => return self.check(),
            }
        }
        Err("the grid does not come to rest".to_owned())
    }

    fn check(&mut self) -> Result<(), String> {
        self.ends.rests += 1;
        self.model.check(&self.stores())?;
        let kept = self.model.kept();
        let calls = self.calls()?;
        for info in &calls {
            let call = graph::call(info.key);
            let ended = matches!(&*info.state, "memory" | "erred");
            match (kept.contains(&call), ended) {
                (true, false) => return Err(format!("{call} is wanted, and {}", info.state)),
                (false, true) => return Err(format!("{call} is kept, and nobody wants it")),
                (true, true) | (false, false) => {}
            }
            // The way to compute it anew.
            if !kept.iter().any(|kept| graph::closure(*kept).contains(&call)) {
                return Err(format!("{call} is known, and nobody needs it"));
            }
        }
        let known = |call: &u8| calls.iter().any(|info| graph::call(info.key) == *call);
        match kept.iter().find(|call| !known(call)) {
            Some(call) => Err(format!("{call} is wanted, and unknown")),
            None => Ok(()),
        }
    }

    fn calls(&mut self) -> Result<Vec<CallInfo>, String> {
        let (prefix, state) = (String::new(), None);
        let query = Query::Calls { prefix, state, count_max: u32::MAX };
        self.say(PROBE, FromClient::Query { request: RequestId(0), query })?;
        match self.answer.take() {
            Some(Answer::Calls(calls)) => Ok(calls),
            other => Err(format!("asked for calls, and got {other:?}")),
        }
    }

    /// Nobody wants anything any more: nothing is left.
    fn let_go(&mut self) -> Result<(), String> {
        for name in std::mem::take(&mut self.model.named).into_keys() {
            self.share(PROBE, name, DatasetOperation::Unpublish)?;
        }
        for _ in 0..CLIENTS {
            self.leave(0)?;
        }
        self.rest()?;
        match self.workers.values().find(|(_, worker)| !worker.store.is_empty()) {
            None => Ok(()),
            Some((id, worker)) => Err(format!("worker {id} keeps {:?}", worker.store)),
        }
    }
}
