//! Results that somebody could not read where they are said to be. Who holds one is asked before it
//! is believed gone, unless it can be computed again and a worker says so.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::ToWorker;
use grid_proto::{Attempt, ClientId, Key, WorkerId};

use crate::call::{CallId, Queue, State};
use crate::machine::Scheduler;
use crate::placement::suits;

impl Scheduler {
    pub(crate) fn on_missing_inputs(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
        missing: &[(Key, WorkerId)],
    ) {
        let Some(id) = self.current(worker, key, attempt) else {
            return;
        };
        let mut unread = Vec::new();
        for (input, from) in missing {
            let Some(input_id) = self.calls.find(input) else {
                continue;
            };
            if !self.calls[input_id].holders().contains(from) {
                continue;
            }
            if self.happens_once(input_id) && *from != worker {
                // Only its holder can say that it is gone.
                unread.push((*input, *from));
                continue;
            }
            // It may hold it after all, behind a broken link: then it shall not keep it.
            self.send_free(*from, *input);
            self.lose_replica(input_id, *from);
        }
        self.confirm(&unread);
        // An input that cannot be computed again may have failed all that wanted this call.
        if !self.is_processing(id) {
            return;
        }
        match unread.first() {
            Some((_, from)) => self.start_beside(id, *from),
            None => self.start_over(id),
        }
    }

    /// A call that could not read an input from where it is starts over there, if it may run there; else it
    /// tries again until the holder is lost or says that it does not hold it.
    fn start_beside(&mut self, id: CallId, holder: WorkerId) {
        self.start_over(id);
        if !self.calls.contains(id) {
            // It was refused, and nobody wants to know.
            return;
        }
        // A method stays where its actor is.
        let at_home = |at: Queue| matches!(at, Queue::Any | Queue::Of(_));
        let (room, needs) = (self.inputs(id).room(), self.calls[id].needs());
        let named = needs.is_some_and(|needs| !needs.prefer);
        let may_run =
            self.workers.of(holder).is_some_and(|worker| suits(worker, needs, named, room));
        if may_run && matches!(self.calls[id].state, State::Queued { at, .. } if at_home(at)) {
            self.dequeue(id);
            self.hold_back(id, Queue::Of(holder));
        }
    }

    /// A client could not read these: the holders of those that it wants are asked.
    pub(crate) fn doubt(&mut self, client: ClientId, failed: &[(Key, WorkerId)]) {
        let held = |(key, worker): &&(Key, WorkerId)| {
            let call = self.calls.find(key).map(|id| &self.calls[id]);
            call.is_some_and(|call| {
                call.clients.contains(&client) && call.holders().contains(worker)
            })
        };
        let doubted: Vec<_> = failed.iter().filter(held).copied().collect();
        self.confirm(&doubted);
    }

    fn confirm(&mut self, doubted: &[(Key, WorkerId)]) {
        let mut by_worker = BTreeMap::<_, BTreeSet<_>>::new();
        for (key, worker) in doubted {
            by_worker.entry(*worker).or_default().insert(*key);
        }
        for (worker, keys) in by_worker {
            self.send_worker(worker, ToWorker::Confirm(keys.into_iter().collect()));
        }
    }

    /// A worker does not hold what it is said to hold.
    pub(crate) fn on_missing(&mut self, worker: WorkerId, keys: &[Key]) {
        for key in keys {
            let held = |id: &CallId| self.calls[*id].holders().contains(&worker);
            match self.calls.find(key).filter(held) {
                Some(id) => self.lose_replica(id, worker),
                None => self.stale_messages += 1,
            }
        }
    }
}
