//! How calls become active, are released, fail and are forgotten. Every walk over the graph uses a
//! list of its own: chains may be longer than a thread's stack.

use std::sync::Arc;

use grid_proto::message::ToWorker;
use grid_proto::{Failure, Key, ObjectMeta, Value, WorkerId};
use smallvec::smallvec;

use crate::call::{CallId, Processing, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::story::Cause;

/// Steps that look at all workers look at so many in a turn: about a millisecond.
const WORKERS_LOOKED_AT_MAX: usize = 4_096;

/// Does a little of what is left to do; says whether there was something.
type Step = fn(&mut Scheduler) -> bool;

impl Scheduler {
    /// The only writer of a call's state.
    pub(crate) fn set_state(&mut self, id: CallId, state: State) {
        let call = &mut self.calls[id];
        if let State::Arriving(arrival) = &call.state
            && let Some(home) = self.workers.of_mut(arrival.home)
        {
            home.awaits.remove(&id);
        }
        self.counts.change(call.task, Some(&call.state), Some(&state));
        self.story.tell(self.now, &call.key, call.attempt, &state);
        call.state = state;
        self.to_release.extend(self.actors.on_state(id, &self.calls[id].state));
    }

    /// Somebody wants this released call: it and the inputs that it lacks start on their way in
    /// this turn or the next.
    pub(crate) fn activate(&mut self, id: CallId) {
        self.to_start.push(id);
    }

    /// There is work that nothing has to happen for.
    pub(crate) fn has_leftovers(&self) -> bool {
        self.has_narrow_leftovers() || self.has_wide_leftovers()
    }

    /// Of what looks at few workers a step.
    fn has_narrow_leftovers(&self) -> bool {
        !self.to_start.is_empty()
            || !self.to_release.is_empty()
            || !self.starting.is_empty()
            || !self.started.is_empty()
            || self.has_rare_leftovers()
    }

    fn has_rare_leftovers(&self) -> bool {
        !self.departed.is_empty()
            || !self.news.is_empty()
            || !self.lost.is_empty()
            || !self.homeless.is_settled()
            || !self.cancels.is_empty()
            || !self.retries.is_empty()
    }

    fn has_wide_leftovers(&self) -> bool {
        self.replicas.has_leftovers(self.now) || !self.rebalances.is_planned()
    }

    /// Does a turn's share of what was begun: one step of each kind in turn, so that none waits until
    /// all of another is done.
    pub(crate) fn go_on(&mut self) {
        /// Every call's.
        const STEPS: [(&str, Step); 4] = [
            ("submissions", Scheduler::start_one),
            ("nobody wants it", Scheduler::release_one),
            ("submissions", Scheduler::start_submission),
            ("submissions", Scheduler::end_submission),
        ];
        const RARE_STEPS: [(&str, Step); 9] = [
            ("a client is gone", Scheduler::forget_departed),
            ("its inputs", Scheduler::tell_a_reader),
            ("a failed input", Scheduler::fail_a_reader),
            ("turn", Scheduler::adopt_one),
            ("turn", Scheduler::lose_one),
            ("a worker has changed", Scheduler::rehouse_one),
            ("turn", Scheduler::house_one),
            ("turn", Scheduler::cancel_step),
            ("turn", Scheduler::retry_step),
        ];
        /// Each of these looks at all workers.
        const WIDE_STEPS: [(&str, Step); 2] =
            [("copies", Scheduler::replicate_one), ("rebalance", Scheduler::rebalance_step)];
        let mut done = 0;
        let mut wide_left = (WORKERS_LOOKED_AT_MAX / self.workers.len().max(1)).max(1);
        while done < self.config.turn_calls_max.max(1) && self.has_leftovers() {
            done += self.take_steps(&STEPS);
            if self.has_rare_leftovers() {
                done += self.take_steps(&RARE_STEPS);
            }
            if wide_left > 0 && self.has_wide_leftovers() {
                wide_left -= 1;
                done += self.take_steps(&WIDE_STEPS);
            } else if !self.has_narrow_leftovers() {
                break;
            }
        }
    }

    /// Takes one step of each kind. Says how many there were to take.
    fn take_steps(&mut self, steps: &[(&'static str, Step)]) -> usize {
        let mut done = 0;
        for (cause, step) in steps {
            self.story.cause = Cause::Own(cause);
            done += usize::from(step(self));
            self.drop_ended_sessions();
        }
        done
    }

    fn start_one(&mut self) -> bool {
        let Some(id) = self.to_start.pop() else { return false };
        self.start(id);
        true
    }

    fn release_one(&mut self) -> bool {
        let Some(id) = self.to_release.pop() else { return false };
        self.release_unwanted(id);
        true
    }

    fn start(&mut self, id: CallId) {
        let ready = self.calls.contains(id)
            && self.calls[id].is_wanted()
            && matches!(self.calls[id].state, State::Released);
        if !ready {
            // A failure further up has settled it meanwhile, or nobody wants it any more.
            return;
        }
        if self.actors.is_over(id) || self.is_data(id) {
            return self.fail_for_good(id);
        }
        for input in self.calls[id].dependencies.clone() {
            self.calls[input].active_dependents += 1;
        }
        self.settle(id);
    }

    /// Puts an active call that no worker has in hand where its inputs say it belongs. Inputs that
    /// have to be computed first start on their way.
    pub(crate) fn settle(&mut self, id: CallId) {
        let mut missing = 0;
        let mut failed = None;
        for input in self.calls[id].dependencies.clone().into_iter().rev() {
            match &self.calls[input].state {
                State::Erred(failure) => failed = Some(Arc::clone(failure)),
                State::Released => self.to_start.push(input),
                State::Arriving(_)
                | State::Waiting { .. }
                | State::Queued { .. }
                | State::Processing(_)
                | State::Memory { .. } => {}
            }
            missing += u32::from(self.has_to_wait(id, input));
        }
        self.set_state(id, State::Waiting { missing });
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
        self.settle(id);
    }

    /// Takes a processing call out of its worker's hands; its attempt is over.
    pub(crate) fn leave_worker(&mut self, id: CallId) {
        let Some(processing) = self.calls[id].processing() else { return };
        let Processing { worker, expected_us, executing, withdrawing } = processing;
        self.set_state(id, State::Released);
        let raised = !self.mutated(Mutation::AttemptNotRaised);
        let call = &mut self.calls[id];
        if raised {
            call.attempt = call.attempt.next();
        }
        self.withdrawing -= usize::from(withdrawing);
        let needs = call.needs().cloned();
        let needs = needs.filter(|_| !self.mutated(Mutation::ResourcesKept));
        let now = self.now;
        self.workers.change(worker, |worker| {
            worker.in_hand.remove(&id);
            worker.waiting.remove(&id);
            worker.load_us = worker.load_us.saturating_sub(expected_us);
            worker.executing -= u32::from(executing);
            if executing || !withdrawing {
                // What is given back had not begun.
                worker.progressed(now);
            }
            if let Some(needs) = &needs {
                worker.give_back(&needs.resources);
            }
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
        self.set_state(id, State::Memory { meta, holders: smallvec![] });
        self.add_holder(id, worker);
        self.note_home(id, worker);
        self.count_copies(id);
        self.announce(id, inline);
        // First of all: a dependent that is refused may take this call along.
        self.drop_inputs(id);
        if !self.mutated(Mutation::MissingNotCountedDown) {
            self.spread(id);
        }
        if self.calls.contains(id) {
            self.end_detachment(id);
            self.release_unwanted(id);
        }
    }

    /// It has no result. Neither have those that wait for it: they follow in the turns to come.
    pub(crate) fn fail(&mut self, id: CallId, failure: Arc<Failure>) {
        if !self.calls[id].is_active() {
            return;
        }
        self.leave_worker(id);
        self.dequeue(id);
        self.set_state(id, State::Erred(failure));
        self.count_copies(id);
        self.announce(id, None);
        self.spread_failure(id);
        self.end_detachment(id);
        self.drop_inputs(id);
        self.release_unwanted(id);
    }

    /// A call that was active is so no longer: its inputs have one reader less.
    fn drop_inputs(&mut self, id: CallId) {
        for input in self.calls[id].dependencies.clone() {
            self.calls[input].active_dependents -= 1;
            self.release_unwanted(input);
            self.note_unread(input);
        }
    }

    fn is_wanted(&self, id: CallId) -> bool {
        let call = &self.calls[id];
        match self.mutated(Mutation::WantedFreed) {
            true => call.active_dependents > 0 || call.kept > 0,
            false => call.is_wanted(),
        }
    }

    /// Stops, frees and forgets a call that nobody wants; its inputs follow in this turn or the next.
    pub(crate) fn release_unwanted(&mut self, id: CallId) {
        self.let_go_of(id, true);
    }

    /// The same, but what runs is not stopped if a submission that is being started may want it.
    pub(crate) fn release_unless_staged(&mut self, id: CallId) {
        self.let_go_of(id, false);
    }

    fn let_go_of(&mut self, id: CallId, stops: bool) {
        if !self.calls.contains(id) {
            return;
        }
        if self.is_wanted(id) || self.actors.is_needed(id) {
            if self.is_abandoned(id) {
                self.fail_for_good(id);
            }
            return;
        }
        let was_active = self.calls[id].is_active();
        let staged = self.calls[id].staged > 0;
        // Data that nobody brings does not come.
        let arriving = matches!(self.calls[id].state, State::Arriving(_));
        if staged && !arriving && !(stops && was_active) {
            // A submission that is being started may want it.
            return;
        }
        self.leave_state(id);
        if was_active && !self.mutated(Mutation::DependentsLeaked) {
            for input in self.calls[id].dependencies.clone() {
                self.calls[input].active_dependents -= 1;
                self.note_unread(input);
                self.to_release.push(input);
            }
        }
        if !staged && self.calls[id].dependents.is_empty() {
            self.actors.forget(id);
            self.news.forget(id);
            let call = self.calls.remove(id);
            self.counts.change(call.task, Some(&call.state), None);
            for input in call.dependencies {
                self.calls[input].dependents.remove(id);
                if !self.calls[input].is_wanted() {
                    self.to_release.push(input);
                }
            }
        }
    }

    fn leave_state(&mut self, id: CallId) {
        let (key, attempt) = (self.calls[id].key, self.calls[id].attempt);
        self.forget_replicas(id);
        match &self.calls[id].state {
            State::Processing(Processing { worker, .. }) => {
                let worker = *worker;
                if !self.mutated(Mutation::FenceForgotten) {
                    self.fences.pass(&key, attempt);
                }
                if !self.mutated(Mutation::CancelNotTold) {
                    self.send_worker(worker, ToWorker::Cancel(vec![(key, attempt)]));
                }
                self.leave_worker(id);
            }
            State::Queued { .. } => self.dequeue(id),
            State::Memory { .. } => self.free(id, key),
            State::Released => {
                self.to_release.extend(self.actors.on_state(id, &State::Released));
                return;
            }
            State::Arriving(_) | State::Waiting { .. } | State::Erred(_) => {}
        }
        self.set_state(id, State::Released);
    }

    pub(crate) fn free(&mut self, id: CallId, key: Key) {
        let kept = self.mutated(Mutation::HeldBytesKept);
        let size = if kept { 0 } else { self.calls[id].size() };
        for holder in self.calls[id].holders().to_vec() {
            if let Some(worker) = self.workers.of_mut(holder) {
                worker.holds.remove(&id);
                worker.held_bytes = worker.held_bytes.saturating_sub(size);
                if !self.mutated(Mutation::FreeNotTold) {
                    self.send_free(holder, key);
                }
            }
        }
    }

    pub(crate) fn add_holder(&mut self, id: CallId, worker: WorkerId) {
        let State::Memory { meta, holders } = &mut self.calls[id].state else {
            return self.contradicted("a worker holds a result that there is not", id);
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
        if self.was_to_come_to(id, worker) {
            return self.fail_for_good(id);
        }
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
                self.count_copies(id);
                // Whoever reads it from the worker that is gone shall not wait for an answer.
                self.announce(id, None);
            }
            return;
        }
        self.set_state(id, State::Released);
        self.spread(id);
        if !self.calls[id].is_wanted() {
            self.release_unwanted(id);
        } else if self.happens_once(id) {
            self.fail_for_good(id);
        } else if !self.mutated(Mutation::LostNotRecomputed) {
            self.activate(id);
        }
    }
}
