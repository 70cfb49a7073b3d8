//! How calls become active, are released, fail and are forgotten. Every walk over the graph uses a
//! list of its own: chains may be longer than a thread's stack.

use std::sync::Arc;

use grid_proto::message::ToWorker;
use grid_proto::{Failure, Key, ObjectMeta, Value, WorkerId};
use smallvec::smallvec;

use crate::call::{CallId, State};
use crate::machine::Scheduler;

impl Scheduler {
    /// Somebody wants this released call: it and the inputs that it lacks start on their way.
    pub(crate) fn activate(&mut self, id: CallId) {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            let ready = self.calls.contains(id)
                && self.calls[id].is_wanted()
                && matches!(self.calls[id].state, State::Released);
            if !ready {
                // A failure further up has settled it meanwhile.
                continue;
            }
            for input in self.calls[id].dependencies.clone() {
                self.calls[input].active_dependents += 1;
            }
            self.settle(id, &mut stack);
        }
    }

    /// Puts an active call that no worker has in hand where its inputs say it belongs. Inputs that
    /// have to be computed first are added to `to_activate`.
    fn settle(&mut self, id: CallId, to_activate: &mut Vec<CallId>) {
        let mut missing = 0;
        let mut failed = None;
        for input in self.calls[id].dependencies.clone() {
            match &self.calls[input].state {
                State::Memory { .. } => continue,
                State::Erred(failure) => failed = Some(Arc::clone(failure)),
                State::Released => to_activate.push(input),
                State::Waiting { .. } | State::Queued | State::Processing { .. } => {}
            }
            missing += 1;
        }
        self.calls[id].state = State::Waiting { missing };
        match failed {
            Some(failure) => self.fail(id, failure),
            None if missing == 0 => self.enqueue(id),
            None => {}
        }
    }

    /// An active call left its worker without an end: it starts over as another attempt.
    pub(crate) fn start_over(&mut self, id: CallId) {
        let call = &self.calls[id];
        self.fences.pass(&call.key, call.attempt);
        self.leave_worker(id);
        let mut inputs = Vec::new();
        self.settle(id, &mut inputs);
        for input in inputs {
            self.activate(input);
        }
    }

    fn enqueue(&mut self, id: CallId) {
        let call = &mut self.calls[id];
        call.state = State::Queued;
        let entry = (call.priority, id);
        match call.dependencies.is_empty() {
            true => self.unbound.insert(entry),
            false => self.bound.insert(entry),
        };
    }

    pub(crate) fn dequeue(&mut self, id: CallId) {
        let entry = (self.calls[id].priority, id);
        if !self.unbound.remove(&entry) {
            self.bound.remove(&entry);
        }
    }

    /// Takes a processing call out of its worker's hands; its attempt is over.
    pub(crate) fn leave_worker(&mut self, id: CallId) {
        let call = &mut self.calls[id];
        let State::Processing { worker, executing, expected_us } = call.state else {
            return;
        };
        call.attempt = call.attempt.next();
        call.state = State::Released;
        self.workers.change_load(worker, |worker| {
            worker.in_hand.remove(&id);
            worker.waiting.remove(&id);
            worker.load_us = worker.load_us.saturating_sub(expected_us);
            worker.executing -= u32::from(executing);
        });
        self.end_session(id);
    }

    /// Its result is in a worker's store.
    pub(crate) fn complete(
        &mut self,
        id: CallId,
        worker: WorkerId,
        meta: ObjectMeta,
        inline: Option<&Value>,
    ) {
        self.leave_worker(id);
        self.dequeue(id);
        self.calls[id].state = State::Memory { meta, holders: smallvec![] };
        self.add_holder(id, worker);
        self.announce(id, inline);
        for dependent in self.calls[id].dependents.clone() {
            if let State::Waiting { missing } = &mut self.calls[dependent].state {
                *missing -= 1;
                if *missing == 0 {
                    self.enqueue(dependent);
                }
            }
        }
        self.drop_inputs(id);
        self.release_unwanted(id);
    }

    /// It has no result, and neither have those that wait for it.
    pub(crate) fn fail(&mut self, id: CallId, failure: Arc<Failure>) {
        let mut ended = Vec::new();
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            if !self.calls[id].is_active() {
                continue;
            }
            self.leave_worker(id);
            self.dequeue(id);
            self.calls[id].state = State::Erred(Arc::clone(&failure));
            self.announce(id, None);
            let waiting = |dependent: &&CallId| {
                matches!(self.calls[**dependent].state, State::Waiting { .. })
            };
            stack.extend(self.calls[id].dependents.iter().filter(waiting));
            ended.push(id);
        }
        for id in ended {
            self.drop_inputs(id);
            self.release_unwanted(id);
        }
    }

    /// A call that was active is so no longer: its inputs have one reader less.
    fn drop_inputs(&mut self, id: CallId) {
        for input in self.calls[id].dependencies.clone() {
            self.calls[input].active_dependents -= 1;
            self.release_unwanted(input);
        }
    }

    /// Stops, frees and forgets what nobody wants, from this call towards its inputs.
    pub(crate) fn release_unwanted(&mut self, id: CallId) {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            if !self.calls.contains(id) || self.calls[id].is_wanted() {
                continue;
            }
            let was_active = self.calls[id].is_active();
            self.leave_state(id);
            if was_active {
                for input in self.calls[id].dependencies.clone() {
                    self.calls[input].active_dependents -= 1;
                    stack.push(input);
                }
            }
            if self.calls[id].dependents.is_empty() {
                let call = self.calls.remove(id);
                for input in call.dependencies {
                    self.calls[input].dependents.remove(&id);
                    stack.push(input);
                }
            }
        }
    }

    fn leave_state(&mut self, id: CallId) {
        let (key, attempt) = (self.calls[id].key, self.calls[id].attempt);
        match &self.calls[id].state {
            State::Processing { worker, .. } => {
                let worker = *worker;
                self.fences.pass(&key, attempt);
                self.send_worker(worker, ToWorker::Cancel(vec![(key, attempt)]));
                self.leave_worker(id);
            }
            State::Queued => self.dequeue(id),
            State::Memory { .. } => self.free(id, key),
            State::Released | State::Waiting { .. } | State::Erred(_) => {}
        }
        self.calls[id].state = State::Released;
    }

    fn free(&mut self, id: CallId, key: Key) {
        let size = self.calls[id].size();
        for holder in self.calls[id].holders().to_vec() {
            if let Some(worker) = self.workers.of_mut(holder) {
                worker.holds.remove(&id);
                worker.held_bytes = worker.held_bytes.saturating_sub(size);
                self.send_worker(holder, ToWorker::Free(vec![key]));
            }
        }
    }

    pub(crate) fn add_holder(&mut self, id: CallId, worker: WorkerId) {
        let State::Memory { meta, holders } = &mut self.calls[id].state else {
            return;
        };
        let size = meta.size;
        if !holders.contains(&worker)
            && let Some(known) = self.workers.of_mut(worker)
        {
            holders.push(worker);
            known.holds.insert(id);
            known.held_bytes += size;
        }
    }

    /// A replica is gone. With the last one the result is computed again, if it is still wanted.
    pub(crate) fn lose_replica(&mut self, id: CallId, worker: WorkerId) {
        let size = self.calls[id].size();
        if let Some(known) = self.workers.of_mut(worker)
            && known.holds.remove(&id)
        {
            known.held_bytes = known.held_bytes.saturating_sub(size);
        }
        let State::Memory { holders, .. } = &mut self.calls[id].state else {
            return;
        };
        let before = holders.len();
        holders.retain(|holder| *holder != worker);
        if !holders.is_empty() {
            if holders.len() < before {
                // Whoever reads it from the worker that is gone shall not wait for an answer.
                self.announce(id, None);
            }
            return;
        }
        self.calls[id].state = State::Released;
        for dependent in self.calls[id].dependents.clone() {
            match self.calls[dependent].state {
                State::Waiting { missing } => {
                    self.calls[dependent].state = State::Waiting { missing: missing + 1 };
                }
                State::Queued => {
                    self.dequeue(dependent);
                    self.calls[dependent].state = State::Waiting { missing: 1 };
                }
                State::Released
                | State::Processing { .. }
                | State::Memory { .. }
                | State::Erred(_) => {}
            }
        }
        if self.calls[id].is_wanted() {
            self.activate(id);
        } else {
            self.release_unwanted(id);
        }
    }
}
