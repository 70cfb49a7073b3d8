//! The connected workers, and the orders in which the machine looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use grid_proto::{Amount, WorkerId};

use crate::call::Needs;
use crate::config::Config;
use crate::worker::Worker;

/// More workers of one name than this are not looked through one by one.
const LOOKED_THROUGH_MAX: usize = 32;

/// A worker's place in an order.
pub(crate) type Place = (u64, WorkerId);

#[derive(Debug)]
pub(crate) struct Workers {
    config: Config,
    list: BTreeMap<WorkerId, Worker>,
    /// Workers by each of their names, labels and hosts, and by what they offer.
    called: BTreeMap<String, BTreeSet<WorkerId>>,
    offering: BTreeMap<String, BTreeSet<WorkerId>>,
    /// All, by when a call that comes now would start.
    by_start: BTreeSet<(u64, WorkerId)>,
    /// Those with room, by what they have in hand.
    roomy: BTreeSet<(u64, WorkerId)>,
    /// Those with room and calls that are held back for them.
    fillable: BTreeSet<(u64, WorkerId)>,
    /// Those that may be given, beyond their room, what some call waits for.
    nesting: BTreeSet<(u64, WorkerId)>,
    /// Those with room and a slot that has nothing to do, and those with calls that cannot have
    /// begun, by what they have in hand.
    idle: BTreeSet<Place>,
    behind: BTreeSet<Place>,
    /// Those with calls that are held back for them, by how much.
    backlogged: BTreeSet<(u64, WorkerId)>,
}

/// A worker's places in the orders.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ranks {
    start_us: u64,
    in_hand_us: u64,
    roomy: bool,
    fillable: bool,
    nesting: bool,
    idle: bool,
    behind: bool,
    backlog_us: Option<u64>,
}

impl Workers {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            list: BTreeMap::new(),
            called: BTreeMap::new(),
            offering: BTreeMap::new(),
            by_start: BTreeSet::new(),
            roomy: BTreeSet::new(),
            fillable: BTreeSet::new(),
            nesting: BTreeSet::new(),
            idle: BTreeSet::new(),
            behind: BTreeSet::new(),
            backlogged: BTreeSet::new(),
        }
    }

    fn ranks(&self, worker: &Worker) -> Ranks {
        let roomy = worker.has_room(&self.config);
        let nesting = !worker.waiting.is_empty() && worker.has_room_for_nested();
        let next = worker.next_held_back();
        Ranks {
            start_us: worker.start_us(),
            in_hand_us: worker.in_hand_us(),
            roomy,
            fillable: next.is_some_and(|(next, _)| roomy || (nesting && next.nesting < 0)),
            nesting,
            idle: roomy && worker.is_idle(),
            behind: worker.not_begun() > 0,
            backlog_us: (!worker.backlog.is_empty()).then(|| worker.backlog.expected_us()),
        }
    }

    fn enter(&mut self, id: WorkerId, ranks: Ranks) {
        self.by_start.insert((ranks.start_us, id));
        for (belongs, order) in [
            (ranks.roomy, &mut self.roomy),
            (ranks.fillable, &mut self.fillable),
            (ranks.nesting, &mut self.nesting),
            (ranks.idle, &mut self.idle),
            (ranks.behind, &mut self.behind),
        ] {
            if belongs {
                order.insert((ranks.in_hand_us, id));
            }
        }
        if let Some(backlog_us) = ranks.backlog_us {
            self.backlogged.insert((backlog_us, id));
        }
    }

    fn leave(&mut self, id: WorkerId, ranks: Ranks) {
        self.by_start.remove(&(ranks.start_us, id));
        for (belongs, order) in [
            (ranks.roomy, &mut self.roomy),
            (ranks.fillable, &mut self.fillable),
            (ranks.nesting, &mut self.nesting),
            (ranks.idle, &mut self.idle),
            (ranks.behind, &mut self.behind),
        ] {
            if belongs {
                order.remove(&(ranks.in_hand_us, id));
            }
        }
        if let Some(backlog_us) = ranks.backlog_us {
            self.backlogged.remove(&(backlog_us, id));
        }
    }

    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.enter(id, self.ranks(&worker));
        for name in worker.names() {
            self.called.entry(name.clone()).or_default().insert(id);
        }
        for name in worker.resources.keys() {
            self.offering.entry(name.clone()).or_default().insert(id);
        }
        self.list.insert(id, worker);
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.list.remove(&id)?;
        self.leave(id, self.ranks(&worker));
        for name in worker.names() {
            forget(&mut self.called, name, id);
        }
        for name in worker.resources.keys() {
            forget(&mut self.offering, name, id);
        }
        Some(worker)
    }

    /// From now on a worker offers this.
    pub(crate) fn set_resources(&mut self, id: WorkerId, resources: Vec<(String, Amount)>) {
        let Some(worker) = self.list.get(&id) else { return };
        for name in worker.resources.keys() {
            forget(&mut self.offering, name, id);
        }
        for (name, _) in &resources {
            self.offering.entry(name.clone()).or_default().insert(id);
        }
        self.change(id, |worker| worker.resources = resources.into_iter().collect());
    }

    /// Who was told where this worker listens.
    pub(crate) fn forget_peer(&mut self, gone: WorkerId) -> Vec<WorkerId> {
        let told = |(id, worker): (&WorkerId, &mut Worker)| {
            worker.known_peers.remove(&gone).then_some(*id)
        };
        self.list.iter_mut().filter_map(told).collect()
    }

    pub(crate) fn of(&self, id: WorkerId) -> Option<&Worker> {
        self.list.get(&id)
    }

    /// For everything that no order depends on.
    pub(crate) fn of_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.list.get_mut(&id)
    }

    /// Changes what a worker has in hand or what is held back for it.
    pub(crate) fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let Some(worker) = self.list.get(&id) else { return };
        let before = self.ranks(worker);
        let Some(worker) = self.list.get_mut(&id) else { return };
        change(worker);
        let after = self.ranks(&self.list[&id]);
        if before != after {
            self.leave(id, before);
            self.enter(id, after);
        }
    }

    /// With room, and with the least in hand.
    pub(crate) fn first_roomy(&self) -> Option<WorkerId> {
        self.roomy.first().map(|(_, id)| *id)
    }

    /// The same of those that may be given what some call waits for, room or not.
    pub(crate) fn first_nesting(&self) -> Option<WorkerId> {
        self.nesting.first().map(|(_, id)| *id)
    }

    /// The same of those for which calls are held back.
    pub(crate) fn first_fillable(&self) -> Option<WorkerId> {
        self.fillable.first().map(|(_, id)| *id)
    }

    /// Those with a slot that has nothing to do, at most so many; those with the least in hand
    /// first, or those that come after this place, in a circle.
    pub(crate) fn idle(&self, after: Option<Place>, count_max: usize) -> Vec<Place> {
        let after = after.unwrap_or((u64::MAX, WorkerId(u32::MAX)));
        let rest = self.idle.range((Excluded(after), Unbounded));
        rest.chain(self.idle.range(..=after)).take(count_max).copied().collect()
    }

    /// Those for which calls are held back, most first; see [`last`].
    pub(crate) fn backlogged(&self, before: Option<Place>, count_max: usize) -> Vec<Place> {
        last(&self.backlogged, before, count_max)
    }

    /// Those with calls that cannot have begun, with the most in hand first; see [`last`].
    pub(crate) fn behind(&self, before: Option<Place>, count_max: usize) -> Vec<Place> {
        last(&self.behind, before, count_max)
    }

    /// The worker that would begin first with a call of these needs, if `suits` it.
    pub(crate) fn first_to_start(
        &self,
        needs: Option<&Needs>,
        suits: impl Fn(WorkerId, &Worker) -> bool,
    ) -> Option<WorkerId> {
        if let Some(few) = needs.and_then(|needs| self.few_that_match(needs)) {
            let suiting = few.into_iter().filter(|id| suits(*id, &self.list[id]));
            return suiting.min_by_key(|id| (self.list[id].start_us(), *id));
        }
        let mut in_order = self.by_start.iter().map(|(_, id)| *id);
        in_order.find(|id| suits(*id, &self.list[id]))
    }

    /// The workers that could meet these needs, if they are known to be few.
    fn few_that_match(&self, needs: &Needs) -> Option<BTreeSet<WorkerId>> {
        let named = |names: &BTreeMap<String, BTreeSet<WorkerId>>, name: &String| {
            names.get(name).cloned().unwrap_or_default()
        };
        let few: BTreeSet<_> = if !needs.any_of.is_empty() && !needs.prefer {
            needs.any_of.iter().flat_map(|name| named(&self.called, name)).collect()
        } else {
            named(&self.offering, &needs.resources.first()?.0)
        };
        (few.len() <= LOOKED_THROUGH_MAX).then_some(few)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.list.iter().map(|(id, worker)| (*id, worker))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Verifies that every order is true.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut anew = Self::new(self.config.clone());
        for (id, worker) in &self.list {
            anew.enter(*id, self.ranks(worker));
        }
        let same = anew.by_start == self.by_start
            && anew.roomy == self.roomy
            && anew.fillable == self.fillable
            && anew.nesting == self.nesting
            && anew.idle == self.idle
            && anew.behind == self.behind
            && anew.backlogged == self.backlogged;
        if same { Ok(()) } else { Err("an order of the workers is wrong".to_owned()) }
    }
}

/// At most so many of an order, the last first, or those that come before this place, in a circle.
fn last(order: &BTreeSet<Place>, before: Option<Place>, count_max: usize) -> Vec<Place> {
    let before = before.unwrap_or((u64::MAX, WorkerId(u32::MAX)));
    let rest = order.range(..before).rev();
    rest.chain(order.range(before..).rev()).take(count_max).copied().collect()
}

fn forget(index: &mut BTreeMap<String, BTreeSet<WorkerId>>, name: &str, id: WorkerId) {
    if let Some(ids) = index.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(name);
        }
    }
}
