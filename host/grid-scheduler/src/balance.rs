//! Balance: a worker with a free slot and nothing held back for it takes over from others. First
//! what is held back for them, which costs no message; then what they were given and have not
//! begun, which they are asked to give back.
//!
//! What runs is never moved. What is moved is given to its new worker at once or, when it was given
//! back, belongs where it starts first like any other call. It comes back if others were faster, three
//! times in a row at most.

use std::collections::BTreeSet;

use grid_proto::message::ToWorker;
use grid_proto::{Amount, Priority, TaskId, WorkerId};
use smallvec::SmallVec;

use crate::backlog::Line;
use crate::call::{CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::placement::{TRANSFER_LATENCY_US, meets};
use crate::worker::Worker;
use crate::workers::Place;

/// Moves of one round; the next round goes on.
const MOVES_MAX: usize = 64;
/// Idle workers that one round looks at, and busy ones that it asks.
const THIEVES_MAX: usize = 64;
const VICTIMS_MAX: usize = 4;
/// Busy workers that it takes from; the next round goes on with the next, if this one moves
/// nothing. With more of them at once shuffles take longer: results cross the links in vain.
const ROBBED_MAX: usize = 1;
/// Calls of one line that are looked at for one move, and all that one round looks at.
const LOOKED_AT_MAX: usize = 32;
const LOOKS_MAX: usize = 512;
/// So often in a row a worker is asked for the same call: whoever was to take it may have got other work
/// meanwhile, and then it comes back.
const ASKED_MAX: u32 = 3;
/// Calls that would start sooner than this where they are stay there.
const PATIENCE_US: u64 = 10_000;

/// Where the next round goes on, so that a worker that nothing suits, or that has nothing to give,
/// hides no other.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    thief: Option<Place>,
    victim: Option<Place>,
    asked: Option<Place>,
}

impl Scheduler {
    /// Gives idle workers what is held back for others, one call each in turn.
    pub(crate) fn steal(&mut self, touched: &mut BTreeSet<WorkerId>) {
        if !self.unbound.is_empty() {
            return;
        }
        let victims = self.workers.backlogged(self.rounds.victim, ROBBED_MAX);
        if victims.is_empty() {
            return;
        }
        let mut thieves = self.workers.idle(self.rounds.thief, THIEVES_MAX);
        let all = thieves.len() < THIEVES_MAX;
        let (mut looks, mut moves) = (LOOKS_MAX, 0);
        while !thieves.is_empty() {
            let mut lucky = Vec::new();
            for thief in thieves {
                if looks == 0 || moves == MOVES_MAX {
                    return;
                }
                self.rounds.thief = Some(thief);
                let found = self.worth_stealing(thief.1, &mut looks);
                if let Some(id) = found.filter(|id| self.is_ready(*id)) {
                    let unasked = self.mutated(Mutation::StolenFromQuarantine);
                    if unasked || !self.refuse_quarantined(id) {
                        self.assign(id, thief.1);
                        touched.insert(thief.1);
                    }
                    lucky.push(thief);
                    moves += 1;
                }
            }
            thieves = lucky;
        }
        if all {
            self.rounds.thief = None;
            if moves == 0 {
                self.rounds.victim = victims.last().copied();
            }
        }
    }

    /// A call that is held back for a busy worker and would start earlier on this one; the first
    /// in the order.
    fn worth_stealing(&self, thief: WorkerId, looks: &mut usize) -> Option<CallId> {
        let thief_state = self.workers.of(thief).filter(|worker| worker.is_idle())?;
        for (_, victim) in self.workers.backlogged(self.rounds.victim, ROBBED_MAX) {
            let victim = self.workers.of(victim)?;
            let mut first = None;
            for (resources, line) in victim.backlog.lines().take(*looks) {
                *looks = looks.saturating_sub(1);
                if thief_state.has_free(resources) {
                    let found = self.first_worth_stealing(thief, victim, resources, line, looks);
                    first = first.into_iter().chain(found).min();
                }
            }
            if let Some((_, id)) = first {
                return Some(id);
            }
        }
        None
    }

    /// The same of one line of one worker.
    fn first_worth_stealing(
        &self,
        thief: WorkerId,
        victim: &Worker,
        resources: &[(String, Amount)],
        line: &Line,
        looks: &mut usize,
    ) -> Option<(Priority, CallId)> {
        let mut ahead_us = 0;
        for entry in line.iter().take(LOOKED_AT_MAX.min(*looks)) {
            *looks -= 1;
            let expected_us = self.tasks.of(self.calls[entry.1].task).expected_us();
            let wait_us = victim.wait_us(resources, ahead_us, expected_us);
            if self.starts_within(entry.1, thief, wait_us) {
                return Some(*entry);
            }
            ahead_us += expected_us;
        }
        None
    }

    /// The call may run there, and would start sooner than that.
    fn starts_within(&self, id: CallId, thief: WorkerId, wait_us: u64) -> bool {
        let Some(worker) = self.workers.of(thief) else { return false };
        if self.avoided_by(id) == Some(thief) {
            return false;
        }
        let names_matter = !self.mutated(Mutation::PinsIgnored);
        if !meets(worker, self.calls[id].needs(), names_matter) {
            return false;
        }
        let inputs = self.inputs(id);
        let there = inputs.at(thief, worker).expected_start_us(self.bandwidth.bytes_per_us());
        let fits = inputs.room().is_at(worker);
        there < wait_us && (fits || self.mutated(Mutation::TooLargeStolen))
    }

    /// The worker on which a call asked to run elsewhere.
    fn avoided_by(&self, id: CallId) -> Option<WorkerId> {
        self.calls[id].wishes.as_ref().and_then(|wishes| wishes.avoids)
    }

    /// A worker was asked for this call and gave it back.
    pub(crate) fn note_given_back(&mut self, id: CallId, worker: WorkerId) {
        let gave_back = &mut self.calls[id].wishes_mut().gave_back;
        let before = gave_back.filter(|(other, _)| *other == worker);
        *gave_back = Some((worker, before.map_or(1, |(_, times)| times + 1)));
    }

    fn was_asked_enough(&self, id: CallId, worker: WorkerId) -> bool {
        let gave_back = self.calls[id].wishes.as_ref().and_then(|wishes| wishes.gave_back);
        let enough = gave_back.is_some_and(|(from, times)| from == worker && times >= ASKED_MAX);
        enough && !self.mutated(Mutation::AskedBackInVain)
    }

    /// Asks busy workers for calls that they were given and have not begun, as many as slots are idle.
    pub(crate) fn ask_back(&mut self) {
        // What is about to start may be for those that are idle now, and what was asked back for them
        // would go where it came from.
        let more_to_start = !self.starting.is_empty() || !self.to_start.is_empty();
        if !self.unbound.is_empty() || more_to_start {
            return;
        }
        let thieves = self.workers.idle(None, LOOKED_AT_MAX);
        let free = |(_, id): &Place| self.workers.of(*id).map(|w| w.slots as usize - w.at_slots());
        let idle: usize = thieves.iter().filter_map(free).sum();
        if self.withdrawing >= idle {
            return;
        }
        let victims = self.workers.behind(self.rounds.asked, VICTIMS_MAX);
        let last = victims.last().copied();
        let asked_before = self.withdrawing;
        for (wait_us, victim) in victims {
            let count_max = idle.saturating_sub(self.withdrawing);
            if wait_us >= PATIENCE_US + TRANSFER_LATENCY_US {
                self.ask_back_of(victim, &thieves, count_max);
            }
        }
        if self.withdrawing == asked_before {
            let patient = |(wait_us, _): &Place| *wait_us >= PATIENCE_US + TRANSFER_LATENCY_US;
            self.rounds.asked = last.filter(patient);
        }
    }

    /// Those of a worker's calls that would start sooner on an idle one than there, were they and those
    /// before them in this list not in its hands: no other would stay away once it is given back.
    fn worth_asking_back(
        &self,
        victim: WorkerId,
        calls: &[(Priority, CallId)],
        thieves: &[Place],
        count_max: usize,
    ) -> Vec<CallId> {
        let from = victim;
        let Some(victim) = self.workers.of(from) else { return Vec::new() };
        let (mut given_back_us, mut wanted) = (0, Vec::new());
        // Tasks of which a call stays that may run anywhere: those before it stay too.
        let mut stay = SmallVec::<[TaskId; 4]>::new();
        for (_, id) in calls {
            let (task, anywhere) = (self.calls[*id].task, self.calls[*id].dependencies.is_empty());
            if anywhere && stay.contains(&task) {
                continue;
            }
            if self.was_asked_enough(*id, from) {
                stay.extend(anywhere.then_some(task));
                continue;
            }
            // As it counts in its worker's load, whatever is expected of its task by now.
            let processing = self.calls[*id].processing();
            let expected_us = processing.map_or(0, |processing| processing.expected_us);
            let then_given_back_us = given_back_us + expected_us;
            // What may run anywhere does not wait behind what is held back for its worker.
            let wait_us = match anywhere {
                true => victim.in_hand_without_us(then_given_back_us),
                false => victim.start_without_us(then_given_back_us),
            };
            let sooner = |thief: &Place| self.starts_within(*id, thief.1, wait_us);
            if thieves.iter().any(sooner) || self.mutated(Mutation::AskedBackInVain) {
                given_back_us = then_given_back_us;
                wanted.push(*id);
                if wanted.len() == count_max {
                    break;
                }
            } else if anywhere {
                stay.push(task);
            }
        }
        wanted
    }

    /// The same of one worker, for at most so many.
    fn ask_back_of(&mut self, victim: WorkerId, thieves: &[Place], count_max: usize) {
        let Some(state) = self.workers.of(victim) else { return };
        let not_begun = state.not_begun();
        let mut last_first: Vec<_> = state
            .in_hand
            .difference(&state.waiting)
            .filter_map(|id| self.calls[*id].processing().map(|processing| (*id, processing)))
            .filter(|(id, processing)| {
                (!processing.executing || self.mutated(Mutation::RunningAskedBack))
                    && !processing.withdrawing
                    && self.calls[*id].needs().is_none()
                    && self.avoided_by(*id).is_none()
                    && !self.actors.is_method(*id)
            })
            .map(|(id, _)| (self.calls[id].priority, id))
            .collect();
        last_first.sort_unstable_by(|a, b| b.cmp(a));
        if self.mutated(Mutation::AskedBackFirst) {
            last_first.reverse();
        }
        last_first.truncate(not_begun.min(count_max.max(LOOKED_AT_MAX)));
        let wanted = self.worth_asking_back(victim, &last_first, thieves, count_max);
        let mut attempts = Vec::new();
        for id in wanted {
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
