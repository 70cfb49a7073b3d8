//! Attempts that wait for calls of their own: they take no slot, but they keep their sandboxes.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::{Attempt, Key, Priority};

use super::{Action, Agent};

#[derive(Debug)]
pub(crate) struct Waiting {
    /// With the nesting of each.
    attempts: BTreeMap<(Key, Attempt), i32>,
    max: usize,
    /// Since the last tick a call that was held back has not been let go.
    lets_one: bool,
}

impl Waiting {
    pub(crate) fn new(max: usize) -> Self {
        Self { attempts: BTreeMap::new(), max, lets_one: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.attempts.len()
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn ended(&mut self, key: Key, attempt: Attempt) {
        self.attempts.remove(&(key, attempt));
    }

    /// A call was dispatched that [`Self::next`] chose.
    pub(crate) fn dispatched(&mut self) {
        self.lets_one = false;
    }

    /// The call to dispatch next. Once many wait, those come first that are nested deeper than all of
    /// them: most likely they are what is waited for, and the others would only wait as well. Should
    /// it be one of the others after all, each tick lets one of them go.
    pub(crate) fn next(&self, ready: &BTreeSet<(Priority, Key)>) -> Option<(Priority, Key)> {
        let deepest = match self.attempts.len() > self.max / 2 {
            true => self.attempts.values().min().copied(),
            false => None,
        };
        let Some(deepest) = deepest else {
            return ready.first().copied();
        };
        let deeper = ready.iter().find(|(priority, _)| priority.nesting < deepest);
        deeper.or_else(|| ready.first().filter(|_| self.lets_one)).copied()
    }
}

impl Agent {
    /// An attempt says something as a client of the scheduler.
    pub fn on_said(&mut self, key: Key, attempt: Attempt, message: FromClient) {
        if self.is_current(key, attempt) {
            let message = Box::new(message);
            self.actions.push_back(Action::Send(FromWorker::FromTask { key, attempt, message }));
        }
    }

    /// An attempt begins to wait for calls of its own and has given its slot back, or goes on.
    pub fn on_waits(&mut self, key: Key, attempt: Attempt, waits: bool) {
        if !self.dispatched.contains_key(&(key, attempt)) {
            return;
        }
        let nesting = self.jobs.get(&key).map_or(0, |job| job.priority.nesting);
        match waits {
            true => self.waiting.attempts.insert((key, attempt), nesting),
            false => self.waiting.attempts.remove(&(key, attempt)),
        };
        if self.is_current(key, attempt) {
            self.actions.push_back(Action::Send(FromWorker::Waits { key, attempt, waits }));
        }
    }

    /// Some milliseconds have passed: see [`Waiting::next`].
    pub fn on_tick(&mut self) {
        self.waiting.lets_one = true;
    }

    pub(crate) fn is_current(&self, key: Key, attempt: Attempt) -> bool {
        self.jobs.get(&key).is_some_and(|job| job.attempt == attempt)
    }
}
