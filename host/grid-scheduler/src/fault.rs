//! Contradictions in the machine's own state. The first is noted, and from then on the machine does
//! nothing: what it would decide could be wrong in any way. The host asks after each step, writes the
//! dump and stops.
//!
//! They are found where a step meets what cannot be, and by a walk over a few calls in each turn.

use grid_proto::{Key, WorkerId};

use crate::call::{Call, CallId, Processing, Queue, State};
use crate::check::ensure;
use crate::machine::Scheduler;

/// What was found, and the walk.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) found: Option<Fault>,
    /// The place of the arena at which the walk goes on.
    next: u32,
}

/// A contradiction.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) what: String,
    /// The call that shows it.
    pub(crate) key: Option<Key>,
}

impl Scheduler {
    /// The contradiction that the machine has found in its state, after which it handles nothing.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.faults.found.as_ref().map(|fault| fault.what.as_str())
    }

    /// This cannot be.
    pub(crate) fn contradicted(&mut self, what: &str, id: CallId) {
        if self.faults.found.is_some() {
            return;
        }
        let call = self.calls.contains(id).then(|| &self.calls[id]);
        let what = match call {
            Some(call) => format!("call {} ({}): {what}", call.key.short(), call.state.label()),
            None => format!("a call that is not known: {what}"),
        };
        self.faults.found = Some(Fault { what, key: call.map(|call| call.key) });
    }

    /// Verifies the next few calls, each in bounded time; all of them come up in turn.
    pub(crate) fn check_some(&mut self) {
        for _ in 0..self.config.checked_per_turn.min(self.calls.places() as usize) {
            let id = CallId(self.faults.next);
            self.faults.next = (self.faults.next + 1) % self.calls.places();
            if self.calls.contains(id)
                && let Err(what) = self.check_quickly(id, &self.calls[id])
            {
                return self.contradicted(&what, id);
            }
        }
    }

    /// The part of `check` that needs no walk over anything but the call's inputs and holders.
    fn check_quickly(&self, id: CallId, call: &Call) -> Result<(), String> {
        ensure(self.calls.find(&call.key) == Some(id), "the index does not find it")?;
        let known = call.dependencies.iter().all(|input| self.calls.contains(*input));
        ensure(known, "an input is forgotten")?;
        let missing = self.missing_of(id, call);
        match &call.state {
            State::Released | State::Arriving(_) | State::Erred(_) => Ok(()),
            State::Waiting { missing: counted } => {
                ensure(*counted as usize == missing, "missing inputs are miscounted")?;
                ensure(missing > 0, "it waits for nothing")
            }
            State::Queued { at, .. } => {
                ensure(missing == 0, "queued without its inputs")?;
                ensure(self.is_listed(id, call, *at), "in no queue")
            }
            State::Processing(Processing { worker, .. }) => {
                ensure(self.is_in_hand(id, *worker), "its worker does not have it in hand")
            }
            State::Memory { holders, .. } => {
                ensure(!holders.is_empty(), "in memory on no worker")?;
                let lists = |holder: &WorkerId| self.is_held(id, *holder);
                ensure(holders.iter().all(lists), "a holder does not list it")
            }
        }
    }

    /// Whether a queued call is in the queue that it says.
    pub(crate) fn is_listed(&self, id: CallId, call: &Call, at: Queue) -> bool {
        let entry = (call.priority, id);
        match at {
            Queue::Any => self.unbound.contains(&entry),
            Queue::Nowhere => self.homeless.contains(entry, call.needs()),
            Queue::Line => self.actors.is_method(id),
            Queue::Of(worker) => {
                let resources = call.needs().map_or(&[][..], |needs| &needs.resources);
                let mut adrift = self.lost.held_back_for(worker);
                self.is_in_backlog(id, call, worker)
                    || adrift.any(|backlog| backlog.contains(entry, resources))
            }
        }
    }

    pub(crate) fn is_in_backlog(&self, id: CallId, call: &Call, worker: WorkerId) -> bool {
        let resources = call.needs().map_or(&[][..], |needs| &needs.resources);
        let worker = self.workers.of(worker);
        worker.is_some_and(|worker| worker.backlog.contains((call.priority, id), resources))
    }

    /// A worker has it in hand, or had when it was lost.
    pub(crate) fn is_in_hand(&self, id: CallId, worker: WorkerId) -> bool {
        match self.workers.of(worker) {
            Some(worker) => worker.in_hand.contains(&id),
            None => self.lost.had_in_hand(worker, id),
        }
    }

    /// A worker holds its result, or did when it was lost.
    pub(crate) fn is_held(&self, id: CallId, worker: WorkerId) -> bool {
        match self.workers.of(worker) {
            Some(worker) => worker.holds.contains(&id),
            None => self.lost.held(worker, id),
        }
    }

    /// Inputs that a call counts as missing.
    pub(crate) fn missing_of(&self, id: CallId, call: &Call) -> usize {
        let missing = |input: &&CallId| !self.counts_as_there(id, **input);
        call.dependencies.iter().filter(missing).count()
    }
}
