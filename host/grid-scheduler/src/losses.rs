//! Workers that are gone, that have come back, or that offer something else, and what follows for the
//! calls that they had to do with: in turns, because there may be a million.
//!
//! Until its turn has come a call may name a worker that is gone. Nothing is sent there, and no call
//! is given to another worker that would read from there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::ToWorker;
use grid_proto::{Key, ObjectMeta, WorkerId};

use crate::backlog::Backlog;
use crate::call::{CallId, Queue, State};
use crate::check::ensure;
use crate::config::AT_ONCE_MAX;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::outcome::Leaving;
use crate::story::Cause;
use crate::worker::Worker;

/// What is still to be done about workers.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    gone: VecDeque<Gone>,
    /// Results that workers brought along when they came back.
    brought: VecDeque<(WorkerId, std::vec::IntoIter<(Key, ObjectMeta)>)>,
    /// What was held back for workers that are gone or have changed, and belongs somewhere else.
    backlogs: VecDeque<(WorkerId, Backlog)>,
}

/// A worker that is gone.
#[derive(Debug)]
struct Gone {
    id: WorkerId,
    /// With why its process ended, if that was said.
    name: (String, String),
    in_hand: BTreeSet<CallId>,
    /// Calls that it was executing, if it died.
    executing: BTreeSet<CallId>,
    /// What it held, and what clients were bringing to it.
    holds: BTreeSet<CallId>,
}

impl Losses {
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.brought.is_empty() && self.backlogs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        let gone = self.gone.iter().map(|gone| gone.in_hand.len() + gone.holds.len());
        let brought = self.brought.iter().map(|(_, results)| results.len());
        let backlogs = self.backlogs.iter().map(|(_, backlog)| backlog.len());
        gone.chain(brought).chain(backlogs).sum()
    }

    fn of(&self, id: WorkerId) -> Option<&Gone> {
        self.gone.iter().find(|gone| gone.id == id)
    }

    /// A worker that is gone had this call in hand.
    pub(crate) fn had_in_hand(&self, worker: WorkerId, call: CallId) -> bool {
        self.of(worker).is_some_and(|gone| gone.in_hand.contains(&call))
    }

    /// A worker that is gone held this call's result.
    pub(crate) fn held(&self, worker: WorkerId, call: CallId) -> bool {
        self.of(worker).is_some_and(|gone| gone.holds.contains(&call))
    }

    /// Calls that were held back for a worker and are still to be looked at.
    pub(crate) fn held_back_for(&self, worker: WorkerId) -> impl Iterator<Item = &Backlog> {
        let for_it = move |(of, _): &&(WorkerId, Backlog)| *of == worker;
        self.backlogs.iter().filter(for_it).map(|(_, backlog)| backlog)
    }
}

impl Scheduler {
    /// A worker is lost: what it had in hand runs elsewhere, what only it held is computed again.
    pub(crate) fn on_worker_gone(&mut self, id: WorkerId, leaving: Leaving) {
        let Some(mut worker) = self.workers.remove(id) else { return };
        for peer in self.workers.forget_peer(id) {
            self.send_worker(peer, ToWorker::PeersGone(vec![id]));
        }
        let executing = match leaving {
            Leaving::Died => self.likely_executing(&worker),
            Leaving::Planned => BTreeSet::new(),
        };
        if !self.mutated(Mutation::BacklogNotRehoused) {
            self.rehouse_later(id, std::mem::take(&mut worker.backlog));
        }
        let Worker { name, why_ended, mut in_hand, mut holds, mut awaits, .. } = worker;
        let name = (name, why_ended);
        if self.mutated(Mutation::HolderKept) {
            holds.clear();
        }
        // What was to come to it is lost like what it had.
        holds.append(&mut awaits);
        // As a rule it had few in hand: they are done with at once.
        for _ in 0..AT_ONCE_MAX {
            let Some(call) = in_hand.pop_first() else { break };
            self.lose_attempt(call, id, &name, executing.contains(&call));
        }
        if !in_hand.is_empty() || !holds.is_empty() {
            self.lost.gone.push_back(Gone { id, name, in_hand, executing, holds });
        }
        self.lose_copies_to(id);
        self.reassign_inspections(id);
    }

    /// Calls that a lost worker was executing: those that it said so of, and where it could not say
    /// any more (it reports after some milliseconds), the first in its order, one for each slot.
    fn likely_executing(&self, worker: &Worker) -> BTreeSet<CallId> {
        let said = |id: &&CallId| {
            self.calls[**id].processing().is_some_and(|processing| processing.executing)
        };
        if worker.executing > 0 {
            return worker.in_hand.iter().filter(said).copied().collect();
        }
        let mut first = BTreeSet::new();
        for id in worker.in_hand.difference(&worker.waiting) {
            first.insert((self.calls[*id].priority, *id));
            if first.len() > worker.slots as usize {
                first.pop_last();
            }
        }
        first.into_iter().map(|(_, id)| id).collect()
    }

    /// One step of what is to be done about a worker that is gone: about one call that it had in
    /// hand, and one whose result it held. Says whether there was one.
    pub(crate) fn lose_one(&mut self) -> bool {
        let Some(gone) = self.lost.gone.front_mut() else { return false };
        let worker = gone.id;
        let in_hand = gone.in_hand.pop_first();
        // What the same process brings along when it comes back need not be computed again.
        let held = if self.lost.brought.is_empty() { gone.holds.pop_first() } else { None };
        let charged = in_hand.is_some_and(|id| gone.executing.contains(&id));
        let name = gone.name.clone();
        if gone.in_hand.is_empty() && gone.holds.is_empty() {
            self.lost.gone.pop_front();
        }
        self.story.cause = Cause::Worker(worker, "is gone");
        if let Some(id) = in_hand {
            self.lose_attempt(id, worker, &name, charged);
        }
        if let Some(id) = held.filter(|id| self.calls.contains(*id)) {
            self.lose_replica(id, worker);
        }
        in_hand.is_some() || held.is_some()
    }

    fn lose_attempt(
        &mut self,
        id: CallId,
        worker: WorkerId,
        (name, why): &(String, String),
        charged: bool,
    ) {
        let there = self.is_processing(id)
            && self.calls[id].processing().is_some_and(|processing| processing.worker == worker);
        if !there {
            // It was stopped since, or a failure took it along.
            return;
        }
        if self.actors.is_method(id) {
            // Whether it had begun or not, it never ends.
            return self.fail_with_actor(id);
        }
        if charged || self.mutated(Mutation::AllInHandCharged) {
            self.on_death(id, name, why);
        } else {
            self.start_over(id);
        }
    }

    /// Replicas on workers that are gone are forgotten before somebody is told to read there.
    pub(crate) fn lose_lost_replicas(&mut self, id: CallId) {
        for holder in self.calls[id].holders().to_vec() {
            if self.workers.of(holder).is_none() {
                self.lose_replica(id, holder);
            }
        }
    }

    /// A worker that comes back brings results along.
    pub(crate) fn adopt_later(&mut self, worker: WorkerId, results: Vec<(Key, ObjectMeta)>) {
        if !results.is_empty() {
            self.lost.brought.push_back((worker, results.into_iter()));
        }
    }

    /// Takes one result over, or has it freed. Says whether there was one.
    pub(crate) fn adopt_one(&mut self) -> bool {
        let Some((worker, results)) = self.lost.brought.front_mut() else { return false };
        let (worker, next) = (*worker, results.next());
        if results.len() == 0 {
            self.lost.brought.pop_front();
            self.workers.change(worker, |worker| worker.arriving = false);
        }
        self.story.cause = Cause::Worker(worker, "connected");
        if let Some((key, meta)) = next
            && self.workers.of(worker).is_some()
            && !self.adopt_replica(worker, key, meta)
        {
            self.send_free(worker, key);
        }
        true
    }

    /// A worker has changed: what is held back for it may belong somewhere else.
    pub(crate) fn rehouse_all_of(&mut self, id: WorkerId) {
        let mut backlog = Backlog::default();
        self.workers.change(id, |worker| backlog = std::mem::take(&mut worker.backlog));
        self.rehouse_later(id, backlog);
    }

    fn rehouse_later(&mut self, worker: WorkerId, backlog: Backlog) {
        if !backlog.is_empty() {
            self.lost.backlogs.push_back((worker, backlog));
        }
    }

    /// Places one call anew whose worker is gone or has changed. Says whether there was one.
    pub(crate) fn rehouse_one(&mut self) -> bool {
        let Some((worker, backlog)) = self.lost.backlogs.front_mut() else { return false };
        let (worker, next) = (*worker, backlog.pop());
        if backlog.is_empty() {
            self.lost.backlogs.pop_front();
        }
        // The loss of an input, or a failure, may have moved it on; it may be back already.
        if let Some(id) = next
            && self.is_adrift(id, worker)
        {
            self.set_state(id, State::Waiting { missing: 0 });
            self.enqueue(id);
        }
        true
    }

    /// It is queued for this worker, and not in its backlog.
    fn is_adrift(&self, id: CallId, worker: WorkerId) -> bool {
        self.calls.contains(id)
            && matches!(self.calls[id].state, State::Queued { at: Queue::Of(at), .. } if at == worker)
            && !self.is_in_backlog(id, &self.calls[id], worker)
    }

    /// Calls that were held back for a worker and are in no backlog now.
    pub(crate) fn adrift(&self) -> usize {
        let mut adrift = BTreeSet::new();
        for (worker, backlog) in &self.lost.backlogs {
            adrift.extend(backlog.iter().filter(|id| self.is_adrift(*id, *worker)));
        }
        adrift.len()
    }

    /// Verifies that no call is at a worker that is gone, but for those that are still to be lost.
    pub(crate) fn check_losses(
        &self,
        in_hand: &BTreeMap<WorkerId, (usize, u64, u32)>,
    ) -> Result<(), String> {
        for (id, call) in self.calls.iter() {
            let Some(processing) = call.processing() else { continue };
            if in_hand.contains_key(&processing.worker) {
                let known = self.lost.had_in_hand(processing.worker, id);
                ensure(known, "a call is processing on a worker that is gone")?;
            }
        }
        let gone = self.lost.gone.iter().all(|gone| self.workers.of(gone.id).is_none());
        ensure(gone, "a worker that is there counts as gone")
    }
}
