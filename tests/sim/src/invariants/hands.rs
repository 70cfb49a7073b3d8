//! What a worker was given it still has to run, or was told to stop: no attempt is given up in
//! silence, none is believed to run that has ended, and none is given anew that a worker may be at.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{Assignment, FromWorker, ToWorker};
use grid_proto::report::CallInfo;
use grid_proto::{Attempt, Key, Priority, TaskId, WorkerId};

/// An attempt in a worker's hands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(super) priority: Priority,
    pub(super) task: TaskId,
    /// It may run anywhere and needs nothing there.
    pub(super) plain: bool,
    /// The worker said that it runs.
    pub(super) started: bool,
    /// The worker said that it waits, for calls of its own or for what is shared.
    pub(super) waits: bool,
    /// The worker was asked to give it back.
    pub(super) asked_back: bool,
}

impl Given {
    pub(crate) fn new(run: &Assignment, plain: bool) -> Self {
        let (priority, task) = (run.priority, run.task);
        Self { priority, task, plain, started: false, waits: false, asked_back: false }
    }
}

/// As the messages between the scheduler and its workers tell.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    pub(super) given: BTreeMap<(WorkerId, Key, Attempt), Given>,
    /// Told to stop, and has not said that it ended.
    stopping: BTreeSet<(Key, Attempt, WorkerId)>,
}

impl Hands {
    pub(crate) fn on_run(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
        given: Given,
    ) -> Result<(), String> {
        self.given.insert((worker, key, attempt), given);
        let any = (key, attempt, WorkerId(0))..=(key, attempt, WorkerId(u32::MAX));
        match self.stopping.range(any).next() {
            None => Ok(()),
            Some((_, _, at)) => {
                let key = key.short();
                Err(format!("{key} at {attempt} was given anew while worker {at} may be at it"))
            }
        }
    }

    pub(crate) fn on_to_worker(&mut self, worker: WorkerId, message: &ToWorker) {
        if let ToWorker::Cancel(attempts) = message {
            for (key, attempt) in attempts {
                if self.given.remove(&(worker, *key, *attempt)).is_some() {
                    self.stopping.insert((*key, *attempt, worker));
                }
            }
        }
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        match message {
            FromWorker::Finished { key, attempt, .. }
            | FromWorker::MissingInputs { key, attempt, .. }
            | FromWorker::Withdrawn { key, attempt } => {
                self.given.remove(&(worker, *key, *attempt));
                self.stopping.remove(&(*key, *attempt, worker));
            }
            FromWorker::Started(attempts) => {
                for (key, attempt) in attempts {
                    if let Some(given) = self.given.get_mut(&(worker, *key, *attempt)) {
                        given.started = true;
                    }
                }
            }
            FromWorker::Waits { key, attempt, waits } => {
                if let Some(given) = self.given.get_mut(&(worker, *key, *attempt)) {
                    given.waits = *waits;
                    given.started = !*waits;
                }
            }
            FromWorker::Register(_)
            | FromWorker::Output { .. }
            | FromWorker::Holds(_)
            | FromWorker::NotAcquired(_)
            | FromWorker::Missing(_)
            | FromWorker::Inspected { .. }
            | FromWorker::FromTask { .. }
            | FromWorker::ActorLost { .. }
            | FromWorker::Heartbeat { .. }
            | FromWorker::Paused(_)
            | FromWorker::Leaving => {}
        }
    }

    pub(crate) fn on_worker_lost(&mut self, worker: WorkerId) {
        self.given.retain(|(given, ..), _| *given != worker);
        self.stopping.retain(|(.., stopping)| *stopping != worker);
    }

    /// What this worker has in hand.
    pub(crate) fn of(
        &self,
        worker: WorkerId,
    ) -> impl Iterator<Item = (&(WorkerId, Key, Attempt), &Given)> {
        let first = (worker, Key([0; 32]), Attempt(0));
        self.given.range(first..).take_while(move |((of, ..), _)| *of == worker)
    }

    /// All that the scheduler wanted done was told.
    pub(crate) fn check(&self, calls: &[CallInfo]) -> Result<(), String> {
        let processing = calls.iter().filter(|call| call.state == "processing");
        let mut believed: BTreeSet<_> = processing.map(|call| (call.key, call.attempt)).collect();
        for (worker, key, attempt) in self.given.keys() {
            if !believed.remove(&(*key, *attempt)) {
                let key = key.short();
                return Err(format!(
                    "{key} at {attempt} was given up, and worker {worker} not told"
                ));
            }
        }
        match believed.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{} is in no worker's hands", key.short())),
        }
    }
}
