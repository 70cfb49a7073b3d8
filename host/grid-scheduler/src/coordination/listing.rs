//! What there is, for people.

use grid_proto::coordination::{
    Coordinated, DATASET_KEYS_MAX, LeaseKind, NamedInfo, NamedKind, TOPIC_MESSAGES_MAX,
};

use super::waiters::Place;
use super::{Given, unknown};
use crate::machine::Scheduler;

/// More are never listed in one answer: it has to fit a frame.
const NAMES_LISTED_MAX: usize = 10_000;

impl Scheduler {
    pub(super) fn describe(&self, kind: NamedKind, name: String) -> Given {
        match self.names(kind).contains(&name) {
            true => Ok(Some(Coordinated::List(vec![self.info(kind, name)]))),
            false => Err(unknown(kind, name)),
        }
    }

    /// All of a kind, by name.
    pub(super) fn named(&self, kind: NamedKind) -> Vec<NamedInfo> {
        let names = self.names(kind).into_iter().take(NAMES_LISTED_MAX);
        names.map(|name| self.info(kind, name)).collect()
    }

    fn names(&self, kind: NamedKind) -> Vec<String> {
        let shared = &self.coordination;
        let leased = |wanted: LeaseKind| {
            let of_kind = shared.leases.places.keys().filter(move |(kind, _)| *kind == wanted);
            of_kind.map(|(_, name)| name.clone()).collect()
        };
        match kind {
            NamedKind::Dataset => shared.datasets.keys().cloned().collect(),
            NamedKind::Variable => shared.variables.keys().cloned().collect(),
            NamedKind::Queue => shared.queues.keys().cloned().collect(),
            NamedKind::Lock => leased(LeaseKind::Lock),
            NamedKind::Semaphore => leased(LeaseKind::Semaphore),
            NamedKind::Event => shared.events.keys().cloned().collect(),
            NamedKind::Topic => shared.topics.keys().cloned().collect(),
        }
    }

    fn info(&self, kind: NamedKind, name: String) -> NamedInfo {
        let (size, size_max) = self.size(kind, &name);
        let own = || name.clone();
        let places = match kind {
            NamedKind::Dataset | NamedKind::Topic => Vec::new(),
            NamedKind::Variable => vec![Place::Variable(own())],
            NamedKind::Queue => vec![Place::Getters(own()), Place::Putters(own())],
            NamedKind::Lock => vec![Place::Lease(LeaseKind::Lock, own())],
            NamedKind::Semaphore => vec![Place::Lease(LeaseKind::Semaphore, own())],
            NamedKind::Event => vec![Place::Event(own())],
        };
        let waiters = &self.coordination.waiters;
        let waiting = places.iter().map(|place| waiters.count_at(place) as u64).sum();
        let topic = self.coordination.topics.get(&name).filter(|_| kind == NamedKind::Topic);
        let subscribers = topic.map_or(0, |topic| topic.subscribers.len() as u64);
        NamedInfo { kind, name, size, size_max, waiting, subscribers }
    }

    fn size(&self, kind: NamedKind, name: &str) -> (u64, u64) {
        let shared = &self.coordination;
        let leased = |kind| {
            let leased = shared.leases.places.get(&(kind, name.to_owned()));
            leased.map_or((0, 0), |leased| (leased.holders.len(), leased.leases_max as usize))
        };
        let (size, size_max) = match kind {
            NamedKind::Dataset => (shared.datasets.get(name).map_or(0, Vec::len), DATASET_KEYS_MAX),
            NamedKind::Variable => {
                (usize::from(shared.variables.get(name).is_some_and(Option::is_some)), 1)
            }
            NamedKind::Queue => shared
                .queues
                .get(name)
                .map_or((0, 0), |queue| (queue.items.len(), queue.items_max as usize)),
            NamedKind::Lock => leased(LeaseKind::Lock),
            NamedKind::Semaphore => leased(LeaseKind::Semaphore),
            NamedKind::Event => (usize::from(shared.events.get(name) == Some(&true)), 1),
            NamedKind::Topic => {
                (shared.topics.get(name).map_or(0, |topic| topic.recent.len()), TOPIC_MESSAGES_MAX)
            }
        };
        (size as u64, size_max as u64)
    }
}
