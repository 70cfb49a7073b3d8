//! How many copies of an object there are: as many as somebody asked for, until it is released; and no
//! more than one of what was only copied because calls read it, some time after the last of them.
//!
//! Copies are made tree-wise: each worker that has the object gives it to one other at a time, so that
//! the number of those that give doubles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use grid_proto::data::ITEMS_MAX;
use grid_proto::message::{Answer, Refusal, ToWorker};
use grid_proto::{ClientId, Key, RequestId, WorkerId, bounds};

use crate::call::{CallId, State};
use crate::check::ensure;
use crate::config::Now;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::worker::Worker;

/// Copies that are on their way to one worker at a time; the others wait.
const COMING_PER_WORKER_MAX: usize = 64;

/// A client's question, until all of it is done.
type Asked = (ClientId, RequestId);

#[derive(Debug, Default)]
pub(crate) struct Replicas {
    wanted: BTreeMap<CallId, Wanted>,
    /// Copies on their way: by object and the worker that fetches, with the worker that gives.
    coming: BTreeMap<(CallId, WorkerId), Coming>,
    /// The same by worker.
    coming_to: BTreeSet<(WorkerId, CallId)>,
    /// Objects that are to be looked at in this turn or the next ones.
    open: BTreeSet<CallId>,
    /// Those that have fewer copies than were asked for, and no worker to take one now,
    short: BTreeSet<CallId>,
    /// or only workers to which many are on their way.
    crowded: BTreeSet<CallId>,
    requests: BTreeMap<Asked, Request>,
    /// Objects with several copies that nobody read any more at that time.
    idle: VecDeque<(Now, CallId)>,
}

/// How many copies of an object there shall be.
#[derive(Debug)]
struct Wanted {
    copies: u32,
    to: Arc<[String]>,
    /// Workers that could not get it.
    failed: BTreeSet<WorkerId>,
    /// Who is told when they are there.
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Coming {
    from: WorkerId,
    /// The copy at `from` goes when this one has come; a rebalance counts it.
    moves: Option<Asked>,
}

#[derive(Debug)]
struct Request {
    keys: Vec<Key>,
    open: usize,
}

impl Replicas {
    pub(crate) fn has_leftovers(&self, now: Now) -> bool {
        !self.open.is_empty() || self.idle.front().is_some_and(|(at, _)| *at <= now)
    }

    pub(crate) fn timeout(&self) -> Option<Now> {
        self.idle.front().map(|(at, _)| *at)
    }

    /// A worker has come, or takes objects again.
    fn look_again(&mut self) {
        match self.open.is_empty() {
            true => std::mem::swap(&mut self.open, &mut self.short),
            false => self.open.append(&mut self.short),
        }
    }

    fn coming_of(&self, id: CallId) -> impl Iterator<Item = (WorkerId, &Coming)> {
        let all = (id, WorkerId(0))..=(id, WorkerId(u32::MAX));
        self.coming.range(all).map(|((_, to), coming)| (*to, coming))
    }

    fn coming_to(&self, worker: WorkerId) -> impl Iterator<Item = CallId> {
        let all = (worker, CallId(0))..=(worker, CallId(u32::MAX));
        self.coming_to.range(all).map(|(_, id)| *id)
    }

    pub(crate) fn is_coming(&self, id: CallId, to: WorkerId) -> bool {
        self.coming.contains_key(&(id, to))
    }

    pub(crate) fn has_room(&self, to: WorkerId) -> bool {
        self.coming_to(to).take(COMING_PER_WORKER_MAX).count() < COMING_PER_WORKER_MAX
    }
}

impl Scheduler {
    pub(crate) fn on_replicate(
        &mut self,
        asked: Asked,
        keys: Vec<Key>,
        copies: u32,
        to: Vec<String>,
    ) {
        let ids = match self.replicated(&keys, copies, &to) {
            Ok(ids) => ids,
            Err(refusal) => return self.answer(asked.0, asked.1, Answer::Refused(refusal)),
        };
        self.replicas.requests.insert(asked, Request { keys, open: ids.len() });
        let to: Arc<[String]> = to.into();
        for id in &ids {
            let before = self.replicas.wanted.remove(id);
            let mut waiting = before.map(|wanted| wanted.asked).unwrap_or_default();
            waiting.push(asked);
            let wanted =
                Wanted { copies, to: Arc::clone(&to), failed: BTreeSet::new(), asked: waiting };
            self.replicas.wanted.insert(*id, wanted);
            self.replicas.open.insert(*id);
        }
        if ids.is_empty() {
            self.replicas.requests.remove(&asked);
            self.answer(asked.0, asked.1, Answer::Replicated(Vec::new()));
        }
    }

    fn replicated(&self, keys: &[Key], copies: u32, to: &[String]) -> Result<Vec<CallId>, Refusal> {
        let bad = |message| Err(Refusal::BadSubmission { message });
        if copies == 0 {
            return bad("no copies are none of the data: release its futures instead".to_owned());
        }
        if keys.len() > ITEMS_MAX {
            return bad(format!("{} keys at once; at most {ITEMS_MAX} are replicated", keys.len()));
        }
        bounds::check_places(to)?;
        let mut ids = Vec::with_capacity(keys.len());
        for key in keys {
            let unknown = || Refusal::UnknownKey { key: key.to_string() };
            let id = self.calls.find(key).ok_or_else(unknown)?;
            if self.actors.is_actor(id) {
                return bad(format!("`{}` is an actor: there is one of it", key.short()));
            }
            if let State::Erred(failure) = &self.calls[id].state {
                return bad(format!("`{}` has failed: {failure}", key.short()));
            }
            ids.push(id);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Looks at one object whose copies may be too few or too many. Says whether there was one.
    pub(crate) fn replicate_one(&mut self) -> bool {
        if let Some(id) = self.replicas.open.pop_first() {
            self.replicate(id);
            return true;
        }
        let Some((at, id)) = self.replicas.idle.front().copied() else { return false };
        if at > self.now {
            return false;
        }
        self.replicas.idle.pop_front();
        if self.calls.contains(id) && self.calls[id].active_dependents == 0 {
            self.trim(id);
        }
        true
    }

    fn replicate(&mut self, id: CallId) {
        let Some(wanted) = self.replicas.wanted.get(&id) else { return };
        if !self.calls.contains(id) || matches!(self.calls[id].state, State::Erred(_)) {
            return self.forget_replicas(id);
        }
        if !self.calls[id].in_memory() {
            // It comes up again when it is.
            return;
        }
        let copies = wanted.copies as usize;
        let holders = self.calls[id].holders().iter().copied();
        let holders: BTreeSet<_> =
            holders.filter(|holder| self.workers.of(*holder).is_some()).collect();
        let giving: BTreeSet<_> =
            self.replicas.coming_of(id).map(|(_, coming)| coming.from).collect();
        let coming = self.replicas.coming_of(id).count();
        let right = holders.iter().filter(|holder| self.is_called(**holder, &wanted.to)).count();
        if holders.len() > copies && right >= copies && coming == 0 {
            self.trim(id);
        } else if right + coming < copies {
            let giver = holders.iter().copied().find(|holder| !giving.contains(holder));
            // Nobody is free to give; or it is nowhere just now.
            let Some(giver) = giver else { return };
            match self.taker_of(id, &holders) {
                Some(taker) if self.replicas.has_room(taker) => {
                    self.copy(id, giver, taker, None);
                    self.replicas.open.insert(id);
                    return;
                }
                Some(_) => {
                    self.replicas.crowded.insert(id);
                    return;
                }
                None if coming == 0 => drop(self.replicas.short.insert(id)),
                None => {}
            }
        }
        if coming == 0 {
            self.end_replication(id);
        }
    }

    /// A worker has one of these names, if there are any.
    fn is_called(&self, worker: WorkerId, names: &[String]) -> bool {
        self.workers.of(worker).is_some_and(|worker| worker.is_one_of(names))
    }

    /// The worker that may have another copy, with the fewest on their way and the fewest bytes.
    fn taker_of(&self, id: CallId, holders: &BTreeSet<WorkerId>) -> Option<WorkerId> {
        let wanted = self.replicas.wanted.get(&id)?;
        let size = self.calls[id].size();
        let may = |(other, worker): &(WorkerId, &Worker)| {
            !holders.contains(other)
                && !wanted.failed.contains(other)
                && !self.replicas.is_coming(id, *other)
                && may_take(worker, size)
                && worker.is_one_of(&wanted.to)
        };
        let takers = self.workers.iter().filter(may);
        let rank = |(other, worker): &(WorkerId, &Worker)| {
            (!self.replicas.has_room(*other), worker.held_bytes, *other)
        };
        takers.min_by_key(rank).map(|(other, _)| other)
    }

    /// Has a worker fetch a copy.
    pub(crate) fn copy(&mut self, id: CallId, from: WorkerId, to: WorkerId, moves: Option<Asked>) {
        let call = &self.calls[id];
        let others = self.nearest_first(call.holders(), to).into_iter();
        let mut holders = vec![from];
        holders.extend(others.filter(|holder| *holder != from));
        let key = call.key;
        self.tell_peers(to, &holders);
        self.send_worker(to, ToWorker::Acquire(vec![(key, holders)]));
        self.replicas.coming.insert((id, to), Coming { from, moves });
        self.replicas.coming_to.insert((to, id));
    }

    /// A worker has an object, or cannot get it.
    pub(crate) fn copied(&mut self, id: CallId, to: WorkerId, there: bool) {
        self.replicas.coming_to.remove(&(to, id));
        let Some(Coming { from, moves }) = self.replicas.coming.remove(&(id, to)) else { return };
        if let Some(asked) = moves {
            if there {
                self.drop_copy(id, from);
            }
            self.moved(asked, id, there);
        }
        // One that is paused takes it when it resumes.
        let paused = self.workers.of(to).is_some_and(|worker| worker.paused);
        if !there
            && !paused
            && let Some(wanted) = self.replicas.wanted.get_mut(&id)
        {
            wanted.failed.insert(to);
        }
        self.replicas.open.insert(id);
        self.replicas.open.extend(self.replicas.crowded.pop_first());
    }

    pub(crate) fn on_not_acquired(&mut self, worker: WorkerId, keys: &[Key]) {
        for key in keys {
            match self.calls.find(key) {
                Some(id) => self.copied(id, worker, false),
                None => self.stale_messages += 1,
            }
        }
    }

    /// The copies that were on their way to a worker that is gone will not come.
    pub(crate) fn lose_copies_to(&mut self, worker: WorkerId) {
        let lost: Vec<_> = self.replicas.coming_to(worker).collect();
        for id in lost {
            self.copied(id, worker, false);
        }
    }

    /// A worker may take copies from now on.
    pub(crate) fn look_for_copies(&mut self) {
        self.replicas.look_again();
    }

    /// A copy has come or gone.
    pub(crate) fn count_copies(&mut self, id: CallId) {
        if self.replicas.wanted.contains_key(&id) {
            self.replicas.open.insert(id);
        }
    }

    /// The last call that read it has ended: copies that were made for its readers may go.
    pub(crate) fn note_unread(&mut self, id: CallId) {
        if self.calls.contains(id)
            && self.calls[id].active_dependents == 0
            && self.calls[id].holders().len() > 1
        {
            let at = self.now.after(self.config.copies_kept_us);
            self.replicas.idle.push_back((at, id));
        }
    }

    /// Drops copies beyond those that were asked for; never the last.
    fn trim(&mut self, id: CallId) {
        let State::Memory { holders, .. } = &self.calls[id].state else { return };
        let wanted = self.replicas.wanted.get(&id);
        let keeps = wanted.map_or(1, |wanted| wanted.copies as usize);
        let keeps = if self.mutated(Mutation::AskedCopiesTrimmed) { 1 } else { keeps };
        let to = wanted.map_or(&[][..], |wanted| &wanted.to[..]);
        let mut ranked: Vec<_> = holders
            .iter()
            .map(|holder| match self.workers.of(*holder) {
                Some(worker) => {
                    let called = worker.is_one_of(to);
                    (false, !called, worker.paused, worker.held_bytes, *holder)
                }
                // Its loss is about to be dealt with.
                None => (true, true, true, 0, *holder),
            })
            .collect();
        ranked.sort_unstable();
        let gone = ranked.iter().filter(|(gone, ..)| *gone).count();
        let there = ranked.len() - gone;
        for (.., holder) in ranked.drain(..there).skip(keeps.max(1)) {
            self.drop_copy(id, holder);
        }
    }

    /// Has a worker free its copy, unless that is the last.
    fn drop_copy(&mut self, id: CallId, holder: WorkerId) {
        let State::Memory { meta, holders } = &mut self.calls[id].state else { return };
        let size = meta.size;
        if holders.len() < 2 || !holders.contains(&holder) {
            return;
        }
        holders.retain(|other| *other != holder);
        let key = self.calls[id].key;
        if let Some(worker) = self.workers.of_mut(holder) {
            worker.holds.remove(&id);
            worker.held_bytes = worker.held_bytes.saturating_sub(size);
            self.send_free(holder, key);
        }
        self.announce(id, None);
    }

    /// There are as many copies as can be: whoever asked for them hears it.
    fn end_replication(&mut self, id: CallId) {
        let Some(wanted) = self.replicas.wanted.get_mut(&id) else { return };
        for asked in std::mem::take(&mut wanted.asked) {
            self.count_done(asked);
        }
    }

    fn count_done(&mut self, asked: Asked) {
        let Some(request) = self.replicas.requests.get_mut(&asked) else { return };
        request.open -= 1;
        if request.open == 0
            && let Some(request) = self.replicas.requests.remove(&asked)
        {
            let copies = |key: &Key| {
                let id = self.calls.find(key);
                id.map_or(0, |id| u32::try_from(self.calls[id].holders().len()).unwrap_or(u32::MAX))
            };
            let copies = request.keys.iter().map(copies).collect();
            self.answer(asked.0, asked.1, Answer::Replicated(copies));
        }
    }

    /// An object is freed: nobody asks for copies of it any more.
    pub(crate) fn forget_replicas(&mut self, id: CallId) {
        if self.replicas.wanted.is_empty() && self.replicas.coming.is_empty() {
            return;
        }
        let coming: Vec<_> = self.replicas.coming_of(id).map(|(to, _)| to).collect();
        for to in coming {
            self.replicas.coming_to.remove(&(to, id));
            if let Some(Coming { moves: Some(asked), .. }) = self.replicas.coming.remove(&(id, to))
            {
                self.moved(asked, id, false);
            }
            if self.calls.contains(id) {
                let key = self.calls[id].key;
                self.send_free(to, key);
            }
        }
        self.replicas.short.remove(&id);
        self.replicas.crowded.remove(&id);
        self.replicas.open.remove(&id);
        if let Some(wanted) = self.replicas.wanted.remove(&id) {
            for asked in wanted.asked {
                self.count_done(asked);
            }
        }
    }

    /// A client is gone: nobody listens to its answers.
    pub(crate) fn forget_requests(&mut self, client: ClientId) {
        let all = (client, RequestId(0))..=(client, RequestId(u64::MAX));
        let asked: Vec<_> = self.replicas.requests.range(all).map(|(asked, _)| *asked).collect();
        for asked in asked {
            self.replicas.requests.remove(&asked);
        }
    }

    /// Verifies what holds of copies.
    pub(crate) fn check_replicas(&self) -> Result<(), String> {
        let Replicas { wanted, coming, coming_to, short, crowded, .. } = &self.replicas;
        ensure(coming.len() == coming_to.len(), "copies on their way are miscounted")?;
        for (id, to) in coming.keys() {
            ensure(coming_to.contains(&(*to, *id)), "a worker does not know of a copy")?;
            ensure(self.workers.of(*to).is_some(), "a copy is on its way to nobody")?;
            ensure(self.calls.contains(*id), "a copy of a forgotten object is on its way")?;
        }
        let known = wanted.keys().chain(short).chain(crowded).all(|id| self.calls.contains(*id));
        ensure(known, "copies of a forgotten object are wanted")
    }
}

pub(crate) fn may_take(worker: &Worker, size: u64) -> bool {
    !worker.paused && !worker.arriving && worker.object_bytes >= size
}
