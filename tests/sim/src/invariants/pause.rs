//! A worker that has said that its memory is nearly full is given no call, but methods of its actors,
//! and no data.

use std::collections::BTreeSet;

use grid_proto::message::{Answer, Assignment, FromWorker, ToClient};
use grid_proto::{Instance, WorkerId};

#[derive(Debug, Default)]
pub(crate) struct Pause {
    paused: BTreeSet<WorkerId>,
}

impl Pause {
    pub(super) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        match message {
            FromWorker::Paused(true) => drop(self.paused.insert(worker)),
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

    pub(crate) fn check_told(&self, message: &ToClient) -> Result<(), String> {
        let ToClient::Answer { answer: Answer::Scattered(homes), .. } = message else {
            return Ok(());
        };
        let paused = homes.iter().flatten().find(|home| self.paused.contains(&home.worker));
        match paused {
            Some(home) => Err(format!("data is to be brought to paused worker {}", home.worker)),
            None => Ok(()),
        }
    }
}
