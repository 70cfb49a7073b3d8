//! Attempts that wait for calls of their own, or for what is shared: they take no slot, but they keep
//! their sandboxes.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::{Attempt, Key, Priority, TaskId};

use super::job::Job;
use super::{Action, Agent};

#[derive(Debug)]
pub(crate) struct Waiting {
    /// With the nesting of each.
    attempts: BTreeMap<(Key, Attempt), i16>,
    max: usize,
    /// Tasks that have been seen waiting.
    tasks: BTreeSet<TaskId>,
    /// Since the last tick a call that was held back has not been let go.
    lets_one: bool,
}

impl Waiting {
    pub(crate) fn new(max: usize) -> Self {
        Self { attempts: BTreeMap::new(), max, tasks: BTreeSet::new(), lets_one: false }
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

    /// Calls of this task are known to wait.
    pub(crate) fn is_known(&self, task: TaskId) -> bool {
        self.tasks.contains(&task)
    }

    /// The scheduler numbers tasks anew.
    pub(crate) fn forget_tasks(&mut self) {
        self.tasks.clear();
    }

    /// The call to dispatch next. Once many wait, calls of tasks that are known to wait are held back
    /// unless they are nested deeper than all that wait: those are most likely waited for, and the
    /// others would only wait as well. Should it be one of the others after all, each tick lets one
    /// of them go.
    pub(crate) fn next(
        &self,
        ready: &BTreeSet<(Priority, Key)>,
        jobs: &BTreeMap<Key, Job>,
    ) -> Option<(Priority, Key)> {
        let deepest = match self.attempts.len() > self.max / 2 {
            true => self.attempts.values().min().copied(),
            false => None,
        };
        let Some(deepest) = deepest else {
            return ready.first().copied();
        };
        let goes = |(priority, key): &&(Priority, Key)| {
            let waits = || jobs.get(key).is_some_and(|job| self.is_known(job.task));
            priority.nesting < deepest || !waits()
        };
        ready.iter().find(goes).or_else(|| ready.first().filter(|_| self.lets_one)).copied()
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

    /// An attempt begins to wait and has given its slot back, or goes on.
    pub fn on_waits(&mut self, key: Key, attempt: Attempt, waits: bool) {
        let Some(task) = self.dispatched.get(&(key, attempt)) else { return };
        self.waiting.tasks.insert(*task);
        let nesting = self.jobs.get(&key).map_or(0, |job| job.priority.nesting);
        match waits {
            true => self.waiting.attempts.insert((key, attempt), nesting),
            false => self.waiting.attempts.remove(&(key, attempt)),
        };
        if self.is_current(key, attempt) {
            self.actions.push_back(Action::Send(FromWorker::Waits { key, attempt, waits }));
        }
    }

    /// Some milliseconds have passed: one call that was held back, because many wait and it would
    /// most likely wait as well, may go.
    pub fn on_tick(&mut self) {
        self.waiting.lets_one = true;
    }

    pub(crate) fn is_current(&self, key: Key, attempt: Attempt) -> bool {
        self.jobs.get(&key).is_some_and(|job| job.attempt == attempt)
    }
}
