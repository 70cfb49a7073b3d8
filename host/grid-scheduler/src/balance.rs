//! Balance: a worker with a free slot and nothing held back for it takes over from others. First
//! what is held back for them, which costs no message; then what they were given and have not
//! begun, which they are asked to give back.
//!
//! What runs is never moved. What is moved is given to its new worker at once or, when it was given
//! back, belongs where it starts first like any other call, so nothing goes to and fro.

use std::collections::BTreeSet;

use grid_proto::WorkerId;
use grid_proto::message::ToWorker;

use crate::call::{CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::placement::{TRANSFER_LATENCY_US, suits};

/// Moves of one round; the next round goes on.
const MOVES_MAX: usize = 64;
/// Calls of one worker that are looked at for one move.
const LOOKED_AT_MAX: usize = 16;
/// Calls that would start sooner than this where they are stay there.
const PATIENCE_US: u64 = 10_000;

impl Scheduler {
    /// Brings idle workers to work.
    pub(crate) fn balance(&mut self, touched: &mut BTreeSet<WorkerId>) {
        if !self.unbound.is_empty() {
            return;
        }
        for _ in 0..MOVES_MAX {
            let idle = self.workers.roomy().find(|(_, worker)| worker.is_idle());
            let Some((thief, _)) = idle else { return };
            let Some(id) = self.worth_stealing(thief) else { break };
            self.dequeue(id);
            self.assign(id, thief);
            touched.insert(thief);
        }
        self.ask_back();
    }

    /// A call that is held back for the busiest worker and would start earlier on this one; the
    /// first in the order.
    fn worth_stealing(&self, thief: WorkerId) -> Option<CallId> {
        let (_, victim) = self.workers.most_backlogged()?;
        let thief_state = self.workers.of(thief)?;
        let mut ahead_us = victim.load_us;
        let names_matter = !self.mutated(Mutation::PinsIgnored);
        for id in victim.backlog.unbound().take(LOOKED_AT_MAX) {
            let call = &self.calls[id];
            let inputs = self.inputs(id);
            let there =
                inputs.at(thief, thief_state).expected_start_us(self.bandwidth.bytes_per_us());
            if victim.per_slot(ahead_us) > there
                && suits(thief_state, call.needs(), names_matter, inputs.bytes())
            {
                return Some(id);
            }
            ahead_us += self.tasks.of(call.task).expected_us();
        }
        None
    }

    /// Asks the busiest worker for calls that it has not begun, as many as slots are idle.
    fn ask_back(&mut self) {
        let idle: usize = self
            .workers
            .roomy()
            .take_while(|(_, worker)| worker.is_idle())
            .take(LOOKED_AT_MAX)
            .map(|(_, worker)| worker.slots as usize - worker.at_slots())
            .sum();
        if self.withdrawing >= idle {
            return;
        }
        let Some((victim, state)) = self.workers.last_to_start() else { return };
        let not_begun = state.not_begun();
        if not_begun == 0 || state.per_slot(state.load_us) < PATIENCE_US + TRANSFER_LATENCY_US {
            return;
        }
        let mut last_first: Vec<_> = state
            .in_hand
            .difference(&state.waiting)
            .filter_map(|id| self.calls[*id].processing().map(|processing| (*id, processing)))
            .filter(|(id, processing)| {
                !processing.executing
                    && !processing.withdrawing
                    && self.calls[*id].needs().is_none()
                    && !self.actors.is_method(*id)
            })
            .map(|(id, _)| (self.calls[id].priority, id))
            .collect();
        last_first.sort_unstable_by(|a, b| b.cmp(a));
        last_first.truncate(not_begun.min(idle - self.withdrawing));
        let mut attempts = Vec::new();
        for (_, id) in last_first {
            let call = &mut self.calls[id];
            if let State::Processing(processing) = &mut call.state {
                processing.withdrawing = true;
                self.withdrawing += 1;
                attempts.push((call.key, call.attempt));
            }
        }
        if !attempts.is_empty() {
            self.send_worker(victim, ToWorker::Withdraw(attempts));
        }
    }
}
