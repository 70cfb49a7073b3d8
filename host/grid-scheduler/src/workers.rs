//! The connected workers, and the orders in which the machine looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use grid_proto::{Amount, WorkerId};
use smallvec::SmallVec;

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
    /// Those of one name or offer, by when a call that comes now would start: of what calls have asked
    /// for and more than a few workers have.
    named: BTreeMap<String, BTreeSet<Place>>,
    offers: BTreeMap<String, BTreeMap<Amount, BTreeSet<Place>>>,
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

/// The workers that could meet some needs.
enum Groups<'a> {
    All,
    Few(BTreeSet<WorkerId>),
    /// Each in the order of their starts.
    Crowds(Vec<&'a BTreeSet<Place>>),
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
            named: BTreeMap::new(),
            offers: BTreeMap::new(),
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
        self.join_crowds(id, &worker);
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
        self.leave_crowds(id, worker.start_us(), &worker);
        Some(worker)
    }

    fn join_crowds(&mut self, id: WorkerId, worker: &Worker) {
        let place = (worker.start_us(), id);
        for name in worker.names() {
            if let Some(crowd) = self.named.get_mut(name) {
                crowd.insert(place);
            }
        }
        for (name, amount) in &worker.resources {
            if let Some(offers) = self.offers.get_mut(name) {
                offers.entry(*amount).or_default().insert(place);
            }
        }
    }

    fn move_in_crowds(&mut self, id: WorkerId, from_us: u64, to_us: u64) {
        let Some(worker) = self.list.get(&id) else { return };
        let named = worker.names().filter(|name| self.named.contains_key(*name));
        let named: SmallVec<[String; 2]> = named.cloned().collect();
        let offered = worker.resources.iter().filter(|(name, _)| self.offers.contains_key(*name));
        let offered: SmallVec<[(String, Amount); 2]> =
            offered.map(|(name, amount)| (name.clone(), *amount)).collect();
        for name in &named {
            let crowd = self.named.get_mut(name);
            crowd.into_iter().for_each(|crowd| move_place(crowd, id, from_us, to_us));
        }
        for (name, amount) in &offered {
            let crowd = self.offers.get_mut(name).and_then(|offers| offers.get_mut(amount));
            crowd.into_iter().for_each(|crowd| move_place(crowd, id, from_us, to_us));
        }
    }

    fn leave_crowds(&mut self, id: WorkerId, start_us: u64, worker: &Worker) {
        for name in worker.names() {
            if let Some(crowd) = self.named.get_mut(name) {
                crowd.remove(&(start_us, id));
                if crowd.is_empty() {
                    self.named.remove(name);
                }
            }
        }
        for (name, amount) in &worker.resources {
            if let Some(offers) = self.offers.get_mut(name)
                && let Some(crowd) = offers.get_mut(amount)
            {
                crowd.remove(&(start_us, id));
                if crowd.is_empty() {
                    offers.remove(amount);
                }
                if offers.is_empty() {
                    self.offers.remove(name);
                }
            }
        }
    }

    /// From now on a worker offers this.
    pub(crate) fn set_resources(&mut self, id: WorkerId, resources: Vec<(String, Amount)>) {
        let Some(mut worker) = self.remove(id) else { return };
        worker.resources = resources.into_iter().collect();
        self.insert(id, worker);
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
        let in_crowds = !self.named.is_empty() || !self.offers.is_empty();
        if before.start_us != after.start_us && in_crowds {
            self.move_in_crowds(id, before.start_us, after.start_us);
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
        match needs.map_or(Groups::All, |needs| self.groups(needs)) {
            Groups::All => {
                let mut in_order = self.by_start.iter().map(|(_, id)| *id);
                in_order.find(|id| suits(*id, &self.list[id]))
            }
            Groups::Few(few) => {
                let suiting = few.into_iter().filter(|id| suits(*id, &self.list[id]));
                suiting.min_by_key(|id| (self.list[id].start_us(), *id))
            }
            Groups::Crowds(crowds) => {
                let first = |crowd: &BTreeSet<Place>| {
                    crowd.iter().find(|(_, id)| suits(*id, &self.list[id])).copied()
                };
                crowds.into_iter().filter_map(first).min().map(|(_, id)| id)
            }
        }
    }

    /// The workers that could meet these needs, in groups.
    fn groups(&self, needs: &Needs) -> Groups<'_> {
        let none = BTreeSet::new();
        let by_name = !needs.any_of.is_empty() && !needs.prefer;
        let resource = needs.resources.first();
        let groups: SmallVec<[&BTreeSet<WorkerId>; 4]> = match (by_name, resource) {
            (true, _) => needs.any_of.iter().filter_map(|name| self.called.get(name)).collect(),
            (false, Some((name, _))) => {
                SmallVec::from_elem(self.offering.get(name).unwrap_or(&none), 1)
            }
            (false, None) => return Groups::All,
        };
        if groups.iter().map(|group| group.len()).sum::<usize>() <= LOOKED_THROUGH_MAX {
            return Groups::Few(groups.into_iter().flatten().copied().collect());
        }
        let known = match resource {
            Some((name, _)) if !by_name => self.offers.contains_key(name),
            Some(_) | None => {
                let mut called = needs.any_of.iter().filter(|name| self.called.contains_key(*name));
                called.all(|name| self.named.contains_key(name))
            }
        };
        if !known {
            return Groups::All;
        }
        let crowds = match resource {
            Some((name, amount)) if !by_name => {
                let offers = self.offers.get(name).into_iter();
                offers.flat_map(|offers| offers.range(*amount..)).map(|(_, crowd)| crowd).collect()
            }
            Some(_) | None => needs.any_of.iter().filter_map(|name| self.named.get(name)).collect(),
        };
        Groups::Crowds(crowds)
    }

    /// Calls of these needs are about to be placed: from now on workers that could meet them are kept
    /// in the order of their starts, if they are many.
    pub(crate) fn expect(&mut self, needs: &Needs) {
        if matches!(self.groups(needs), Groups::Few(_)) {
            return;
        }
        let place = |id: &WorkerId| (self.list[id].start_us(), *id);
        if !needs.any_of.is_empty() && !needs.prefer {
            for name in &needs.any_of {
                if let Some(called) = self.called.get(name)
                    && !self.named.contains_key(name)
                {
                    self.named.insert(name.clone(), called.iter().map(place).collect());
                }
            }
        } else if let Some((name, _)) = needs.resources.first()
            && !self.offers.contains_key(name)
        {
            let mut offers = BTreeMap::<_, BTreeSet<_>>::new();
            for id in self.offering.get(name).into_iter().flatten() {
                let amount = self.list[id].resources.get(name).copied().unwrap_or_default();
                offers.entry(amount).or_default().insert(place(id));
            }
            self.offers.insert(name.clone(), offers);
        }
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
        let mut members = self.named.iter().map(|(name, crowd)| (self.called.get(name), crowd));
        let in_place = |(start_us, id): &Place| {
            self.list.get(id).is_some_and(|worker| worker.start_us() == *start_us)
        };
        let whole = members.all(|(called, crowd)| {
            called.is_some_and(|called| called.len() == crowd.len()) && crowd.iter().all(in_place)
        });
        let same = same
            && whole
            && self.offers.iter().all(|(name, offers)| {
                let all = offers.values().map(BTreeSet::len).sum::<usize>();
                let known = self.offering.get(name).is_some_and(|offering| offering.len() == all);
                let right = |amount: &Amount, place: &Place| {
                    in_place(place) && self.list[&place.1].resources.get(name) == Some(amount)
                };
                known
                    && offers
                        .iter()
                        .all(|(amount, crowd)| crowd.iter().all(|one| right(amount, one)))
            });
        if same { Ok(()) } else { Err("an order of the workers is wrong".to_owned()) }
    }
}

/// At most so many of an order, the last first, or those that come before this place, in a circle.
fn last(order: &BTreeSet<Place>, before: Option<Place>, count_max: usize) -> Vec<Place> {
    let before = before.unwrap_or((u64::MAX, WorkerId(u32::MAX)));
    let rest = order.range(..before).rev();
    rest.chain(order.range(before..).rev()).take(count_max).copied().collect()
}

fn move_place(crowd: &mut BTreeSet<Place>, id: WorkerId, from_us: u64, to_us: u64) {
    crowd.remove(&(from_us, id));
    crowd.insert((to_us, id));
}

fn forget(index: &mut BTreeMap<String, BTreeSet<WorkerId>>, name: &str, id: WorkerId) {
    if let Some(ids) = index.get_mut(name) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(name);
        }
    }
}
