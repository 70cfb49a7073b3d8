//! What a worker was given it still has to run, or was told to stop: no attempt is given up in
//! silence, none is believed to run that has ended, and none is given anew that a worker may be at.

use std::collections::BTreeSet;

use grid_proto::message::{FromWorker, ToWorker};
use grid_proto::report::CallInfo;
use grid_proto::{Attempt, Key, WorkerId};

/// As the messages between the scheduler and its workers tell.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    given: BTreeSet<(WorkerId, Key, Attempt)>,
    /// Told to stop, and has not said that it ended.
    stopping: BTreeSet<(Key, Attempt, WorkerId)>,
}

impl Hands {
    pub(crate) fn on_run(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
    ) -> Result<(), String> {
        self.given.insert((worker, key, attempt));
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
                if self.given.remove(&(worker, *key, *attempt)) {
                    self.stopping.insert((*key, *attempt, worker));
                }
            }
        }
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if let FromWorker::Finished { key, attempt, .. }
        | FromWorker::MissingInputs { key, attempt, .. }
        | FromWorker::Withdrawn { key, attempt } = message
        {
            self.given.remove(&(worker, *key, *attempt));
            self.stopping.remove(&(*key, *attempt, worker));
        }
    }

    pub(crate) fn on_worker_lost(&mut self, worker: WorkerId) {
        self.given.retain(|(given, ..)| *given != worker);
        self.stopping.retain(|(.., stopping)| *stopping != worker);
    }

    /// All that the scheduler wanted done was told.
    pub(crate) fn check(&self, calls: &[CallInfo]) -> Result<(), String> {
        let processing = calls.iter().filter(|call| call.state == "processing");
        let mut believed: BTreeSet<_> = processing.map(|call| (call.key, call.attempt)).collect();
        for (worker, key, attempt) in &self.given {
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
