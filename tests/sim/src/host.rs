//! The scheduler's host: messages to the machine, and what it wants done.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, FromWorker, Outcome, ToClient, ToWorker};
use grid_proto::{ClientId, Instance, Priority, WorkerId};
use grid_scheduler::{Action, Event as Input, Now};

use crate::agenda::{Event, LinkId};
use crate::invariants::named;
use crate::network::Peer;
use crate::strike::PROBE;
use crate::world::{TIMER_US, World};

/// Every so many placement rounds all calls are looked at.
const LOOK_ROUNDS: u64 = 8;

impl World {
    pub(crate) fn now(&self) -> Now {
        Now(self.agenda.now)
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
        self.plan_flush();
    }

    /// The host takes several batches before it looks at what the machine wants.
    pub(crate) fn plan_flush(&mut self) {
        if !self.flush_planned {
            self.flush_planned = true;
            let delay = self.streams.network.pick(&[0, 0, 10, 300]);
            self.agenda.after(delay, Event::Flush);
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), String> {
        let now = self.now();
        self.machine.flush(now);
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.plan_flush();
        }
        self.take_actions();
        let mut to_clients = BTreeMap::<LinkId, Vec<ToClient>>::new();
        let mut to_workers = BTreeMap::<LinkId, Vec<ToWorker>>::new();
        let mut given = Vec::new();
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::ToClient(PROBE, _) => {}
                Action::ToClient(id, message) => {
                    let told = self.oracle.invariants.news.on_to_client(id, &message);
                    named("news", told)?;
                    self.oracle.invariants.data.on_to_client(id, &message);
                    named("pause", self.oracle.invariants.pause.check_told(&message))?;
                    to_clients.entry(id.0).or_default().push(message);
                }
                Action::ToWorker(id, message) => {
                    let invariants = &mut self.oracle.invariants;
                    named("balance", invariants.check_asked_back(id, &message))?;
                    invariants.hands.on_to_worker(id, &message);
                    if let ToWorker::Free { keys, .. } = &message {
                        self.oracle.on_free(keys);
                    }
                    if let ToWorker::Run(assignments) = &message {
                        for run in assignments {
                            let moves = self.oracle.on_run(id, run)?;
                            // A method waits for its actor's turn and for nothing else; what moves
                            // goes to another worker whether that has room or not.
                            if !moves && !matches!(run.instance, Instance::Of(_)) {
                                given.push((id, run.priority));
                            }
                        }
                    }
                    to_workers.entry(id.0).or_default().push(message);
                }
                Action::CloseWorker(id, _) | Action::DismissWorker(id) => {
                    self.oracle.on_worker_lost(id);
                    // What is on its way to the scheduler still arrives, and is stale.
                    let network = &mut self.streams.network;
                    let at = self.network.down(id.0, self.agenda.now, network);
                    self.agenda.at(at, Event::LostByPeer(id.0));
                    self.agenda.at(at + network.range(0, 5_000), Event::LostByScheduler(id.0));
                }
                Action::BundleAccepted(..) => self.deployed = true,
                Action::BundleRejected(_) => {}
            }
        }
        self.oracle.invariants.pause.on_round();
        self.look_at_calls(&given)?;
        for (link, batch) in to_clients {
            let at = self.network.down(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::ToClient(link, batch));
        }
        for (link, batch) in to_workers {
            let at = self.network.down(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::ToWorker(link, batch));
        }
        Ok(())
    }

    /// Invariants that need all calls: after some rounds, for that takes long.
    fn look_at_calls(&mut self, given: &[(WorkerId, Priority)]) -> Result<(), String> {
        self.rounds += 1;
        if !self.pace.of_agents || !self.rounds.is_multiple_of(LOOK_ROUNDS) {
            return Ok(());
        }
        let calls = self.calls();
        let held_back: Vec<_> = calls.iter().filter(|call| call.state == "queued").collect();
        self.oracle.on_round(given, &held_back);
        named("hands", self.oracle.invariants.hands.check(&calls))?;
        named("quarantine", self.check_quarantine())
    }

    pub(crate) fn take_actions(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            if self.trace.is_some() {
                self.log(&format!("    {action:?}"));
            }
            self.actions.push(action);
        }
    }

    pub(crate) fn on_timer(&mut self) {
        let now = self.now();
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
            self.plan_flush();
        }
        self.agenda.after(TIMER_US, Event::Timer);
    }

    pub(crate) fn on_from_client(&mut self, link: LinkId, batch: Vec<FromClient>) {
        if self.is_over(link) {
            return;
        }
        for message in batch {
            self.oracle.invariants.on_client(ClientId(link), &message);
            self.tell(Input::Client(ClientId(link), message));
        }
    }

    pub(crate) fn on_from_worker(
        &mut self,
        link: LinkId,
        batch: Vec<FromWorker>,
    ) -> Result<(), String> {
        if self.is_over(link) {
            return Ok(());
        }
        let id = WorkerId(link);
        for message in batch {
            self.history.on_from_worker(id, &message);
            let ends =
                matches!(message, FromWorker::Finished { .. } | FromWorker::MissingInputs { .. });
            let percent = self.faults.twice_percent;
            if ends && self.faults.strikes(percent, &mut self.streams.faults) {
                self.tell_of_worker(id, message.clone())?;
                self.again(id, message)?;
            } else {
                self.tell_of_worker(id, message)?;
            }
        }
        Ok(())
    }

    pub(crate) fn tell_of_worker(
        &mut self,
        id: WorkerId,
        message: FromWorker,
    ) -> Result<(), String> {
        let ended = match &message {
            FromWorker::Finished { key, attempt, outcome, .. } => {
                // A result itself is of no interest here.
                let outcome = match outcome {
                    Outcome::Memory { .. } => None,
                    other => Some(other.clone()),
                };
                Some((*key, *attempt, outcome))
            }
            _ => None,
        };
        let stale = self.machine.stale_messages();
        self.oracle.invariants.on_worker(id, &message);
        match message {
            FromWorker::Register(registration) => {
                self.oracle.on_worker(id, &registration.name);
                self.tell(Input::WorkerConnected(id, registration));
            }
            message => self.tell(Input::Worker(id, message)),
        }
        if let Some((key, attempt, outcome)) = ended
            && self.machine.stale_messages() == stale
        {
            self.ends_counted += u64::from(outcome != Some(Outcome::Reschedule));
            match outcome {
                Some(Outcome::Failed(failure)) => {
                    self.oracle.on_failed_attempt(key, attempt);
                    self.oracle.on_strike(id, key, &failure);
                }
                Some(Outcome::Reschedule) => {
                    let goes_on = self.is_under_way(&key);
                    named("elsewhere", self.oracle.on_ask(id, key, goes_on))?;
                }
                Some(Outcome::Memory { .. }) | None => {}
            }
        }
        Ok(())
    }

    pub(crate) fn is_over(&mut self, link: LinkId) -> bool {
        let link = self.network.link(link);
        link.cut || link.lost_by_scheduler
    }

    pub(crate) fn on_lost_by_scheduler(&mut self, link: LinkId) {
        let state = self.network.link(link);
        if std::mem::replace(&mut state.lost_by_scheduler, true) {
            return;
        }
        match state.peer {
            Peer::Worker(_) => {
                self.oracle.on_worker_lost(WorkerId(link));
                self.tell(Input::WorkerGone(WorkerId(link)));
            }
            Peer::Client(_) => {
                self.oracle.invariants.elsewhere.on_client_gone();
                self.oracle.invariants.data.on_client_gone(ClientId(link));
                self.tell(Input::ClientGone(ClientId(link)));
            }
        }
    }
}
