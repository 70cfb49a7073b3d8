//! A worker as the machine sees it.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::Assignment;
use grid_proto::report::{MemoryUse, ResourceUse};
use grid_proto::{Amount, Key, TaskId, WorkerId};

use crate::backlog::Backlog;
use crate::call::{CallId, Needs};
use crate::config::{Config, Now};

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) host: String,
    pub(crate) labels: Vec<String>,
    /// What it offers, and what calls in its hands take of that.
    pub(crate) resources: BTreeMap<String, Amount>,
    pub(crate) taken: BTreeMap<String, Amount>,
    /// What it brought along is being taken over: until then it is given nothing, so that it computes
    /// nothing that it has.
    pub(crate) arriving: bool,
    /// Bytes that inputs and results may hold.
    pub(crate) memory_bytes: u64,
    /// Bytes that one object may have.
    pub(crate) object_bytes: u64,
    pub(crate) pid: u32,
    /// Why its process ended, if that was said.
    pub(crate) why_ended: String,
    pub(crate) slots: u32,
    /// Calls that it was given and has not finished.
    pub(crate) in_hand: BTreeSet<CallId>,
    /// Those of them that wait, for calls of their own or for what is shared, and take no slot.
    pub(crate) waiting: BTreeSet<CallId>,
    /// Expected time of all of them.
    pub(crate) load_us: u64,
    pub(crate) executing: u32,
    /// When one of them last began or ended, or waited.
    pub(crate) moved: Now,
    /// How long its slots, all of them taken, had not moved at its last heartbeat: as long again is
    /// what calls behind them are expected to wait.
    pub(crate) overrun_us: u64,
    /// Calls that are held back for it.
    pub(crate) backlog: Backlog,
    /// Calls whose results it holds.
    pub(crate) holds: BTreeSet<CallId>,
    pub(crate) held_bytes: u64,
    /// How many times it has said what it holds.
    pub(crate) holds_heard: u64,
    /// Data that clients are bringing to it.
    pub(crate) awaits: BTreeSet<CallId>,
    /// Its claim on the data that clients bring next, see `data.rs`.
    pub(crate) credit: i64,
    pub(crate) seen: Now,
    pub(crate) resident_bytes: u64,
    pub(crate) memory: MemoryUse,
    /// Its memory is nearly full: it is given nothing.
    pub(crate) paused: bool,
    pub(crate) descriptors: u32,
    /// What it was told before, so that it is told once.
    pub(crate) known_tasks: BTreeSet<TaskId>,
    pub(crate) known_peers: BTreeSet<WorkerId>,
    /// Placed in this round, sent at its end.
    pub(crate) outbox: Vec<Assignment>,
    /// What it shall free and was not told so yet.
    pub(crate) frees: Vec<Key>,
}

impl Worker {
    pub(crate) fn per_slot(&self, micros: u64) -> u64 {
        micros / u64::from(self.slots.max(1))
    }

    /// Expected time until a slot is free, were all slots equally busy, counting what is held back
    /// for it.
    pub(crate) fn start_us(&self) -> u64 {
        self.start_without_us(0)
    }

    /// The same, had it so much less in hand that has not begun.
    pub(crate) fn start_without_us(&self, given_back_us: u64) -> u64 {
        let backlog_us = self.backlog.expected_us();
        let load_us = self.load_us.saturating_sub(given_back_us);
        self.per_slot(load_us + backlog_us).max(self.overrun_us + self.per_slot(backlog_us))
    }

    /// The same, counting what is in its hands alone.
    pub(crate) fn in_hand_us(&self) -> u64 {
        self.in_hand_without_us(0)
    }

    /// The same, had it so much less in hand that has not begun.
    pub(crate) fn in_hand_without_us(&self, given_back_us: u64) -> u64 {
        self.per_slot(self.load_us.saturating_sub(given_back_us)).max(self.overrun_us)
    }

    /// How long a call that is held back for it is expected to wait behind `ahead_us` of calls that
    /// take the same.
    pub(crate) fn wait_us(
        &self,
        resources: &[(String, Amount)],
        ahead_us: u64,
        expected_us: u64,
    ) -> u64 {
        if self.paused {
            // Nobody knows how long.
            return u64::MAX;
        }
        // What is taken is free when a call like this one ends.
        let taken_us = if self.has_free(resources) { 0 } else { expected_us };
        self.in_hand_us() + ahead_us / self.at_once(resources) + taken_us
    }

    /// Calls that take this and can run at the same time; at least one.
    fn at_once(&self, resources: &[(String, Amount)]) -> u64 {
        let fitting = |(name, amount): &(String, Amount)| {
            self.resources.get(name).map_or(0, |all| all.0 / amount.0.max(1))
        };
        let slots = u64::from(self.slots);
        resources.iter().map(fitting).fold(slots, u64::min).max(1)
    }

    /// A call in its hands began, ended or waits.
    pub(crate) fn progressed(&mut self, now: Now) {
        self.moved = now;
        self.overrun_us = 0;
    }

    /// It is alive: calls that fill its slots have run on until now.
    pub(crate) fn note_overrun(&mut self, now: Now) {
        let full = self.at_slots() >= self.slots as usize;
        self.overrun_us = if full { now.0.saturating_sub(self.moved.0) } else { 0 };
    }

    /// It may be given another call.
    pub(crate) fn has_room(&self, config: &Config) -> bool {
        if self.arriving {
            return false;
        }
        let in_hand = self.at_slots() as u64;
        let slots = u64::from(self.slots);
        let filled = (slots * u64::from(config.saturation_percent)).div_ceil(100).max(1);
        let room = in_hand < filled
            || (self.in_hand_us() < config.lookahead_us
                && in_hand < slots * u64::from(config.in_hand_per_slot_max));
        room && !self.paused
    }

    /// A slot has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.at_slots() < self.slots as usize && self.backlog.is_empty()
    }

    /// Calls in its hands that take a slot or will.
    pub(crate) fn at_slots(&self) -> usize {
        self.in_hand.len() - self.waiting.len()
    }

    /// How many of those cannot have begun.
    pub(crate) fn not_begun(&self) -> usize {
        self.at_slots().saturating_sub((self.slots.max(self.executing)) as usize)
    }

    /// It may be given what some call waits for beyond its room, one for each that waits here: were
    /// that held back by calls that have not begun, nothing would end the waiting.
    pub(crate) fn has_room_for_nested(&self) -> bool {
        !self.paused && self.in_hand.len() < 2 * self.waiting.len() + self.slots as usize
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.labels.iter().chain([&self.name, &self.host])
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.host == name || self.labels.iter().any(|label| label == name)
    }

    pub(crate) fn has_a_name_of(&self, needs: &Needs) -> bool {
        self.is_one_of(&needs.any_of)
    }

    /// It has one of these names, if there are any.
    pub(crate) fn is_one_of(&self, names: &[String]) -> bool {
        names.is_empty() || names.iter().any(|name| self.is_called(name))
    }

    /// It offers that much, whoever has it now.
    pub(crate) fn offers(&self, resources: &[(String, Amount)]) -> bool {
        resources.iter().all(|(name, amount)| self.resources.get(name) >= Some(amount))
    }

    /// That much is free.
    pub(crate) fn has_free(&self, resources: &[(String, Amount)]) -> bool {
        resources.iter().all(|(name, amount)| self.free(name) >= *amount)
    }

    fn free(&self, name: &str) -> Amount {
        let all = self.resources.get(name).map_or(0, |amount| amount.0);
        Amount(all.saturating_sub(self.taken.get(name).map_or(0, |amount| amount.0)))
    }

    pub(crate) fn take(&mut self, resources: &[(String, Amount)]) {
        for (name, amount) in resources {
            self.taken.entry(name.clone()).or_default().0 += amount.0;
        }
    }

    pub(crate) fn give_back(&mut self, resources: &[(String, Amount)]) {
        for (name, amount) in resources {
            if let Some(taken) = self.taken.get_mut(name) {
                taken.0 = taken.0.saturating_sub(amount.0);
                if taken.0 == 0 {
                    self.taken.remove(name);
                }
            }
        }
    }

    pub(crate) fn resource_uses(&self) -> BTreeMap<String, ResourceUse> {
        let one = |(name, offered): (&String, &Amount)| {
            let taken = self.taken.get(name).copied().unwrap_or_default();
            (name.clone(), ResourceUse { offered: *offered, taken })
        };
        self.resources.iter().map(one).collect()
    }

    /// The call that it would be given next of those held back for it.
    pub(crate) fn next_held_back(&self) -> Option<(grid_proto::Priority, CallId)> {
        self.backlog.first(self.resources.keys(), |name| self.free(name))
    }
}
