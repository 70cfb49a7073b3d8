//! Workers as the machine sees them.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::Assignment;
use grid_proto::{TaskId, WorkerId};

use crate::call::CallId;
use crate::config::{Config, Now};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) pid: u32,
    pub(crate) slots: u32,
    /// Calls that it was given and has not finished.
    pub(crate) in_hand: BTreeSet<CallId>,
    /// Those of them that wait for calls of their own and take no slot.
    pub(crate) waiting: BTreeSet<CallId>,
    /// Expected time of all of them.
    pub(crate) load_us: u64,
    pub(crate) executing: u32,
    /// Calls whose results it holds.
    pub(crate) holds: BTreeSet<CallId>,
    pub(crate) held_bytes: u64,
    pub(crate) seen: Now,
    pub(crate) resident_bytes: u64,
    pub(crate) descriptors: u32,
    /// What it was told before, so that it is told once.
    pub(crate) known_tasks: BTreeSet<TaskId>,
    pub(crate) known_peers: BTreeSet<WorkerId>,
    /// Placed in this round, sent at its end.
    pub(crate) outbox: Vec<Assignment>,
}

impl Worker {
    /// Expected time until a slot is free, were all slots equally busy.
    pub(crate) fn load_per_slot_us(&self) -> u64 {
        self.load_us / u64::from(self.slots.max(1))
    }

    /// It may be given another call that has no reason to run just there.
    pub(crate) fn has_room(&self, config: &Config) -> bool {
        let in_hand = (self.in_hand.len() - self.waiting.len()) as u64;
        let slots = u64::from(self.slots);
        let filled = (slots * u64::from(config.saturation_percent)).div_ceil(100).max(1);
        in_hand < filled
            || (self.load_per_slot_us() < config.lookahead_us
                && in_hand < slots * u64::from(config.in_hand_per_slot_max))
    }
}

/// The connected workers, and their order by load.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    list: BTreeMap<WorkerId, Worker>,
    by_load: BTreeSet<(u64, WorkerId)>,
}

impl Workers {
    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.by_load.insert((worker.load_per_slot_us(), id));
        self.list.insert(id, worker);
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.list.remove(&id)?;
        self.by_load.remove(&(worker.load_per_slot_us(), id));
        Some(worker)
    }

    /// Who was told where this worker listens.
    pub(crate) fn forget_peer(&mut self, gone: WorkerId) -> Vec<WorkerId> {
        let told = |(id, worker): (&WorkerId, &mut Worker)| {
            worker.known_peers.remove(&gone).then_some(*id)
        };
        self.list.iter_mut().filter_map(told).collect()
    }

    pub(crate) fn of(&self, id: WorkerId) -> Option<&Worker> {
        self.list.get(&id)
    }

    /// For everything but its load.
    pub(crate) fn of_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.list.get_mut(&id)
    }

    /// Changes what a worker has in hand, and its place in the order.
    pub(crate) fn change_load(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.list.get_mut(&id) else {
            return;
        };
        let before = worker.load_per_slot_us();
        change(worker);
        let after = worker.load_per_slot_us();
        if before != after {
            self.by_load.remove(&(before, id));
            self.by_load.insert((after, id));
        }
    }

    pub(crate) fn least_loaded(&self) -> Option<(WorkerId, &Worker)> {
        let (_, id) = self.by_load.first()?;
        Some((*id, &self.list[id]))
    }

    /// All in the order of their load.
    pub(crate) fn by_load(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.by_load.iter().map(|(_, id)| (*id, &self.list[id]))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.list.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
