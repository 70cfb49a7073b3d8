//! The invariants of what is shared by name.

use std::collections::{BTreeMap, BTreeSet};

use super::datasets::dataset_bytes;
use super::entry_bytes;
use super::items::Held;
use super::waiters::{Place, Wish};
use crate::call::{CallId, State};
use crate::check::ensure;
use crate::machine::Scheduler;

impl Scheduler {
    pub(crate) fn check_coordination(&self) -> Result<(), String> {
        let shared = &self.coordination;
        ensure(shared.waiters.is_sound(), "waiters are listed wrongly")?;
        ensure(shared.leases.is_sound(), "leases are listed wrongly")?;
        self.check_clients()?;
        self.check_kept()?;
        self.check_bytes()?;
        for (name, queue) in &shared.queues {
            let waits = |place| shared.waiters.count_at(&place) > 0;
            let getters = waits(Place::Getters(name.clone()));
            ensure(queue.items.is_empty() || !getters, "somebody waits for items that are there")?;
            let full = queue.items.len() >= queue.items_max as usize;
            ensure(full || !waits(Place::Putters(name.clone())), "somebody waits for room")?;
        }
        for (place, leased) in &shared.leases.places {
            let waiting = shared.waiters.count_at(&Place::Lease(place.0, place.1.clone())) > 0;
            let free = leased.holders.len() < leased.leases_max as usize;
            ensure(!(free && waiting), "somebody waits for a lease that is free")?;
            ensure(waiting || !leased.holders.is_empty(), "nobody uses a lock or semaphore")?;
        }
        for (name, held) in &shared.variables {
            let waiting = shared.waiters.count_at(&Place::Variable(name.clone())) > 0;
            ensure(held.is_some() != waiting, "a variable is set and waited for, or neither")?;
        }
        for (name, set) in &shared.events {
            let waiting = shared.waiters.count_at(&Place::Event(name.clone())) > 0;
            ensure(*set != waiting, "an event is set and waited for, or neither")?;
        }
        Ok(())
    }

    fn check_clients(&self) -> Result<(), String> {
        let shared = &self.coordination;
        let waiting = shared.waiters.iter().map(|waiter| waiter.asker.client);
        let taking = shared.handovers.keys().map(|asker| asker.client);
        let holding = shared.leases.list.values().map(|lease| lease.client);
        let listening = shared.topics.values().flat_map(|topic| topic.subscribers.iter().copied());
        let known = waiting
            .chain(taking)
            .chain(holding)
            .chain(listening)
            .all(|client| self.clients.contains_key(&client));
        ensure(known, "a client that is gone waits, holds or listens")?;
        let subscribed: BTreeSet<_> = shared
            .topics
            .iter()
            .flat_map(|(name, topic)| topic.subscribers.iter().map(move |client| (*client, name)))
            .collect();
        let listed: BTreeSet<_> = shared
            .subscriptions
            .iter()
            .flat_map(|(client, names)| names.iter().map(move |name| (*client, name)))
            .collect();
        ensure(subscribed == listed, "topics and clients list the same subscriptions")?;
        let idle = shared.subscriptions.values().any(BTreeSet::is_empty);
        ensure(!idle, "only clients that listen are listed as such")
    }

    /// Each reason to keep a call counts once.
    fn check_kept(&self) -> Result<(), String> {
        let mut kept = BTreeMap::<CallId, u32>::new();
        let named = self.coordination.datasets.values().flatten().copied();
        for id in named.chain(self.all_held().filter_map(Held::call)) {
            *kept.entry(id).or_default() += 1;
        }
        for (id, call) in self.calls.iter() {
            let counted = kept.remove(&id).unwrap_or(0) + u32::from(call.detached);
            ensure(
                counted == call.kept,
                &format!("call {}: kept is miscounted", call.key.short()),
            )?;
            // One that is released is about to start.
            let ended = matches!(call.state, State::Memory { .. } | State::Erred(_));
            ensure(!(call.detached && ended), "a detached call has ended and is still kept")?;
        }
        ensure(kept.is_empty(), "a name keeps a call that is forgotten")
    }

    fn check_bytes(&self) -> Result<(), String> {
        let shared = &self.coordination;
        let datasets = shared.datasets.iter().map(|(name, calls)| dataset_bytes(name, calls.len()));
        let entries = shared.variables.keys().chain(shared.queues.keys());
        let entries = entries.chain(shared.events.keys()).map(|name| entry_bytes(name));
        let topics = shared.topics.iter().map(|(name, topic)| entry_bytes(name) + topic.bytes());
        let held = self.all_held().map(Held::bytes);
        let bytes: u64 = datasets.chain(entries).chain(topics).chain(held).sum();
        ensure(bytes == shared.bytes, "shared bytes are miscounted")
    }

    fn all_held(&self) -> impl Iterator<Item = &Held> {
        let shared = &self.coordination;
        let set = shared.variables.values().flatten();
        let queued = shared.queues.values().flat_map(|queue| &queue.items);
        let leaving = shared.handovers.values().flat_map(|handover| &handover.items);
        let coming = shared.waiters.iter().filter_map(|waiter| match &waiter.wish {
            Wish::Put(held) => Some(held),
            Wish::See | Wish::Get { .. } | Wish::Lease { .. } => None,
        });
        set.chain(queued).chain(leaving).chain(coming)
    }
}
