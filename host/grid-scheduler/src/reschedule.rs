//! Calls that ask to run elsewhere: they start over on another worker, where there is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::{Failure, FailureKind, WorkerId};

use crate::call::{CallId, Queue, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::placement::suits;

impl Scheduler {
    /// A call asked to run again, not on this worker.
    pub(crate) fn on_rescheduled(&mut self, id: CallId, worker: WorkerId) {
        if self.actors.is_method(id) {
            return self.refuse_to_move(id, worker);
        }
        let times_max = self.config.reschedules_max;
        let counted = !self.mutated(Mutation::ReschedulesUncounted);
        let wishes = self.calls[id].wishes_mut();
        if wishes.reschedules >= times_max {
            let message = format!(
                "the call asked to run elsewhere more than {times_max} times: what it looks for is \
                 on no worker"
            );
            let mut failure = Failure::new(FailureKind::Rescheduled, message);
            let name = self.workers.of(worker).map(|worker| worker.name.clone());
            failure.site = Some(self.site(id, name.unwrap_or_default()));
            self.fail(id, Arc::new(failure));
            return;
        }
        wishes.reschedules += u32::from(counted);
        wishes.avoids = Some(worker);
        wishes.moves = true;
        if self.mutated(Mutation::RescheduledDropped) {
            return self.leave_worker(id);
        }
        self.start_over(id);
    }

    /// It asked to run elsewhere and was given to nobody since.
    pub(crate) fn moves(&self, id: CallId) -> bool {
        self.calls[id].wishes.as_ref().is_some_and(|wishes| wishes.moves)
    }

    /// Places what asked to run elsewhere on the least loaded of the other workers, whether it has
    /// room or not: there are no more calls in hand than before it asked.
    pub(crate) fn place_elsewhere(&mut self, touched: &mut BTreeSet<WorkerId>) {
        let elsewhere = std::mem::take(&mut self.elsewhere);
        for id in elsewhere {
            // It may have ended since, and its place in the arena be another call's; and where an
            // input is gone it asks again when that is there.
            let asks = self.calls.contains(id)
                && self.moves(id)
                && matches!(self.calls[id].state, State::Queued { .. })
                && self.is_ready(id);
            if !asks || self.refuse_quarantined(id) {
                continue;
            }
            if let Some(worker) = self.other_for(id, true) {
                self.assign(id, worker);
                touched.insert(worker);
            } else if let Some(worker) = self.other_for(id, false) {
                self.dequeue(id);
                self.hold_back(id, Queue::Of(worker));
                // All others are about to say what they hold, and then there may be better ones.
                if self.calls[id].needs().is_none_or(|needs| needs.resources.is_empty()) {
                    self.elsewhere.insert(id);
                }
            }
        }
    }

    /// The least loaded of the workers that a call which asked to run elsewhere may go to, of those
    /// that can take it now, or of all.
    fn other_for(&self, id: CallId, now: bool) -> Option<WorkerId> {
        let call = &self.calls[id];
        let avoids = call.wishes.as_ref().and_then(|wishes| wishes.avoids);
        let avoids = avoids.filter(|_| !self.mutated(Mutation::SameWorkerAgain));
        let (room, needs) = (self.inputs(id).room(), call.needs());
        let others = |names_matter: bool, free: &[_]| {
            self.workers.first_to_start(needs, |other, worker| {
                Some(other) != avoids
                    && !(now && worker.arriving)
                    && !worker.paused
                    && suits(worker, needs, names_matter, room)
                    && worker.has_free(free)
            })
        };
        // Names that are preferred matter while another worker than the avoided one has one.
        let names_matter = !needs.is_some_and(|needs| needs.prefer) || others(true, &[]).is_some();
        let free = needs.filter(|_| now).map_or(&[][..], |needs| &needs.resources);
        others(names_matter, free)
    }
}
