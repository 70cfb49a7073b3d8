//! What is shared, through `wit/coordination.wit`.

use super::{Item, Wait};
use crate::bindings::grid::task::coordination as wit;
use crate::grid::{Error, Key, value_back, value_out};
use crate::value::Value;

/// An answer; `None` if it did not come about in time.
fn in_time<T>(given: Result<T, wit::Error>) -> Result<Option<T>, Error> {
    match given {
        Ok(given) => Ok(Some(given)),
        Err(wit::Error::TimedOut) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn item_out(item: Item<&Key>) -> wit::Item {
    match item {
        Item::Value(value) => wit::Item::Value(value_out(value)),
        Item::Call(key) => wit::Item::Call(key.clone()),
    }
}

fn item_back(item: wit::Item) -> Item<Key> {
    match item {
        wit::Item::Value(value) => Item::Value(value_back(value)),
        wit::Item::Call(key) => Item::Call(key),
    }
}

pub(super) fn variable_set(name: &str, item: Item<&Key>) -> Result<(), Error> {
    Ok(wit::variable_set(name, &item_out(item))?)
}

pub(super) fn variable_get(name: &str, wait: Wait) -> Result<Option<Item<Key>>, Error> {
    Ok(in_time(wit::variable_get(name, wait))?.map(item_back))
}

pub(super) fn variable_delete(name: &str) -> Result<(), Error> {
    Ok(wit::variable_delete(name)?)
}

pub(super) fn queue_put(
    name: &str,
    items_max: u32,
    item: Item<&Key>,
    wait: Wait,
) -> Result<Option<()>, Error> {
    in_time(wit::queue_put(name, items_max, &item_out(item), wait))
}

pub(super) fn queue_get(
    name: &str,
    items_max: u32,
    count_max: u32,
    wait: Wait,
) -> Result<Option<Vec<Item<Key>>>, Error> {
    let items = in_time(wit::queue_get(name, items_max, count_max, wait))?;
    Ok(items.map(|items| items.into_iter().map(item_back).collect()))
}

pub(super) fn queue_size(name: &str) -> Result<u64, Error> {
    Ok(wit::queue_size(name)?)
}

pub(super) fn queue_delete(name: &str) -> Result<(), Error> {
    Ok(wit::queue_delete(name)?)
}

pub(super) fn lock(name: &str, wait: Wait) -> Result<Option<u64>, Error> {
    in_time(wit::lock_acquire(name, wait))
}

pub(super) fn semaphore(name: &str, leases_max: u32, wait: Wait) -> Result<Option<u64>, Error> {
    in_time(wit::semaphore_acquire(name, leases_max, wait))
}

pub(super) fn release(lease: u64) {
    wit::release(lease);
}

pub(super) fn event_set(name: &str) -> Result<(), Error> {
    Ok(wit::event_set(name)?)
}

pub(super) fn event_clear(name: &str) -> Result<(), Error> {
    Ok(wit::event_clear(name)?)
}

pub(super) fn event_wait(name: &str, wait: Wait) -> Result<Option<()>, Error> {
    in_time(wit::event_wait(name, wait))
}

pub(super) fn event_is_set(name: &str) -> Result<bool, Error> {
    Ok(wit::event_is_set(name)?)
}

pub(super) fn topic_publish(name: &str, message: Value) -> Result<(), Error> {
    Ok(wit::topic_publish(name, &value_out(message))?)
}

pub(super) fn dataset_publish(name: &str, keys: &[&Key], replace: bool) -> Result<(), Error> {
    let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
    Ok(wit::dataset_publish(name, &keys, replace)?)
}

pub(super) fn dataset_get(name: &str) -> Result<Vec<Key>, Error> {
    Ok(wit::dataset_get(name)?)
}

pub(super) fn dataset_list() -> Result<Vec<String>, Error> {
    Ok(wit::dataset_list()?)
}

pub(super) fn dataset_unpublish(name: &str) -> Result<(), Error> {
    Ok(wit::dataset_unpublish(name)?)
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Refused(message) => Self::Refused(message),
            wit::Error::TimedOut => Self::Unavailable("the wait was ended".to_owned()),
            wit::Error::OverLimit(message) => Self::OverLimit(message),
            wit::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
