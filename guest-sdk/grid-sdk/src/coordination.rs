//! What tasks and programs share by name: variables, queues, locks, semaphores, events, topics and
//! datasets. All of it is the grid's, the same that a client's `variable`, `queue` and so on name.
//!
//! ```
//! use grid_sdk::coordination::{Lock, Queue, Variable};
//! use grid_sdk::{grid, task};
//!
//! /// Counts what it takes out of a queue, until there is nothing for a second.
//! #[task(pure = false)]
//! pub fn count(queue: String) -> Result<u64, grid::Error> {
//!     let queue = Queue::<String>::new(queue);
//!     let mut count = 0;
//!     while let Some(_word) = queue.get_within(std::time::Duration::from_secs(1))? {
//!         count += 1;
//!     }
//!     // One at a time, in the whole grid.
//!     let held = Lock::new("total").acquire()?;
//!     let total = Variable::new("total");
//!     let before = match total.get_within(std::time::Duration::ZERO)? {
//!         Some(before) => before.result()?,
//!         None => 0,
//!     };
//!     total.set(before + count)?;
//!     held.release();
//!     Ok(count)
//! }
//!
//! grid_sdk::bundle!(count);
//! // Natively all threads of this process share.
//! Queue::new("words").put("hello".to_owned()).unwrap();
//! assert_eq!(count("words".to_owned()).unwrap(), 1);
//! ```
//!
//! While it waits, a call gives its slot to others, so a producer and a consumer get along with one
//! slot; the time does not count against its limit. First come, first served. When a call ends, be it
//! by a trap, a cancel or the death of its worker, its [`Lease`]s end; what it set, put and
//! published stays.
//!
//! Such a task depends on what others do and changes what they see: say `pure = false`, unless its
//! result follows from its arguments all the same (a semaphore that spares a database). A pure call
//! may run once for many callers, not at all, or again.
//!
//! Values are small (64 KiB encoded); of anything larger, share a [`Pending`] call.

mod datasets;
mod leases;
mod queues;
mod signals;
#[cfg(test)]
mod tests;
mod variables;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod sandbox;

#[cfg(not(target_family = "wasm"))]
use native as inside;
#[cfg(target_family = "wasm")]
use sandbox as inside;

use std::time::Duration;

pub use datasets::Dataset;
pub use leases::{Lease, Lock, Semaphore};
pub use queues::Queue;
pub use signals::{Event, Topic};
pub use variables::Variable;

use crate::grid::{Error, Key, Pending};
use crate::value::{FromValue, IntoValue, Value};

/// What a variable holds or a queue gives: a small value, or a call on whose result it is.
#[derive(Debug)]
pub enum Shared<T> {
    /// The value itself.
    Value(T),
    /// A call whose result it is; also an argument for further calls.
    Call(Pending<T>),
}

impl<T: FromValue> Shared<T> {
    /// The value, or the call's result, for which it waits.
    ///
    /// # Errors
    /// As [`Pending::result`].
    pub fn result(self) -> Result<T, Error> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Call(pending) => pending.result(),
        }
    }

    fn of(item: Item<Key>) -> Result<Self, Error> {
        match item {
            Item::Value(value) => match T::from_value(value) {
                Ok(value) => Ok(Self::Value(value)),
                Err(error) => {
                    Err(Error::Value(format!("the shared value cannot be read: {error}")))
                }
            },
            Item::Call(key) => Ok(Self::Call(Pending::held(key))),
        }
    }
}

/// What is held under a name.
enum Item<K> {
    Value(Value),
    Call(K),
}

/// Milliseconds; `None` is for ever.
type Wait = Option<u64>;

/// Milliseconds, rounded up, so that a short wait is none at all only if it is zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn encode<T: IntoValue>(value: T) -> Result<Value, Error> {
    let unencodable = |error| Error::Value(format!("the value cannot be encoded: {error}"));
    value.into_value().map_err(unencodable)
}

fn item<T: IntoValue>(value: T) -> Result<Item<&'static Key>, Error> {
    encode(value).map(Item::Value)
}

/// What was waited for without a limit.
fn given<T>(given: Option<T>) -> Result<T, Error> {
    given.ok_or_else(|| Error::Unavailable("the wait was ended".to_owned()))
}
