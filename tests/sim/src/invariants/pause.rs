//! A worker that has said that its memory is nearly full is given no call, but methods of its actors,
//! and no data.

use std::collections::BTreeSet;

use grid_proto::message::{Answer, Assignment, FromWorker, ToClient};
use grid_proto::{Instance, WorkerId};

#[derive(Debug, Default)]
pub(crate) struct Pause {
    paused: BTreeSet<WorkerId>,
    /// Since the last placement round: what was decided before may still be on its way out.
    newly: BTreeSet<WorkerId>,
}

impl Pause {
    pub(super) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        match message {
            FromWorker::Paused(true) => {
                self.paused.insert(worker);
                self.newly.insert(worker);
            }
            FromWorker::Paused(false) => drop(self.paused.remove(&worker)),
            _ => {}
        }
    }

    pub(super) fn is_paused(&self, worker: WorkerId) -> bool {
        self.paused.contains(&worker)
    }

    pub(crate) fn check_run(&self, worker: WorkerId, run: &Assignment) -> Result<(), String> {
        match self.paused.contains(&worker) && !matches!(run.instance, Instance::Of(_)) {
            true => Err(format!("{} was given to paused worker {worker}", run.key.short())),
            false => Ok(()),
        }
    }

    /// A placement round is over.
    pub(crate) fn on_round(&mut self) {
        self.newly.clear();
    }

    pub(crate) fn check_told(&self, message: &ToClient) -> Result<(), String> {
        let ToClient::Answer { answer: Answer::Scattered(homes), .. } = message else {
            return Ok(());
        };
        let long = |worker: &WorkerId| self.paused.contains(worker) && !self.newly.contains(worker);
        let paused = homes.iter().flatten().find(|home| long(&home.worker));
        match paused {
            Some(home) => Err(format!("data is to be brought to paused worker {}", home.worker)),
            None => Ok(()),
        }
    }
}
