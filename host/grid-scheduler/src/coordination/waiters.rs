//! Who waits, where, for what, until when.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::coordination::LeaseKind;
use grid_proto::{ClientId, RequestId};

use super::Asker;
use super::items::Held;
use crate::config::Now;

/// Numbered in the order of their coming.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct WaiterId(u64);

/// Where one waits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    /// For a variable to be set.
    Variable(String),
    /// For a queue to have items.
    Getters(String),
    /// For a queue to have room.
    Putters(String),
    /// For a lease.
    Lease(LeaseKind, String),
    /// For an event to be set.
    Event(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "variable `{name}` to be set"),
            Self::Getters(name) => write!(f, "an item of queue `{name}`"),
            Self::Putters(name) => write!(f, "room in queue `{name}`"),
            Self::Lease(kind, name) => write!(f, "{} `{name}`", kind.named()),
            Self::Event(name) => write!(f, "event `{name}` to be set"),
        }
    }
}

/// What one waits for, where the place alone does not say it.
#[derive(Debug)]
pub(super) enum Wish {
    /// To read, or to go on.
    See,
    /// To take items.
    Get { count_max: u32 },
    /// To add an item.
    Put(Held),
    /// To hold a lease that ends if it is not renewed for that long.
    Lease { lease_us: Option<u64> },
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) asker: Asker,
    pub(super) until: Option<Now>,
    pub(super) place: Place,
    pub(super) wish: Wish,
}

#[derive(Debug, Default)]
pub(super) struct Waiters {
    list: BTreeMap<WaiterId, Waiter>,
    places: BTreeMap<Place, BTreeSet<WaiterId>>,
    askers: BTreeMap<Asker, WaiterId>,
    ends: BTreeSet<(Now, WaiterId)>,
    next: WaiterId,
}

impl Waiters {
    pub(super) fn add(&mut self, waiter: Waiter) -> WaiterId {
        let id = self.next;
        self.next = WaiterId(id.0 + 1);
        self.places.entry(waiter.place.clone()).or_default().insert(id);
        self.askers.insert(waiter.asker, id);
        self.ends.extend(waiter.until.map(|until| (until, id)));
        self.list.insert(id, waiter);
        id
    }

    pub(super) fn take(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.list.remove(&id)?;
        if let Some(here) = self.places.get_mut(&waiter.place) {
            here.remove(&id);
            if here.is_empty() {
                self.places.remove(&waiter.place);
            }
        }
        self.askers.remove(&waiter.asker);
        if let Some(until) = waiter.until {
            self.ends.remove(&(until, id));
        }
        Some(waiter)
    }

    /// Takes who has waited longest at a place.
    pub(super) fn take_first(&mut self, place: &Place) -> Option<Waiter> {
        let id = *self.places.get(place)?.first()?;
        self.take(id)
    }

    pub(super) fn count_at(&self, place: &Place) -> usize {
        self.places.get(place).map_or(0, BTreeSet::len)
    }

    pub(super) fn of_asker(&self, asker: Asker) -> Option<WaiterId> {
        self.askers.get(&asker).copied()
    }

    pub(super) fn of_client(&self, client: ClientId) -> Vec<WaiterId> {
        self.asked_by(client).map(|(_, id)| *id).collect()
    }

    pub(super) fn count_of(&self, client: ClientId) -> usize {
        self.asked_by(client).count()
    }

    /// Where this client waits; of several places, one.
    pub(super) fn place_of(&self, client: ClientId) -> Option<&Place> {
        let (_, id) = self.asked_by(client).next()?;
        self.list.get(id).map(|waiter| &waiter.place)
    }

    fn asked_by(&self, client: ClientId) -> impl Iterator<Item = (&Asker, &WaiterId)> {
        self.askers.range(all_of(client))
    }

    pub(super) fn next_end(&self) -> Option<Now> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Somebody whose time is over.
    pub(super) fn ended(&self, now: Now) -> Option<WaiterId> {
        self.ends.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.list.values()
    }

    pub(super) fn is_sound(&self) -> bool {
        let listed = |(id, waiter): (&WaiterId, &Waiter)| {
            self.places.get(&waiter.place).is_some_and(|here| here.contains(id))
                && self.askers.get(&waiter.asker) == Some(id)
                && waiter.until.is_none_or(|until| self.ends.contains(&(until, *id)))
        };
        let ends = self.list.values().filter(|waiter| waiter.until.is_some()).count();
        self.list.iter().all(listed)
            && self.places.values().map(BTreeSet::len).sum::<usize>() == self.list.len()
            && self.askers.len() == self.list.len()
            && self.ends.len() == ends
    }
}

/// All requests of a client.
pub(super) fn all_of(client: ClientId) -> std::ops::RangeInclusive<Asker> {
    let first = Asker { client, request: RequestId(0) };
    let last = Asker { client, request: RequestId(u64::MAX) };
    first..=last
}
