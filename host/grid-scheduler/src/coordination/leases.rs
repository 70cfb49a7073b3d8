//! Locks and semaphores: leases that end with their holder.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::coordination::{Coordinated, LeaseKind, LeaseOperation};
use grid_proto::message::Refusal;
use grid_proto::{ClientId, LeaseId};

use super::waiters::{Place, Wish};
use super::{Asker, Given};
use crate::config::Now;
use crate::machine::Scheduler;

/// A lock or a semaphore; it exists while somebody holds it or waits for it.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) leases_max: u32,
    pub(super) holders: BTreeSet<LeaseId>,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) client: ClientId,
    pub(super) place: (LeaseKind, String),
    lease_us: Option<u64>,
    until: Option<Now>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) places: BTreeMap<(LeaseKind, String), Leased>,
    pub(super) list: BTreeMap<LeaseId, Lease>,
    clients: BTreeSet<(ClientId, LeaseId)>,
    ends: BTreeSet<(Now, LeaseId)>,
    next: LeaseId,
}

impl Leases {
    fn grant(
        &mut self,
        client: ClientId,
        place: (LeaseKind, String),
        us: Option<u64>,
        now: Now,
    ) -> LeaseId {
        let id = self.next;
        self.next = LeaseId(id.0 + 1);
        let until = us.map(|us| now.after(us));
        self.ends.extend(until.map(|until| (until, id)));
        self.clients.insert((client, id));
        self.list.insert(id, Lease { client, place, lease_us: us, until });
        id
    }

    fn renew(&mut self, id: LeaseId, now: Now) {
        let Some(lease) = self.list.get_mut(&id) else { return };
        let until = lease.lease_us.map(|us| now.after(us));
        if let Some(before) = std::mem::replace(&mut lease.until, until) {
            self.ends.remove(&(before, id));
        }
        self.ends.extend(until.map(|until| (until, id)));
    }

    fn end(&mut self, id: LeaseId) -> Option<(LeaseKind, String)> {
        let lease = self.list.remove(&id)?;
        self.clients.remove(&(lease.client, id));
        if let Some(until) = lease.until {
            self.ends.remove(&(until, id));
        }
        if let Some(leased) = self.places.get_mut(&lease.place) {
            leased.holders.remove(&id);
        }
        Some(lease.place)
    }

    pub(super) fn of_client(&self, client: ClientId) -> Vec<LeaseId> {
        self.held_by(client).collect()
    }

    pub(super) fn count_of(&self, client: ClientId) -> usize {
        self.held_by(client).count()
    }

    fn held_by(&self, client: ClientId) -> impl Iterator<Item = LeaseId> {
        let all = (client, LeaseId(0))..=(client, LeaseId(u64::MAX));
        self.clients.range(all).map(|(_, id)| *id)
    }

    pub(super) fn next_end(&self) -> Option<Now> {
        self.ends.first().map(|(until, _)| *until)
    }

    pub(super) fn ended(&self, now: Now) -> Option<LeaseId> {
        self.ends.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    pub(super) fn is_sound(&self) -> bool {
        let listed = |(id, lease): (&LeaseId, &Lease)| {
            self.places.get(&lease.place).is_some_and(|leased| leased.holders.contains(id))
                && self.clients.contains(&(lease.client, *id))
                && lease.until.is_none_or(|until| self.ends.contains(&(until, *id)))
        };
        let within = |leased: &Leased| leased.holders.len() <= leased.leases_max as usize;
        let ends = self.list.values().filter(|lease| lease.until.is_some()).count();
        self.list.iter().all(listed)
            && self.places.values().all(within)
            && self.places.values().map(|leased| leased.holders.len()).sum::<usize>()
                == self.list.len()
            && self.clients.len() == self.list.len()
            && self.ends.len() == ends
    }
}

impl Scheduler {
    pub(super) fn on_lease(
        &mut self,
        asker: Asker,
        kind: LeaseKind,
        name: String,
        operation: LeaseOperation,
    ) -> Given {
        match operation {
            LeaseOperation::Acquire { leases_max, lease_ms, wait_ms } => {
                self.open_leased(kind, &name, leases_max)?;
                let lease_us = lease_ms.map(|ms| ms.saturating_mul(1_000));
                self.wait(asker, wait_ms, Place::Lease(kind, name), Wish::Lease { lease_us })
            }
            LeaseOperation::Renew(id) => {
                self.held(asker, kind, name, id)?;
                let now = self.now;
                self.coordination.leases.renew(id, now);
                Ok(Some(Coordinated::Done))
            }
            LeaseOperation::Release(id) => {
                self.held(asker, kind, name, id)?;
                self.end_lease(id);
                Ok(Some(Coordinated::Done))
            }
        }
    }

    fn open_leased(&mut self, kind: LeaseKind, name: &str, leases_max: u32) -> Result<(), Refusal> {
        let place = (kind, name.to_owned());
        let known = self.coordination.leases.places.get(&place).map(|leased| leased.leases_max);
        let named = kind.named();
        let message = match (kind, leases_max, known) {
            (_, 0, _) => format!("{named} `{name}` needs at least one lease"),
            (LeaseKind::Lock, 2.., _) => {
                format!("lock `{name}` has one lease, not {leases_max}: use a semaphore")
            }
            (_, new, Some(known)) if new != known => format!(
                "{named} `{name}` has {known} leases as long as it is in use, not {new}: all its \
                 users must say the same"
            ),
            (_, _, Some(_)) => return Ok(()),
            (_, _, None) => {
                // Bounded by what each client may have open, so its bytes are not counted.
                let leased = Leased { leases_max, holders: BTreeSet::new() };
                self.coordination.leases.places.insert(place, leased);
                return Ok(());
            }
        };
        Err(Refusal::OverBound { message })
    }

    fn held(
        &self,
        asker: Asker,
        kind: LeaseKind,
        name: String,
        id: LeaseId,
    ) -> Result<(), Refusal> {
        let place = (kind, name);
        let lease = self.coordination.leases.list.get(&id);
        match lease.is_some_and(|lease| lease.client == asker.client && lease.place == place) {
            true => Ok(()),
            false => Err(Refusal::NotHeld { kind: kind.named(), name: place.1 }),
        }
    }

    pub(super) fn end_lease(&mut self, id: LeaseId) {
        if let Some((kind, name)) = self.coordination.leases.end(id) {
            self.serve_lease(kind, &name);
            self.forget_idle_lease(kind, &name);
        }
    }

    pub(super) fn serve_lease(&mut self, kind: LeaseKind, name: &str) {
        let key = (kind, name.to_owned());
        let place = Place::Lease(kind, name.to_owned());
        while let Some(leased) = self.coordination.leases.places.get(&key)
            && leased.holders.len() < leased.leases_max as usize
            && let Some(waiter) = self.coordination.waiters.take_first(&place)
        {
            let lease_us = match waiter.wish {
                Wish::Lease { lease_us } => lease_us,
                Wish::See | Wish::Get { .. } | Wish::Put(_) => None,
            };
            let leases = &mut self.coordination.leases;
            let id = leases.grant(waiter.asker.client, key.clone(), lease_us, self.now);
            if let Some(leased) = leases.places.get_mut(&key) {
                leased.holders.insert(id);
            }
            self.give(waiter.asker, Coordinated::Lease(id));
        }
    }

    pub(super) fn forget_idle_lease(&mut self, kind: LeaseKind, name: &str) {
        let place = Place::Lease(kind, name.to_owned());
        let waited_for = self.coordination.waiters.count_at(&place) > 0;
        let key = (kind, name.to_owned());
        let places = &mut self.coordination.leases.places;
        if !waited_for && places.get(&key).is_some_and(|leased| leased.holders.is_empty()) {
            places.remove(&key);
        }
    }
}
