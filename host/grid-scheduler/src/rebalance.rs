//! Moving objects from workers that hold much to workers that hold little, one object a step: from the
//! fullest to the emptiest, until each is within a twentieth of the mean or nothing fits. What a call
//! is reading stays where it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use grid_proto::data::ITEMS_MAX;
use grid_proto::message::{Answer, Refusal};
use grid_proto::{ClientId, Key, RequestId, WorkerId, bounds};

use crate::call::CallId;
use crate::machine::Scheduler;
use crate::replicas::may_take;
use crate::worker::Worker;

/// Parts of the mean that a worker may be away from it.
const TOLERANCE_PARTS: u64 = 20;

/// Objects of one request that are on their way at a time.
const COMING_MAX: usize = 1_000;

/// Requests that are under way.
#[derive(Debug, Default)]
pub(crate) struct Rebalances {
    open: VecDeque<Rebalance>,
    /// Those that go on when some of their objects have arrived.
    parked: BTreeMap<(ClientId, RequestId), Rebalance>,
    /// What has become of each so far.
    sums: BTreeMap<(ClientId, RequestId), Sum>,
}

#[derive(Debug)]
struct Rebalance {
    asked: (ClientId, RequestId),
    /// Only these; none for all.
    only: BTreeSet<CallId>,
    workers: BTreeMap<WorkerId, Load>,
}

/// What a worker will hold when all that was planned has moved.
#[derive(Debug)]
struct Load {
    bytes: u64,
    /// The object that was looked at last; the next ones are after it.
    looked_at: Option<CallId>,
    /// All were looked at.
    done: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    coming: usize,
    objects: u64,
    bytes: u64,
}

impl Rebalances {
    pub(crate) fn is_planned(&self) -> bool {
        self.open.is_empty()
    }
}

impl Scheduler {
    pub(crate) fn on_rebalance(
        &mut self,
        asked: (ClientId, RequestId),
        keys: &[Key],
        to: &[String],
    ) {
        match self.rebalance(asked, keys, to) {
            Ok(rebalance) => self.rebalances.open.push_back(rebalance),
            Err(refusal) => self.answer(asked.0, asked.1, Answer::Refused(refusal)),
        }
    }

    fn rebalance(
        &self,
        asked: (ClientId, RequestId),
        keys: &[Key],
        to: &[String],
    ) -> Result<Rebalance, Refusal> {
        if keys.len() > ITEMS_MAX {
            let message = format!("{} keys at once; at most {ITEMS_MAX} are moved", keys.len());
            return Err(Refusal::BadSubmission { message });
        }
        bounds::check_places(to)?;
        let mut only = BTreeSet::new();
        for key in keys {
            let unknown = || Refusal::UnknownKey { key: key.to_string() };
            only.insert(self.calls.find(key).ok_or_else(unknown)?);
        }
        let load = |(id, worker): (WorkerId, &Worker)| {
            let bytes = if only.is_empty() { worker.held_bytes } else { 0 };
            (id, Load { bytes, looked_at: None, done: false })
        };
        let named = self.workers.iter().filter(|(_, worker)| worker.is_one_of(to));
        let mut workers: BTreeMap<_, _> = named.map(load).collect();
        for id in &only {
            let call = &self.calls[*id];
            for holder in call.holders() {
                workers.entry(*holder).and_modify(|load| load.bytes += call.size());
            }
        }
        Ok(Rebalance { asked, only, workers })
    }

    /// Looks at one object of a request. Says whether there was one.
    pub(crate) fn rebalance_step(&mut self) -> bool {
        let Some(mut rebalance) = self.rebalances.open.pop_front() else { return false };
        let asked = rebalance.asked;
        if !self.clients.contains_key(&asked.0) {
            self.rebalances.sums.remove(&asked);
            return true;
        }
        let sum = self.rebalances.sums.entry(asked).or_default();
        if sum.coming >= COMING_MAX {
            self.rebalances.parked.insert(asked, rebalance);
            return true;
        }
        let Some((from, to)) = self.ends(&rebalance) else {
            self.end_rebalance(asked);
            return true;
        };
        if let Some(id) = self.next_to_move(&mut rebalance, from, to) {
            let size = self.calls[id].size();
            rebalance.workers.entry(from).and_modify(|load| load.bytes -= size.min(load.bytes));
            rebalance.workers.entry(to).and_modify(|load| load.bytes += size);
            self.rebalances.sums.entry(asked).or_default().coming += 1;
            self.copy(id, from, to, Some(asked));
        }
        self.rebalances.open.push_back(rebalance);
        true
    }

    /// The fullest worker that has something left to look at, and the emptiest, if they are too far
    /// from the mean.
    fn ends(&self, rebalance: &Rebalance) -> Option<(WorkerId, WorkerId)> {
        let is_there = |id: WorkerId| self.workers.of(id).is_some_and(|worker| !worker.paused);
        let there = || rebalance.workers.iter().filter(|(id, _)| is_there(**id));
        let mean =
            there().map(|(_, load)| load.bytes).sum::<u64>() / (there().count() as u64).max(1);
        let tolerance = mean / TOLERANCE_PARTS;
        let fullest = there().filter(|(_, load)| !load.done);
        let (from, full) = fullest.max_by_key(|(_, load)| load.bytes)?;
        let (to, empty) = there().min_by_key(|(_, load)| load.bytes)?;
        let far = full.bytes > mean + tolerance || empty.bytes + tolerance < mean;
        (far && full.bytes > mean && from != to).then_some((*from, *to))
    }

    /// The next object of the fullest, if it is to move.
    fn next_to_move(
        &self,
        rebalance: &mut Rebalance,
        from: WorkerId,
        to: WorkerId,
    ) -> Option<CallId> {
        let gap = rebalance.workers[&from].bytes.saturating_sub(rebalance.workers[&to].bytes);
        let load = rebalance.workers.get_mut(&from)?;
        let after = load.looked_at.map_or(Unbounded, Excluded);
        let holds = &self.workers.of(from)?.holds;
        let next = match rebalance.only.is_empty() {
            true => holds.range((after, Unbounded)).next(),
            false => rebalance.only.range((after, Unbounded)).find(|id| holds.contains(id)),
        };
        let Some(id) = next.copied() else {
            load.done = true;
            return None;
        };
        load.looked_at = Some(id);
        let call = &self.calls[id];
        let taker = self.workers.of(to)?;
        let moves = call.in_memory()
            && call.active_dependents == 0
            && !self.actors.is_actor(id)
            && !call.holders().contains(&to)
            && (1..gap).contains(&call.size())
            && !self.replicas.is_coming(id, to)
            && may_take(taker, call.size());
        moves.then_some(id)
    }

    /// An object has come to where a request wants it, or will not.
    pub(crate) fn moved(&mut self, asked: (ClientId, RequestId), id: CallId, there: bool) {
        let size = if self.calls.contains(id) { self.calls[id].size() } else { 0 };
        if let Some(sum) = self.rebalances.sums.get_mut(&asked) {
            sum.coming -= 1;
            sum.objects += u64::from(there);
            sum.bytes += if there { size } else { 0 };
        }
        match self.rebalances.parked.remove(&asked) {
            Some(rebalance) => self.rebalances.open.push_back(rebalance),
            None => self.end_rebalance(asked),
        }
    }

    fn end_rebalance(&mut self, asked: (ClientId, RequestId)) {
        let planning = self.rebalances.open.iter().any(|rebalance| rebalance.asked == asked);
        let sum = self.rebalances.sums.get(&asked).copied();
        if let Some(Sum { coming: 0, objects, bytes }) = sum
            && !planning
        {
            self.rebalances.sums.remove(&asked);
            self.answer(asked.0, asked.1, Answer::Rebalanced { objects, bytes });
        }
    }
}
