//! What has become of a call, told to those that read it. Few readers hear it at once; many hear it
//! one after the other, in turns, in the order of their places in the arena.
//!
//! Of a result that came or went in the midst of this, each reader counts what it has heard: it is
//! there for those below a place, but for some that were told on their own. The place moves up while
//! the result is there, and down again while it is not, so each reader hears what it has not heard
//! however often the result comes and goes. A reader that could run and has not heard that an input
//! is gone is told when it would be given to a worker, at the latest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use crate::call::{CallId, State};
use crate::check::ensure;
use crate::dependents::Dependents;
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// Calls that have readers which do not know yet what has become of them.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Results that came or went.
    heard: BTreeMap<CallId, Heard>,
    /// Failed calls, with the place from which on their readers have not failed yet.
    failed: BTreeMap<CallId, u32>,
    /// The calls of the last steps: the next steps are about others, so that none waits until all is
    /// told of another.
    heard_last: CallId,
    failed_last: CallId,
}

/// Who of a result's readers count it as there.
#[derive(Debug)]
struct Heard {
    /// All readers below this place ...
    below: u32,
    /// ... but for these.
    except: BTreeSet<CallId>,
}

impl Heard {
    fn counts(&self, reader: CallId) -> bool {
        reader.0 < self.below && !self.except.contains(&reader)
    }

    /// The next reader that counts it otherwise from now on, and whether it did before.
    fn step(&mut self, readers: &Dependents, there: bool) -> (Option<CallId>, bool) {
        if !there {
            let last = readers.last_before(self.below);
            self.below = last.map_or(0, |last| last.0);
            let told = self.except.split_off(&CallId(self.below));
            return (last, last.is_some_and(|last| told.contains(&last)));
        }
        if let Some(alone) = self.except.pop_first() {
            return (Some(alone), false);
        }
        let next = readers.next_from(self.below);
        self.below = next.map_or(self.below, |next| next.0 + 1);
        (next, false)
    }
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.heard.is_empty() && self.failed.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.heard.len() + self.failed.len()
    }

    /// Some failure has not yet taken all along.
    pub(crate) fn is_failing(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Some call may be queued whose input is gone.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.heard.is_empty()
    }

    /// A call is known no longer, or nobody reads it.
    pub(crate) fn forget(&mut self, id: CallId) {
        self.heard.remove(&id);
        self.failed.remove(&id);
    }
}

impl Scheduler {
    /// A result has come or gone: its readers are told, now or in the turns to come.
    pub(crate) fn spread(&mut self, id: CallId) {
        let call = &self.calls[id];
        if call.active_dependents == 0 || self.news.heard.contains_key(&id) {
            return;
        }
        let there = call.in_memory();
        if !call.dependents.are_few() {
            let below = if there { 0 } else { u32::MAX };
            self.news.heard.insert(id, Heard { below, except: BTreeSet::new() });
            return;
        }
        for reader in call.dependents.to_list() {
            self.hear(reader, there);
        }
    }

    /// One step of what a result's readers have to hear. Says whether there was one.
    pub(crate) fn tell_a_reader(&mut self) -> bool {
        let Some(id) = next_after(&self.news.heard, &mut self.news.heard_last) else {
            return false;
        };
        let call = &self.calls[id];
        let there = call.in_memory();
        let Some(heard) = self.news.heard.get_mut(&id) else { return false };
        let (reader, knows) = heard.step(&call.dependents, there);
        match reader.filter(|_| call.active_dependents > 0) {
            None => drop(self.news.heard.remove(&id)),
            // One that was told on its own may be forgotten, and its place another call's.
            Some(reader) if knows || !call.dependents.contains(reader) => {}
            Some(reader) => self.hear(reader, there),
        }
        true
    }

    fn hear(&mut self, reader: CallId, there: bool) {
        match (&mut self.calls[reader].state, there) {
            (State::Waiting { missing }, true) => {
                *missing -= 1;
                if *missing == 0 {
                    self.enqueue(reader);
                }
            }
            (State::Waiting { missing }, false) => *missing += 1,
            (State::Queued { .. }, false) => {
                self.dequeue(reader);
                self.set_state(reader, State::Waiting { missing: 1 });
            }
            (
                State::Queued { .. }
                | State::Released
                | State::Arriving(_)
                | State::Processing(_)
                | State::Memory { .. }
                | State::Erred(_),
                _,
            ) => {}
        }
    }

    /// Whether a reader that is placed anew has to wait for an input: it is gone, or the reader will
    /// hear that it is there.
    pub(crate) fn has_to_wait(&mut self, reader: CallId, input: CallId) -> bool {
        let there = self.calls[input].in_memory();
        let Some(heard) = self.news.heard.get_mut(&input) else { return !there };
        if !there && reader.0 < heard.below {
            heard.except.insert(reader);
        }
        !heard.counts(reader)
    }

    /// Whether a reader counts an input as there.
    pub(crate) fn counts_as_there(&self, reader: CallId, input: CallId) -> bool {
        match self.news.heard.get(&input) {
            None => self.calls[input].in_memory(),
            Some(heard) => heard.counts(reader),
        }
    }

    /// Whether a queued call's inputs are all there; otherwise it is told so now, and waits for them.
    pub(crate) fn is_ready(&mut self, id: CallId) -> bool {
        if !self.news.is_incomplete() && self.lost.is_empty() {
            return true;
        }
        let inputs = self.calls[id].dependencies.clone();
        for input in &inputs {
            self.lose_lost_replicas(*input);
        }
        if !matches!(self.calls[id].state, State::Queued { .. }) {
            return false;
        }
        let ready = inputs.iter().all(|input| self.calls[*input].in_memory());
        if !ready {
            self.dequeue(id);
            self.settle(id);
        }
        ready
    }

    /// Those that wait for a failed call fail with it, in the turns to come.
    pub(crate) fn spread_failure(&mut self, id: CallId) {
        if self.calls[id].active_dependents > 0 && !self.mutated(Mutation::DependentsNotFailed) {
            self.news.failed.insert(id, 0);
        }
    }

    /// One step of what failures take along. Says whether there was one.
    pub(crate) fn fail_a_reader(&mut self) -> bool {
        let Some(id) = next_after(&self.news.failed, &mut self.news.failed_last) else {
            return false;
        };
        let call = &self.calls[id];
        let Some(from) = self.news.failed.get_mut(&id) else { return false };
        let next = call.dependents.next_from(*from).filter(|_| call.active_dependents > 0);
        // It may have been released since, or run again.
        let (Some(reader), State::Erred(failure)) = (next, &call.state) else {
            self.news.failed.remove(&id);
            return true;
        };
        let failure = Arc::clone(failure);
        *from = reader.0 + 1;
        if matches!(self.calls[reader].state, State::Waiting { .. } | State::Queued { .. }) {
            self.fail(reader, failure);
        }
        true
    }

    /// Whether a reader of a failed call will fail with it.
    pub(crate) fn will_fail(&self, reader: CallId, input: CallId) -> bool {
        self.news.failed.get(&input).is_some_and(|from| reader.0 >= *from)
    }

    /// Verifies what holds of news.
    pub(crate) fn check_news(&self) -> Result<(), String> {
        let News { heard, failed, .. } = &self.news;
        let known = heard.keys().chain(failed.keys()).all(|id| self.calls.contains(*id));
        ensure(known, "there is news of a forgotten call")?;
        let below = |heard: &Heard| heard.except.iter().all(|reader| reader.0 < heard.below);
        ensure(heard.values().all(below), "a reader was told on its own for nothing")
    }
}

/// The call after the last one, in a circle.
fn next_after<T>(of: &BTreeMap<CallId, T>, last: &mut CallId) -> Option<CallId> {
    let next = of.range((Excluded(*last), Unbounded)).next().or_else(|| of.first_key_value());
    *last = *next?.0;
    Some(*last)
}
