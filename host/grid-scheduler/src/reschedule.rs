//! Calls that ask to run elsewhere: they start over on another worker, where there is one.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::{Failure, FailureKind, WorkerId};

use crate::call::{CallId, State};
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
        if self.mutated(Mutation::RescheduledDropped) {
            return self.leave_worker(id);
        }
        self.start_over(id);
        self.elsewhere.insert(id);
    }

    /// Places what asked to run elsewhere on the least loaded of the other workers, whether it has
    /// room or not: there are no more calls in hand than before it asked.
    pub(crate) fn place_elsewhere(&mut self, touched: &mut BTreeSet<WorkerId>) {
        let elsewhere = std::mem::take(&mut self.elsewhere);
        for id in elsewhere {
            if !self.calls.contains(id) || !self.calls[id].is_active() {
                continue;
            }
            let avoids = self.calls[id].wishes.as_ref().and_then(|wishes| wishes.avoids);
            let Some(avoids) = avoids else {
                // Another call at the same place of the arena.
                continue;
            };
            match self.calls[id].state {
                State::Queued { .. } => {}
                State::Waiting { .. } => {
                    self.elsewhere.insert(id);
                    continue;
                }
                _ => continue,
            }
            if !self.is_ready(id) {
                self.elsewhere.insert(id);
                continue;
            }
            let (bytes, needs) = (self.inputs(id).bytes(), self.calls[id].needs());
            let others = |names_matter: bool, free: &[_]| {
                self.workers.first_to_start(needs, |other, worker| {
                    (other != avoids || self.mutated(Mutation::SameWorkerAgain))
                        && !worker.arriving
                        && !worker.paused
                        && suits(worker, needs, names_matter, bytes)
                        && worker.has_free(free)
                })
            };
            // Names that are preferred matter while another worker than the avoided one has one.
            let names_matter =
                !needs.is_some_and(|needs| needs.prefer) || others(true, &[]).is_some();
            let other = others(names_matter, needs.map_or(&[], |needs| &needs.resources));
            if let Some(worker) = other
                && !self.refuse_quarantined(id)
            {
                self.dequeue(id);
                self.assign(id, worker);
                touched.insert(worker);
            }
        }
    }
}
