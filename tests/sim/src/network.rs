//! Connections to the scheduler: in order and reliable while they live, as QUIC streams are. What
//! goes wrong is that they are slow, stand still, or end with messages in flight.

use std::collections::BTreeMap;

use crate::agenda::LinkId;
use crate::rng::Rng;

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Worker(usize),
    Client(usize),
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    latency_us: u64,
    /// Nothing arrives before: what was sent later does not overtake.
    up_free: u64,
    down_free: u64,
    /// Nothing arrives any more.
    pub(crate) cut: bool,
    pub(crate) lost_by_scheduler: bool,
    pub(crate) lost_by_peer: bool,
}

/// All connections that ever were.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<LinkId, Link>,
}

impl Network {
    pub(crate) fn open(&mut self, peer: Peer, slow: bool, rng: &mut Rng) -> LinkId {
        let id = LinkId::try_from(self.links.len()).expect("links are few");
        let latency_us = if slow { rng.range(2_000, 20_000) } else { rng.range(20, 500) };
        let link = Link {
            peer,
            latency_us,
            up_free: 0,
            down_free: 0,
            cut: false,
            lost_by_scheduler: false,
            lost_by_peer: false,
        };
        self.links.insert(id, link);
        id
    }

    pub(crate) fn link(&mut self, id: LinkId) -> &mut Link {
        self.links.get_mut(&id).expect("links are never removed")
    }

    /// Connections that work, of workers only if so wished.
    pub(crate) fn alive(&self, workers_only: bool) -> Vec<LinkId> {
        let wanted = |link: &Link| !workers_only || matches!(link.peer, Peer::Worker(_));
        let alive = |link: &Link| !link.cut && !link.lost_by_scheduler && !link.lost_by_peer;
        let links = self.links.iter().filter(|(_, link)| wanted(link) && alive(link));
        links.map(|(id, _)| *id).collect()
    }

    /// When something sent now to the scheduler arrives.
    pub(crate) fn up(&mut self, id: LinkId, now: u64, rng: &mut Rng) -> u64 {
        let link = self.link(id);
        link.up_free = link.up_free.max(now + link.latency_us + rng.range(0, link.latency_us));
        link.up_free
    }

    /// When something that the scheduler sends now arrives.
    pub(crate) fn down(&mut self, id: LinkId, now: u64, rng: &mut Rng) -> u64 {
        let link = self.link(id);
        link.down_free = link.down_free.max(now + link.latency_us + rng.range(0, link.latency_us));
        link.down_free
    }

    /// The connection stands still for a while; what is sent meanwhile arrives after that.
    pub(crate) fn pause(&mut self, id: LinkId, until: u64) {
        let link = self.link(id);
        link.up_free = link.up_free.max(until);
        link.down_free = link.down_free.max(until);
    }
}
