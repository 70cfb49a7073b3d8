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
    list: BTreeMap<WorkerId, Listed>,
    /// Workers by each of their names, labels and hosts, and by what they offer.
    called: BTreeMap<String, BTreeSet<WorkerId>>,
    offering: BTreeMap<String, BTreeSet<WorkerId>>,
    /// Those of one name or offer, by when a call that comes now would start: of what calls have asked
    /// for and more than a few workers have.
    named: BTreeMap<String, BTreeSet<Place>>,
    offers: BTreeMap<String, BTreeMap<Amount, BTreeSet<Place>>>,
    orders: [BTreeSet<Place>; ORDERS],
}

/// The orders that all workers, or some, have places in.
#[derive(Clone, Copy)]
enum Order {
    /// All, by when a call that comes now would start.
    Start,
    /// Those with room, by what they have in hand.
    Roomy,
    /// Those with room and calls that are held back for them.
    Fillable,
    /// Those that may be given, beyond their room, what some call waits for.
    Nesting,
    /// Those with room and a slot that has nothing to do, and those with calls that cannot have
    /// begun, by what they have in hand.
    Idle,
    Behind,
    /// Those with calls that are held back for them, by how much.
    Backlogged,
}

const ORDERS: usize = Order::Backlogged as usize + 1;

/// What places a worker in each order, where it has a place.
type Ranks = [Option<u64>; ORDERS];

#[derive(Debug)]
struct Listed {
    worker: Worker,
    /// As they are in the orders.
    ranks: Ranks,
}

/// The workers that could meet some needs.
enum Groups<'a> {
    All,
    Few(BTreeSet<WorkerId>),
    /// Each in the order of their starts.
    Crowds(Vec<&'a BTreeSet<Place>>),
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
            orders: Default::default(),
        }
    }

    fn order(&self, order: Order) -> &BTreeSet<Place> {
        &self.orders[order as usize]
    }

    /// Moves a worker in those orders in which its place is another.
    fn rank(&mut self, id: WorkerId, before: Ranks, after: Ranks) {
        for (place, order) in self.orders.iter_mut().enumerate() {
            let (before, after) = (before[place], after[place]);
            if before == after {
                continue;
            }
            if let Some(before) = before {
                order.remove(&(before, id));
            }
            if let Some(after) = after {
                order.insert((after, id));
            }
        }
    }

    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        let ranks = ranks(&self.config, &worker);
        self.rank(id, Ranks::default(), ranks);
        for name in worker.names() {
            self.called.entry(name.clone()).or_default().insert(id);
        }
        for name in worker.resources.keys() {
            self.offering.entry(name.clone()).or_default().insert(id);
        }
        self.join_crowds(id, &worker);
        self.list.insert(id, Listed { worker, ranks });
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let Listed { worker, ranks } = self.list.remove(&id)?;
        self.rank(id, ranks, Ranks::default());
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
        let Some(Listed { worker, .. }) = self.list.get(&id) else { return };
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
        let told = |(id, listed): (&WorkerId, &mut Listed)| {
            listed.worker.known_peers.remove(&gone).then_some(*id)
        };
        self.list.iter_mut().filter_map(told).collect()
    }

    pub(crate) fn of(&self, id: WorkerId) -> Option<&Worker> {
        self.list.get(&id).map(|listed| &listed.worker)
    }

    /// For everything that no order depends on.
    pub(crate) fn of_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.list.get_mut(&id).map(|listed| &mut listed.worker)
    }

    /// Changes what a worker has in hand or what is held back for it.
    pub(crate) fn change(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        let Some(listed) = self.list.get_mut(&id) else { return };
        change(&mut listed.worker);
        let after = ranks(&self.config, &listed.worker);
        let before = std::mem::replace(&mut listed.ranks, after);
        self.rank(id, before, after);
        let in_crowds = !self.named.is_empty() || !self.offers.is_empty();
        if let (Some(before_us), Some(after_us)) = (start_us(&before), start_us(&after))
            && before_us != after_us
            && in_crowds
        {
            self.move_in_crowds(id, before_us, after_us);
        }
    }

    /// With room, and with the least in hand.
    pub(crate) fn first_roomy(&self) -> Option<WorkerId> {
        self.order(Order::Roomy).first().map(|(_, id)| *id)
    }

    /// The same of those that may be given what some call waits for, room or not.
    pub(crate) fn first_nesting(&self) -> Option<WorkerId> {
        self.order(Order::Nesting).first().map(|(_, id)| *id)
    }

    /// The same of those for which calls are held back.
    pub(crate) fn first_fillable(&self) -> Option<WorkerId> {
        self.order(Order::Fillable).first().map(|(_, id)| *id)
    }

    /// Those with a slot that has nothing to do, at most so many; those with the least in hand
    /// first, or those that come after this place, in a circle.
    pub(crate) fn idle(&self, after: Option<Place>, count_max: usize) -> Vec<Place> {
        let after = after.unwrap_or((u64::MAX, WorkerId(u32::MAX)));
        let idle = self.order(Order::Idle);
        let rest = idle.range((Excluded(after), Unbounded));
        rest.chain(idle.range(..=after)).take(count_max).copied().collect()
    }

    /// Those for which calls are held back, most first; see [`last`].
    pub(crate) fn backlogged(&self, before: Option<Place>, count_max: usize) -> Vec<Place> {
        last(self.order(Order::Backlogged), before, count_max)
    }

    /// Those with calls that cannot have begun, with the most in hand first; see [`last`].
    pub(crate) fn behind(&self, before: Option<Place>, count_max: usize) -> Vec<Place> {
        last(self.order(Order::Behind), before, count_max)
    }

    /// The worker that would begin first with a call of these needs, if `suits` it.
    pub(crate) fn first_to_start(
        &self,
        needs: Option<&Needs>,
        suits: impl Fn(WorkerId, &Worker) -> bool,
    ) -> Option<WorkerId> {
        match needs.map_or(Groups::All, |needs| self.groups(needs)) {
            Groups::All => {
                let mut in_order = self.order(Order::Start).iter().map(|(_, id)| *id);
                in_order.find(|id| suits(*id, &self.list[id].worker))
            }
            Groups::Few(few) => {
                let suiting = few.into_iter().filter(|id| suits(*id, &self.list[id].worker));
                suiting.min_by_key(|id| (self.list[id].worker.start_us(), *id))
            }
            Groups::Crowds(crowds) => {
                let first = |crowd: &BTreeSet<Place>| {
                    crowd.iter().find(|(_, id)| suits(*id, &self.list[id].worker)).copied()
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
        let place = |id: &WorkerId| (self.list[id].worker.start_us(), *id);
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
                let amount = self.list[id].worker.resources.get(name).copied().unwrap_or_default();
                offers.entry(amount).or_default().insert(place(id));
            }
            self.offers.insert(name.clone(), offers);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.list.iter().map(|(id, listed)| (*id, &listed.worker))
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
        for (id, worker) in self.iter() {
            anew.rank(id, Ranks::default(), ranks(&self.config, worker));
        }
        let same = anew.orders == self.orders;
        let mut members = self.named.iter().map(|(name, crowd)| (self.called.get(name), crowd));
        let in_place = |(start_us, id): &Place| {
            self.of(*id).is_some_and(|worker| worker.start_us() == *start_us)
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
                    in_place(place)
                        && self.list[&place.1].worker.resources.get(name) == Some(amount)
                };
                known
                    && offers
                        .iter()
                        .all(|(amount, crowd)| crowd.iter().all(|one| right(amount, one)))
            });
        if same { Ok(()) } else { Err("an order of the workers is wrong".to_owned()) }
    }
}

fn start_us(ranks: &Ranks) -> Option<u64> {
    ranks[Order::Start as usize]
}

fn ranks(config: &Config, worker: &Worker) -> Ranks {
    let roomy = worker.has_room(config);
    let nesting = !worker.waiting.is_empty() && worker.has_room_for_nested();
    let next = worker.next_held_back();
    let fillable = next.is_some_and(|(next, _)| roomy || (nesting && next.nesting < 0));
    let in_hand_us = worker.in_hand_us();
    let by_hand = |belongs: bool| belongs.then_some(in_hand_us);
    let backlog = &worker.backlog;
    let mut ranks = Ranks::default();
    ranks[Order::Start as usize] = Some(worker.start_us());
    ranks[Order::Roomy as usize] = by_hand(roomy);
    ranks[Order::Fillable as usize] = by_hand(fillable);
    ranks[Order::Nesting as usize] = by_hand(nesting);
    ranks[Order::Idle as usize] = by_hand(roomy && worker.is_idle());
    ranks[Order::Behind as usize] = by_hand(worker.not_begun() > 0);
    ranks[Order::Backlogged as usize] = (!backlog.is_empty()).then(|| backlog.expected_us());
    ranks
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
