//! Wide groups do not pile up on workers: while nothing is given ahead (`lookahead_us` is 0), a worker
//! is given a call only while it has fewer at its slots than these and a tenth more hold.

use grid_proto::message::{Assignment, FromWorker};
use grid_proto::{Instance, WorkerId};

use super::Invariants;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Nothing is given ahead in this run.
    pub(crate) exact: bool,
    slots: BTreeMap<WorkerId, u64>,
}

impl Room {
    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if let FromWorker::Register(registration) = message {
            self.slots.insert(worker, registration.slots.into());
        }
    }
}

impl Invariants {
    /// A call is about to be given to a worker. Methods go where their actor is, and calls inside of
    /// others to whoever waits for them, room or not.
    pub(crate) fn check_room(&self, worker: WorkerId, run: &Assignment) -> Result<(), String> {
        if !self.room.exact || run.priority.nesting < 0 || run.instance != Instance::Fresh {
            return Ok(());
        }
        let slots = self.room.slots.get(&worker).copied().unwrap_or_default();
        let filled = (slots * 110).div_ceil(100);
        let at_slots = self.hands.of(worker).filter(|(_, given)| !given.waits).count() as u64;
        match at_slots < filled {
            true => Ok(()),
            false => Err(format!(
                "{} was given to worker {worker}, which has {at_slots} calls at its {slots} slots",
                run.key.short()
            )),
        }
    }
}
