//! How faults strike the world, and what must not change when only a message comes again.

use grid_proto::coordination::{Coordinated, DatasetOperation, NamedInfo, NamedKind, Operation};
use grid_proto::message::{Answer, FromClient, FromWorker, Query, ToClient, ToWorker};
use grid_proto::report::CallInfo;
use grid_proto::{Attempt, ClientId, Instance, Key, RequestId};
use grid_scheduler::{Action, Event as Input};

use crate::agenda::{Event, LinkId, WorkerEvent};
use crate::client::DATASETS;
use crate::faults::Fault;
use crate::network::Peer;
use crate::task::BUNDLE;
use crate::world::World;

/// A client that only asks; no connection has this number.
pub(crate) const PROBE: ClientId = ClientId(u32::MAX >> 1);

impl World {
    /// Something goes wrong now.
    pub(crate) fn strike(&mut self) -> Result<(), String> {
        let Some(fault) = self.faults.pick(&mut self.streams.faults) else {
            return Ok(());
        };
        if self.faults.quiet {
            return Ok(());
        }
        self.log(&format!("{fault:?}"));
        match fault {
            Fault::Cut | Fault::Silence => {
                let workers_only = self.streams.faults.chance(85);
                if let Some(link) = self.pick_link(workers_only) {
                    self.cut(link, fault == Fault::Silence);
                }
            }
            Fault::Pause => {
                if let Some(link) = self.pick_link(false) {
                    let until = self.agenda.now + self.streams.faults.range(1_000, 300_000);
                    self.network.pause(link, until);
                }
            }
            Fault::Part => {
                let places = self.workers.len();
                let faults = &mut self.streams.faults;
                let (one, other) = (faults.index(places), faults.index(places));
                let pair = (one.min(other), one.max(other));
                if one != other && !self.parted.remove(&pair) {
                    self.parted.insert(pair);
                }
            }
            Fault::Kill => {
                let place = self.streams.faults.index(self.workers.len());
                if self.workers[place].alive {
                    let quietly = self.streams.faults.chance(20);
                    self.kill(place, quietly);
                }
            }
            Fault::Full => {
                let place = self.streams.faults.index(self.workers.len());
                let process = self.workers[place].process;
                self.agenda.after(0, Event::Worker(place, process, WorkerEvent::Full(true)));
                let until = self.streams.faults.range(1_000, 300_000);
                self.agenda.after(until, Event::Worker(place, process, WorkerEvent::Full(false)));
            }
            Fault::ReplayUp => self.replay_up()?,
            Fault::ReplayDown => self.replay_down()?,
        }
        Ok(())
    }

    fn pick_link(&mut self, workers_only: bool) -> Option<LinkId> {
        let alive = self.network.alive(workers_only);
        (!alive.is_empty()).then(|| self.streams.faults.pick(&alive))
    }

    /// A worker's message comes once more: a counter may change, and nothing else.
    fn replay_up(&mut self) -> Result<(), String> {
        let Some((id, message)) = self.history.pick_up(&mut self.streams.faults) else {
            return Ok(());
        };
        let fenced = !matches!(message, FromWorker::Holds(_));
        if !fenced && !self.network.link(id.0).lost_by_scheduler {
            // Copies are told without a fence: on a living connection nothing comes twice.
            return Ok(());
        }
        if self.is_current(&message) {
            // Another call of the same key that was submitted after the first was forgotten.
            return Ok(());
        }
        self.again(id, message)
    }

    /// The part of a message about attempts that are over: assignments of calls that are at a later
    /// attempt by now, cancellations of all but the current ones.
    fn only_stale(&mut self, message: ToWorker) -> ToWorker {
        let calls = self.calls();
        let at = |key: &Key| calls.iter().find(|call| call.key == *key);
        let is_over = |key: &Key, attempt: Attempt| match at(key) {
            Some(call) => call.state != "processing" || call.attempt != attempt,
            None => true,
        };
        let is_overtaken = |key: &Key, attempt: Attempt| match at(key) {
            Some(call) => {
                let active = !matches!(&*call.state, "memory" | "erred" | "released");
                active && call.attempt > attempt
            }
            None => false,
        };
        match message {
            ToWorker::Run(mut runs) => {
                // A stream repeats nothing; a method that came again would change its actor twice.
                runs.retain(|run| {
                    !matches!(run.instance, Instance::Of(_)) && is_overtaken(&run.key, run.attempt)
                });
                ToWorker::Run(runs)
            }
            ToWorker::Cancel(mut attempts) => {
                attempts.retain(|(key, attempt)| is_over(key, *attempt));
                ToWorker::Cancel(attempts)
            }
            other => other,
        }
    }

    /// A worker gets an old message once more.
    fn replay_down(&mut self) -> Result<(), String> {
        let Some((id, message)) = self.history.pick_down(&mut self.streams.faults) else {
            return Ok(());
        };
        let Peer::Worker(place) = self.network.link(id.0).peer else { return Ok(()) };
        if !self.workers[place].alive || self.workers[place].link.is_none() {
            return Ok(());
        }
        let message = self.only_stale(message);
        self.log(&format!("again, to {}: {message:?}", self.workers[place].name));
        self.workers[place].agent.on_message(message);
        self.worker_turn(place)
    }

    /// Bytes are there; somebody who leaves before the answer wants them named.
    pub(crate) fn deploy(&mut self) {
        self.tell(Input::BundleStored { hash: BUNDLE, size_bytes: 1 });
        let query = Query::Deploy { hash: BUNDLE, replace: false };
        let question = FromClient::Query { request: RequestId(0), query };
        self.tell(Input::ClientConnected(PROBE));
        self.tell(Input::Client(PROBE, question));
    }

    /// Nothing is shared any more.
    pub(crate) fn unpublish_all(&mut self) {
        self.tell(Input::ClientConnected(PROBE));
        for name in DATASETS {
            let (name, operation) = (name.to_owned(), DatasetOperation::Unpublish);
            let operation = Operation::Dataset { name, operation };
            let request = RequestId(0);
            self.tell(Input::Client(PROBE, FromClient::Coordinate { request, operation }));
        }
        self.tell(Input::ClientGone(PROBE));
    }

    /// What the scheduler would answer now.
    pub(crate) fn ask(&mut self, query: Query) -> Option<Answer> {
        self.probe(FromClient::Query { request: RequestId(0), query })
    }

    /// What has a name of this kind now.
    pub(crate) fn named(&mut self, kind: NamedKind) -> Vec<NamedInfo> {
        let operation = Operation::List(kind);
        match self.probe(FromClient::Coordinate { request: RequestId(0), operation }) {
            Some(Answer::Coordinated(Coordinated::List(list))) => list,
            _ => Vec::new(),
        }
    }

    fn probe(&mut self, question: FromClient) -> Option<Answer> {
        self.take_actions();
        let now = grid_scheduler::Now(self.agenda.now);
        self.machine.handle(now, Input::ClientConnected(PROBE));
        self.machine.handle(now, Input::Client(PROBE, question));
        self.machine.handle(now, Input::ClientGone(PROBE));
        let mut told = None;
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::ToClient(PROBE, ToClient::Answer { answer, .. }) => told = Some(answer),
                // What it was asked for has led to this.
                other => self.actions.push(other),
            }
        }
        told
    }

    pub(crate) fn calls(&mut self) -> Vec<CallInfo> {
        self.calls_in(None)
    }

    /// The call is known and has not failed.
    pub(crate) fn is_under_way(&mut self, key: &Key) -> bool {
        let query = Query::Calls { prefix: key.to_string(), state: None, count_max: 1 };
        match self.ask(query) {
            Some(Answer::Calls(calls)) => calls.iter().any(|call| call.state != "erred"),
            _ => false,
        }
    }

    /// The calls in this state; as many as are ever listed.
    pub(crate) fn calls_in(&mut self, state: Option<&str>) -> Vec<CallInfo> {
        let state = state.map(str::to_owned);
        let query = Query::Calls { prefix: String::new(), state, count_max: u32::MAX };
        match self.ask(query) {
            Some(Answer::Calls(calls)) => calls,
            _ => Vec::new(),
        }
    }
}
