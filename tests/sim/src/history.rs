//! Messages that were on the wires, to come once more.

use std::collections::VecDeque;

use grid_proto::WorkerId;
use grid_proto::message::{FromWorker, ToWorker};

use crate::rng::Rng;

/// More are not kept: the newest are the most dangerous.
const KEPT_MAX: usize = 400;

#[derive(Debug, Default)]
pub(crate) struct History {
    up: VecDeque<(WorkerId, FromWorker)>,
    down: VecDeque<(WorkerId, ToWorker)>,
}

impl History {
    pub(crate) fn on_from_worker(&mut self, from: WorkerId, message: &FromWorker) {
        match message {
            FromWorker::Started(_)
            | FromWorker::Finished { .. }
            | FromWorker::Output { .. }
            | FromWorker::MissingInputs { .. }
            | FromWorker::Holds(_) => keep(&mut self.up, from, message),
            FromWorker::Register(_)
            | FromWorker::Inspected { .. }
            | FromWorker::Heartbeat { .. }
            | FromWorker::Paused(_)
            | FromWorker::FromTask { .. }
            | FromWorker::Waits { .. }
            | FromWorker::Withdrawn { .. }
            | FromWorker::ActorLost { .. }
            | FromWorker::NotAcquired(_)
            | FromWorker::Missing(_)
            | FromWorker::Leaving => {}
        }
    }

    pub(crate) fn on_to_worker(&mut self, to: WorkerId, message: &ToWorker) {
        if matches!(message, ToWorker::Run(_) | ToWorker::Cancel(_)) {
            keep(&mut self.down, to, message);
        }
    }

    pub(crate) fn pick_up(&self, rng: &mut Rng) -> Option<(WorkerId, FromWorker)> {
        (!self.up.is_empty()).then(|| self.up[rng.index(self.up.len())].clone())
    }

    pub(crate) fn pick_down(&self, rng: &mut Rng) -> Option<(WorkerId, ToWorker)> {
        (!self.down.is_empty()).then(|| self.down[rng.index(self.down.len())].clone())
    }
}

fn keep<T: Clone>(kept: &mut VecDeque<(WorkerId, T)>, id: WorkerId, message: &T) {
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back((id, message.clone()));
}
