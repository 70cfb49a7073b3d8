//! Where calls run. A call without inputs may run anywhere: it is held back until some worker has
//! room. A call with inputs is held back for the worker on which it is expected to start earliest.
//! Workers are given little more than their slots hold; what is held back can still be moved.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::{Failure, FailureKind, WorkerId};
use smallvec::SmallVec;

use crate::call::{Argument, CallId, Needs, Queue, State};
use crate::config::Config;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::worker::Worker;

/// What a transfer costs however small it is.
pub(crate) const TRANSFER_LATENCY_US: u64 = 200;

/// A worker that could run a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) worker: WorkerId,
    /// Until one of its slots is free.
    pub(crate) start_us: u64,
    /// Inputs that it does not hold.
    pub(crate) missing_bytes: u64,
    pub(crate) missing_inputs: u64,
}

impl Candidate {
    /// When the call would start, counting from now.
    pub(crate) fn expected_start_us(&self, bandwidth_bytes_per_us: u64) -> u64 {
        let moving = self.missing_bytes / bandwidth_bytes_per_us.max(1)
            + self.missing_inputs.min(1) * TRANSFER_LATENCY_US;
        self.start_us.saturating_add(moving)
    }
}

/// The candidate with the earliest expected start; among equals the one that lacks least, then the
/// oldest worker.
///
/// Of what it gives holds: it is one of `candidates`, and none of them is expected to start earlier.
pub(crate) fn choose(
    candidates: impl IntoIterator<Item = Candidate>,
    bandwidth_bytes_per_us: u64,
) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let start_us = candidate.expected_start_us(bandwidth_bytes_per_us);
        (start_us, candidate.missing_bytes, candidate.worker)
    })
}

/// What a call's inputs need of a worker, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Room {
    /// Those that it is given, which are in memory together.
    pub(crate) given: u64,
    /// The largest of those that it reads piece by piece.
    pub(crate) largest_read: u64,
}

impl Room {
    pub(crate) fn is_at(self, worker: &Worker) -> bool {
        self.given <= worker.memory_bytes && self.largest_read <= worker.object_bytes
    }
}

/// What is known of a call's inputs.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    bytes: u64,
    count: u64,
    room: Room,
    /// Bytes and number by worker, in the order of the workers.
    held: SmallVec<[(WorkerId, u64, u64); 4]>,
}

impl Inputs {
    pub(crate) fn room(&self) -> Room {
        self.room
    }

    /// What a worker holds of them, if it holds any.
    fn held_by(&self, id: WorkerId) -> Option<(u64, u64)> {
        let place = self.held.binary_search_by_key(&id, |(holder, ..)| *holder).ok()?;
        let (_, bytes, count) = self.held[place];
        Some((bytes, count))
    }

    pub(crate) fn at(&self, id: WorkerId, worker: &Worker) -> Candidate {
        let (bytes, count) = self.held_by(id).unwrap_or_default();
        Candidate {
            worker: id,
            start_us: worker.start_us(),
            missing_bytes: self.bytes - bytes,
            missing_inputs: self.count - count,
        }
    }
}

/// May the call run there, were it the only one?
pub(crate) fn suits(
    worker: &Worker,
    needs: Option<&Needs>,
    names_matter: bool,
    room: Room,
) -> bool {
    meets(worker, needs, names_matter) && room.is_at(worker)
}

/// Has it what the call needs besides memory?
pub(crate) fn meets(worker: &Worker, needs: Option<&Needs>, names_matter: bool) -> bool {
    needs.is_none_or(|needs| {
        (!names_matter || worker.has_a_name_of(needs)) && worker.offers(&needs.resources)
    })
}

impl Scheduler {
    /// Holds a call back whose inputs are all there, where it belongs.
    pub(crate) fn enqueue(&mut self, id: CallId) {
        if let Some(failure) = self.quarantine(id) {
            return self.fail(id, failure);
        }
        if self.actors.is_method(id) {
            return self.line_up(id);
        }
        if let Some(needs) = self.calls[id].needs() {
            self.workers.expect(needs);
        }
        let at = match self.find_home(id) {
            Ok(at) => at,
            Err(mut failure) => {
                failure.site = Some(self.site(id, String::new()));
                return self.fail(id, Arc::new(failure));
            }
        };
        self.hold_back(id, at);
        if self.moves(id) {
            self.elsewhere.insert(id);
        }
    }

    /// Holds a call back that is in no queue.
    pub(crate) fn hold_back(&mut self, id: CallId, at: Queue) {
        let call = &self.calls[id];
        let expected_us = self.tasks.of(call.task).expected_us();
        let entry = (call.priority, id);
        match at {
            Queue::Any => {
                self.unbound.insert(entry);
            }
            Queue::Nowhere => {
                let needs = call.needs().cloned().unwrap_or_default();
                self.homeless.insert(entry, needs);
            }
            Queue::Of(worker) => {
                let needs = call.needs().cloned().unwrap_or_default();
                self.workers.change(worker, |worker| {
                    worker.backlog.insert(entry, &needs.resources, expected_us);
                });
            }
            Queue::Line => {}
        }
        self.set_state(id, State::Queued { at, expected_us });
    }

    /// Takes a call out of wherever it is held back.
    pub(crate) fn dequeue(&mut self, id: CallId) {
        let call = &self.calls[id];
        let State::Queued { at, expected_us } = call.state else { return };
        let entry = (call.priority, id);
        match at {
            Queue::Any => {
                if !self.unbound.remove(&entry) {
                    self.contradicted("it is not among the calls that may run anywhere", id);
                }
            }
            Queue::Nowhere => {
                self.homeless.remove(entry, call.needs());
            }
            Queue::Of(worker) => {
                let needs = call.needs().cloned().unwrap_or_default();
                self.workers.change(worker, |worker| {
                    worker.backlog.remove(entry, &needs.resources, expected_us);
                });
            }
            Queue::Line => {}
        }
    }

    fn find_home(&self, id: CallId) -> Result<Queue, Failure> {
        let call = &self.calls[id];
        let needs = call.needs();
        if call.dependencies.is_empty() && needs.is_none() {
            return Ok(Queue::Any);
        }
        let inputs = self.inputs(id);
        let home = |paused| match self.best(&inputs, needs, true, paused) {
            None if needs.is_some_and(|needs| needs.prefer) => {
                self.best(&inputs, needs, false, paused)
            }
            best => best,
        };
        // One that is paused takes calls again: better than nowhere.
        match home(false).or_else(|| home(true)) {
            Some(candidate) => Ok(Queue::Of(candidate.worker)),
            None => self.check_memory(&inputs, needs),
        }
    }

    /// No worker suits: says so if the inputs alone are the cause, that is if some worker has all
    /// else that the call needs.
    fn check_memory(&self, inputs: &Inputs, needs: Option<&Needs>) -> Result<Queue, Failure> {
        let names_matter = needs.is_some_and(|needs| !needs.prefer);
        let suits = |worker: &&Worker| meets(worker, needs, names_matter);
        let suiting = || self.workers.iter().map(|(_, worker)| worker).filter(suits);
        let Room { given, largest_read } = inputs.room;
        let of_all = |of: fn(&Worker) -> u64| suiting().map(of).max();
        let (what, asked_bytes, limit_bytes) = match of_all(|worker| worker.object_bytes) {
            Some(most) if most < largest_read => {
                ("an input that it reads has", largest_read, Some(most))
            }
            _ => ("its inputs hold", given, of_all(|worker| worker.memory_bytes)),
        };
        let limit_bytes = limit_bytes.filter(|_| !self.mutated(Mutation::TooLargeNotRefused));
        let Some(limit_bytes) = limit_bytes.filter(|limit_bytes| *limit_bytes < asked_bytes) else {
            return Ok(Queue::Nowhere);
        };
        let among = if needs.is_some() { " of those it may run on" } else { "" };
        let message = format!(
            "{what} {asked_bytes} bytes, and the largest worker{among} may hold \
             {limit_bytes}: reduce in steps, or start a worker with a higher `--memory-limit`"
        );
        Err(Failure::new(FailureKind::OutOfMemory { limit_bytes, asked_bytes }, message))
    }

    pub(crate) fn inputs(&self, id: CallId) -> Inputs {
        let mut inputs = Inputs::default();
        for input in &self.calls[id].dependencies {
            let (size, holders) = (self.calls[*input].size(), self.calls[*input].holders());
            inputs.bytes += size;
            inputs.count += 1;
            inputs.held.extend(holders.iter().map(|holder| (*holder, size, 1)));
        }
        inputs.room = self.room(id, inputs.bytes);
        inputs.held.sort_unstable();
        inputs.held.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
                kept.2 += next.2;
            }
            same
        });
        inputs
    }

    /// What its inputs, of so many bytes together, need of a worker.
    fn room(&self, id: CallId, bytes: u64) -> Room {
        let call = &self.calls[id];
        let lazy = &self.tasks.of(call.task).definition.lazy;
        if lazy.is_empty() {
            return Room { given: bytes, largest_read: 0 };
        }
        let mut given = vec![false; call.dependencies.len()];
        for (position, arg) in (0..).zip(&call.args) {
            if let Argument::Input(input) = arg
                && !lazy.contains(&position)
            {
                given[*input as usize] = true;
            }
        }
        let mut room = Room::default();
        for (input, given) in call.dependencies.iter().zip(given) {
            let size = self.calls[*input].size();
            match given {
                true => room.given += size,
                false => room.largest_read = room.largest_read.max(size),
            }
        }
        room
    }

    /// The best of those that hold inputs and of whoever would begin first, among workers that are
    /// paused or that are not.
    fn best(
        &self,
        inputs: &Inputs,
        needs: Option<&Needs>,
        names_matter: bool,
        paused: bool,
    ) -> Option<Candidate> {
        let ignored = self.mutated(Mutation::MemoryIgnored);
        let room = if ignored { Room::default() } else { inputs.room };
        let fits =
            |worker: &Worker| worker.paused == paused && suits(worker, needs, names_matter, room);
        let holders = inputs.held.iter().filter_map(|(id, ..)| {
            let worker = self.workers.of(*id).filter(|worker| fits(worker))?;
            Some(inputs.at(*id, worker))
        });
        let searched = needs.filter(|_| names_matter);
        let first = self
            .workers
            .first_to_start(searched, |id, worker| inputs.held_by(id).is_none() && fits(worker));
        let first = first.and_then(|id| Some(inputs.at(id, self.workers.of(id)?)));
        choose(holders.chain(first), self.bandwidth.bytes_per_us())
    }

    /// One round: gives every worker that has room what it shall run next.
    pub(crate) fn place(&mut self) {
        let mut touched = BTreeSet::new();
        self.place_elsewhere(&mut touched);
        self.place_methods(&mut touched);
        let mut refused = 0;
        while refused < self.config.turn_calls_max.max(1)
            && let Some(worker) = self.next_to_fill()
            && let Some(id) = self.next_for(worker)
        {
            if !self.is_ready(id) {
                refused += 1;
                continue;
            }
            if self.refuse_quarantined(id) {
                continue;
            }
            self.assign(id, worker);
            touched.insert(worker);
        }
        self.steal(&mut touched);
        for worker in touched {
            self.send_assignments(worker);
        }
        // Of what they have been told of.
        self.ask_back();
    }

    fn next_to_fill(&self) -> Option<WorkerId> {
        let for_unbound = match self.unbound.first() {
            Some((priority, _)) if priority.nesting < 0 => {
                self.workers.first_roomy().or_else(|| self.workers.first_nesting())
            }
            Some(_) => self.workers.first_roomy(),
            None => None,
        };
        for_unbound.or_else(|| self.workers.first_fillable())
    }

    fn next_for(&self, worker: WorkerId) -> Option<CallId> {
        let state = self.workers.of(worker)?;
        let roomy = state.has_room(&self.config);
        let unbound = match self.mutated(Mutation::OrderReversed) {
            true => self.unbound.last(),
            false => self.unbound.first(),
        };
        let next = state.next_held_back().into_iter().chain(unbound.copied());
        let next = next.filter(|(priority, _)| roomy || priority.nesting < 0).min();
        next.map(|(_, id)| id)
    }
}

/// Bytes that move between two workers in a microsecond, as workers have measured it.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    /// Finer than it is used, so that slow links are told apart.
    bytes_per_ms: u64,
}

impl Bandwidth {
    /// Smaller transfers measure the latency.
    const SAMPLE_BYTES_MIN: u64 = 1 << 20;

    pub(crate) fn new(config: &Config) -> Self {
        Self { bytes_per_ms: config.bandwidth_bytes_per_us.clamp(1, 1 << 40) * 1_000 }
    }

    /// A worker fetched so much in so long.
    pub(crate) fn measured(&mut self, bytes: u64, micros: u64) {
        if bytes >= Self::SAMPLE_BYTES_MIN && micros > 0 {
            let sample = bytes.saturating_mul(1_000) / micros;
            self.bytes_per_ms = (self.bytes_per_ms * 3 + sample).div_ceil(4);
        }
    }

    pub(crate) fn bytes_per_us(&self) -> u64 {
        (self.bytes_per_ms / 1_000).max(1)
    }
}
