//! Calls that would wait for themselves. A running call waits for what it submitted, and a call waits
//! for its inputs: from what a call is about to wait for, no way may lead back to it.
//!
//! The way is searched from both ends at the same time, one call here and one there, so that the
//! search is over as soon as the smaller of the two is known: calls that are new need little, and a
//! call that few others need is waited for by few.

use std::collections::BTreeSet;

use grid_proto::ClientId;
use grid_proto::message::Refusal;

use crate::call::CallId;
use crate::machine::Scheduler;

/// Calls that are reached from some, by one step to a neighbour at a time.
#[derive(Default)]
struct Search<'a> {
    reached: BTreeSet<CallId>,
    /// The neighbours that have not been looked at, of each call on the way.
    way: Vec<Box<dyn Iterator<Item = CallId> + 'a>>,
}

impl<'a> Search<'a> {
    fn add<I: Iterator<Item = CallId> + 'a>(&mut self, id: CallId, next: impl FnOnce(CallId) -> I) {
        if self.reached.insert(id) {
            self.way.push(Box::new(next(id)));
        }
    }

    fn step<I: Iterator<Item = CallId> + 'a>(&mut self, next: impl FnOnce(CallId) -> I) {
        match self.way.last_mut().and_then(Iterator::next) {
            Some(id) => self.add(id, next),
            None => drop(self.way.pop()),
        }
    }
}

impl Scheduler {
    /// Refuses what would make a call wait for itself, through whatever it submitted.
    pub(crate) fn refuse_circles(
        &self,
        client: ClientId,
        wanted: &[(CallId, bool)],
    ) -> Result<(), Refusal> {
        let wanted = wanted.iter().map(|(id, _)| *id);
        let Some(id) = self.find_circle(client, wanted) else { return Ok(()) };
        let call = &self.calls[id];
        let message = format!(
            "`{}` ({}) would wait for itself: an equal call waits for this one; give it other \
             arguments, or make the call impure",
            self.tasks.of(call.task).label,
            call.key.short(),
        );
        Err(Refusal::BadSubmission { message })
    }

    /// The first of these calls that waits for the call that this client is, if it is one.
    pub(crate) fn find_circle(
        &self,
        client: ClientId,
        wanted: impl Iterator<Item = CallId> + Clone,
    ) -> Option<CallId> {
        self.search_circle(client, wanted).0
    }

    /// The same, and how many steps it took from each end.
    pub(crate) fn search_circle(
        &self,
        client: ClientId,
        wanted: impl Iterator<Item = CallId> + Clone,
    ) -> (Option<CallId>, usize) {
        // All that one needs, then all that the next one needs.
        let mut roots = wanted.clone();
        let (Some(own), Some(mut root)) = (self.sessions.call_of(client), roots.next()) else {
            return (None, 0);
        };
        let (mut waiting, mut needed) = (Search::default(), Search::default());
        waiting.add(own, |id| self.waiting_for(id));
        needed.add(root, |id| self.needs_of(id));
        let mut steps = 0;
        while !waiting.way.is_empty() {
            if needed.reached.contains(&own) {
                return (Some(root), steps);
            }
            if needed.way.is_empty() {
                let Some(next) = roots.next() else { return (None, steps) };
                root = next;
                needed.add(root, |id| self.needs_of(id));
            }
            needed.step(|id| self.needs_of(id));
            waiting.step(|id| self.waiting_for(id));
            steps += 1;
        }
        (wanted.into_iter().find(|id| waiting.reached.contains(id)), steps)
    }

    /// What waits for a call: its dependents, and calls that submitted it.
    fn waiting_for(&self, id: CallId) -> impl Iterator<Item = CallId> + '_ {
        let call = &self.calls[id];
        let submitters = call.clients.iter().filter_map(|client| self.sessions.call_of(*client));
        call.dependents.iter().chain(submitters)
    }

    /// What a call waits for: its inputs, and what it submitted.
    fn needs_of(&self, id: CallId) -> impl Iterator<Item = CallId> + '_ {
        let client = self.sessions.client_of(id).and_then(|client| self.clients.get(&client));
        let submitted = client.into_iter().flat_map(|client| client.wants.keys());
        self.calls[id].dependencies.iter().chain(submitted).copied()
    }
}
