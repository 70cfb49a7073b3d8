//! The twin for native runs: all threads of this process share. Who comes first is not settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Item, Wait};
use crate::grid::{Error, Key, again, ran};
use crate::value::Value;

/// As on a grid.
const ITEM_BYTES_MAX: usize = 64 << 10;
const QUEUE_ITEMS_DEFAULT: u32 = 10_000;

/// An item that is here; a call has run.
type Held = Item<Result<Value, Error>>;

struct Registry {
    variables: BTreeMap<String, Held>,
    queues: BTreeMap<String, Queue>,
    /// Locks and semaphores that are held.
    leased: BTreeMap<Place, Leased>,
    leases: BTreeMap<u64, Place>,
    leases_given: u64,
    /// Those that are set.
    events: BTreeSet<String>,
    datasets: BTreeMap<String, Vec<Result<Value, Error>>>,
}

struct Queue {
    items: VecDeque<Held>,
    items_max: u32,
}

/// Semaphore or not, and the name.
type Place = (bool, String);

struct Leased {
    holders: u32,
    leases_max: u32,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    variables: BTreeMap::new(),
    queues: BTreeMap::new(),
    leased: BTreeMap::new(),
    leases: BTreeMap::new(),
    leases_given: 0,
    events: BTreeSet::new(),
    datasets: BTreeMap::new(),
});
static CHANGED: Condvar = Condvar::new();

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn change<T>(change: impl FnOnce(&mut Registry) -> T) -> T {
    let changed = change(&mut registry());
    CHANGED.notify_all();
    changed
}

/// Looks whenever something has changed, until it finds something; `None` if it does not in time.
fn wait_for<T>(
    wait: Wait,
    mut look: impl FnMut(&mut Registry) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let mut found = None;
    let waits = |registry: &mut Registry| {
        found = look(registry).transpose();
        found.is_none()
    };
    match wait {
        None => drop(CHANGED.wait_while(registry(), waits)),
        Some(ms) => {
            drop(CHANGED.wait_timeout_while(registry(), Duration::from_millis(ms), waits));
        }
    }
    CHANGED.notify_all();
    found.transpose()
}

fn held(item: Item<&Key>) -> Result<Held, Error> {
    Ok(match item {
        Item::Value(value) => Item::Value(checked(value)?),
        Item::Call(key) => Item::Call(ran(key)),
    })
}

fn checked(value: Value) -> Result<Value, Error> {
    match value.bytes.len() {
        0..=ITEM_BYTES_MAX => Ok(value),
        size => Err(Error::OverLimit(format!(
            "a shared value has at most {ITEM_BYTES_MAX} bytes; this one has {size}: share a call \
             that gives it"
        ))),
    }
}

fn copy(held: &Held) -> Item<Key> {
    match held {
        Item::Value(value) => Item::Value(value.clone()),
        Item::Call(result) => Item::Call(again(result.clone())),
    }
}

fn unknown(what: &str, name: &str) -> Error {
    Error::Refused(format!("no {what} is named `{name}`"))
}

pub(super) fn variable_set(name: &str, item: Item<&Key>) -> Result<(), Error> {
    let held = held(item)?;
    change(|registry| registry.variables.insert(name.to_owned(), held));
    Ok(())
}

pub(super) fn variable_get(name: &str, wait: Wait) -> Result<Option<Item<Key>>, Error> {
    wait_for(wait, |registry| Ok(registry.variables.get(name).map(copy)))
}

pub(super) fn variable_delete(name: &str) -> Result<(), Error> {
    let deleted = change(|registry| registry.variables.remove(name));
    deleted.map(drop).ok_or_else(|| unknown("variable", name))
}

impl Registry {
    /// It exists from its first use; one that was deleted meanwhile does not come back.
    fn queue(&mut self, name: &str, items_max: u32, first: bool) -> Result<&mut Queue, Error> {
        if first && !self.queues.contains_key(name) {
            let items_max = if items_max == 0 { QUEUE_ITEMS_DEFAULT } else { items_max };
            self.queues.insert(name.to_owned(), Queue { items: VecDeque::new(), items_max });
        }
        let queue = self.queues.get_mut(name).ok_or_else(|| unknown("queue", name))?;
        if items_max != 0 && items_max != queue.items_max {
            let known = queue.items_max;
            let message = format!("queue `{name}` holds at most {known} items, not {items_max}");
            return Err(Error::OverLimit(message));
        }
        Ok(queue)
    }
}

pub(super) fn queue_put(
    name: &str,
    items_max: u32,
    item: Item<&Key>,
    wait: Wait,
) -> Result<Option<()>, Error> {
    let mut held = Some(held(item)?);
    let mut first = true;
    wait_for(wait, |registry| {
        let queue = registry.queue(name, items_max, std::mem::take(&mut first))?;
        if queue.items.len() >= queue.items_max as usize {
            return Ok(None);
        }
        queue.items.extend(held.take());
        Ok(Some(()))
    })
}

pub(super) fn queue_get(
    name: &str,
    items_max: u32,
    count_max: u32,
    wait: Wait,
) -> Result<Option<Vec<Item<Key>>>, Error> {
    let mut first = true;
    wait_for(wait, |registry| {
        let queue = registry.queue(name, items_max, std::mem::take(&mut first))?;
        let count = queue.items.len().min(count_max.max(1) as usize);
        let taken: Vec<_> = queue.items.drain(..count).map(|held| copy(&held)).collect();
        Ok(Some(taken).filter(|taken| !taken.is_empty()))
    })
}

pub(super) fn queue_size(name: &str) -> Result<u64, Error> {
    let size = registry().queues.get(name).map(|queue| queue.items.len() as u64);
    size.ok_or_else(|| unknown("queue", name))
}

pub(super) fn queue_delete(name: &str) -> Result<(), Error> {
    let deleted = change(|registry| registry.queues.remove(name));
    deleted.map(drop).ok_or_else(|| unknown("queue", name))
}

pub(super) fn lock(name: &str, wait: Wait) -> Result<Option<u64>, Error> {
    acquire(&(false, name.to_owned()), 1, wait)
}

pub(super) fn semaphore(name: &str, leases_max: u32, wait: Wait) -> Result<Option<u64>, Error> {
    acquire(&(true, name.to_owned()), leases_max, wait)
}

fn acquire(place: &Place, leases_max: u32, wait: Wait) -> Result<Option<u64>, Error> {
    let name = &place.1;
    if leases_max == 0 {
        return Err(Error::OverLimit(format!("semaphore `{name}` needs at least one lease")));
    }
    wait_for(wait, |registry| {
        let free = || Leased { holders: 0, leases_max };
        let leased = registry.leased.entry(place.clone()).or_insert_with(free);
        if leased.leases_max != leases_max {
            let known = leased.leases_max;
            let message = format!(
                "semaphore `{name}` has {known} leases as long as it is in use, not {leases_max}"
            );
            return Err(Error::OverLimit(message));
        }
        if leased.holders == leases_max {
            return Ok(None);
        }
        leased.holders += 1;
        registry.leases_given += 1;
        registry.leases.insert(registry.leases_given, place.clone());
        Ok(Some(registry.leases_given))
    })
}

pub(super) fn release(lease: u64) {
    change(|registry| {
        let Some(place) = registry.leases.remove(&lease) else { return };
        let Some(leased) = registry.leased.get_mut(&place) else { return };
        leased.holders -= 1;
        if leased.holders == 0 {
            registry.leased.remove(&place);
        }
    });
}

pub(super) fn event_set(name: &str) -> Result<(), Error> {
    change(|registry| registry.events.insert(name.to_owned()));
    Ok(())
}

pub(super) fn event_clear(name: &str) -> Result<(), Error> {
    change(|registry| registry.events.remove(name));
    Ok(())
}

pub(super) fn event_wait(name: &str, wait: Wait) -> Result<Option<()>, Error> {
    wait_for(wait, |registry| Ok(registry.events.contains(name).then_some(())))
}

pub(super) fn event_is_set(name: &str) -> Result<bool, Error> {
    Ok(registry().events.contains(name))
}

pub(super) fn topic_publish(_name: &str, message: Value) -> Result<(), Error> {
    checked(message).map(drop)
}

pub(super) fn dataset_publish(name: &str, keys: &[&Key], replace: bool) -> Result<(), Error> {
    let results = keys.iter().map(|key| ran(key)).collect();
    change(|registry| {
        if !replace && registry.datasets.contains_key(name) {
            return Err(Error::Refused(format!("there is a dataset `{name}` already")));
        }
        registry.datasets.insert(name.to_owned(), results);
        Ok(())
    })
}

pub(super) fn dataset_get(name: &str) -> Result<Vec<Key>, Error> {
    let results = registry().datasets.get(name).cloned();
    let results = results.ok_or_else(|| unknown("dataset", name))?;
    Ok(results.into_iter().map(again).collect())
}

pub(super) fn dataset_list() -> Result<Vec<String>, Error> {
    Ok(registry().datasets.keys().cloned().collect())
}

pub(super) fn dataset_unpublish(name: &str) -> Result<(), Error> {
    let unpublished = change(|registry| registry.datasets.remove(name));
    unpublished.map(drop).ok_or_else(|| unknown("dataset", name))
}
