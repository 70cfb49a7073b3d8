//! What a worker does when its memory is nearly full, and when it has lost objects.

use grid_proto::message::FromWorker;
use grid_proto::{Attempt, Instance, Key, Version, WorkerId};

use super::{Action, Agent};

impl Agent {
    /// Memory is nearly full from now on, or no longer. What has not begun goes back to the
    /// scheduler, and so does what comes until that has heard of it. Methods of actors run all the
    /// same: they can run nowhere else, and nothing else makes an actor smaller.
    pub fn on_paused(&mut self, paused: bool) {
        if self.paused == paused {
            return;
        }
        self.paused = paused;
        self.actions.push_back(Action::Send(FromWorker::Paused(paused)));
        if paused {
            let in_hand: Vec<_> = self.jobs.iter().map(|(key, job)| (*key, job.attempt)).collect();
            for (key, attempt) in in_hand {
                self.give_back_if_paused(key, attempt);
            }
        }
    }

    /// Whether memory is nearly full.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn give_back_if_paused(&mut self, key: Key, attempt: Attempt) {
        let movable =
            self.jobs.get(&key).is_some_and(|job| !matches!(job.instance, Instance::Of(_)));
        if self.paused && movable {
            self.on_withdrawn(key, attempt);
        }
    }

    /// The scheduler has taken this worker, perhaps another one than before.
    pub(crate) fn on_welcome(&mut self, id: WorkerId) {
        self.id = id;
        if self.paused {
            self.actions.push_back(Action::Send(FromWorker::Paused(true)));
        }
    }

    /// A client has brought objects, which are in the store now.
    pub fn on_brought(&mut self, brought: &[(Key, Version)]) {
        for (key, version) in brought {
            if !self.held.contains(key) {
                self.held.insert_copy(*key, *version);
            }
            let calls = self.fetches.arrived(key).unwrap_or_default();
            self.complete_inputs(key, calls);
        }
        self.tell_holds(brought.to_vec());
    }

    /// The scheduler may have decided just now that these are to be freed: the number tells it apart.
    pub(crate) fn tell_holds(&mut self, copies: Vec<(Key, Version)>) {
        if copies.is_empty() {
            return;
        }
        self.told += 1;
        for (key, _) in &copies {
            self.held.note_told(key, self.told);
        }
        self.actions.push_back(Action::Send(FromWorker::Holds(copies)));
    }

    /// The scheduler wants copies here, which these workers have.
    pub(crate) fn on_acquire(&mut self, copies: Vec<(Key, Vec<WorkerId>)>) {
        let (mut here, mut refused) = (Vec::new(), Vec::new());
        for (key, holders) in copies {
            match self.held.version(&key) {
                Some(version) => here.push((key, version)),
                None if self.paused => refused.push(key),
                None => self.fetches.want(key, None, holders, self.id),
            }
        }
        self.tell_holds(here);
        if !refused.is_empty() {
            self.actions.push_back(Action::Send(FromWorker::NotAcquired(refused)));
        }
    }

    /// Objects that were in the store are not to be had from it any more.
    pub fn on_lost(&mut self, keys: &[Key]) {
        let mut lost = Vec::new();
        for key in keys {
            if self.held.remove(key) {
                lost.push(*key);
                self.actions.push_back(Action::Drop(*key));
            }
        }
        if !lost.is_empty() {
            self.actions.push_back(Action::Send(FromWorker::Missing(lost)));
        }
    }

    /// A slot could not read these inputs of an attempt, which therefore never began.
    pub fn on_inputs_lost(&mut self, key: Key, attempt: Attempt, lost: &[Key]) {
        self.dispatched.remove(&(key, attempt));
        self.leave_actor(key, attempt);
        self.on_lost(lost);
        if self.is_current(key, attempt) {
            self.jobs.remove(&key);
            self.drop_copy(key);
            let missing = lost.iter().map(|input| (*input, self.id)).collect();
            self.report_missing(key, attempt, missing);
        }
    }
}
