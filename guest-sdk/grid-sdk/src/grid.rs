//! The grid from inside a task: calls that the running call submits, and waits for.
//!
//! ```
//! use grid_sdk::{grid, task};
//!
//! /// The `n`th Fibonacci number, as calls of calls.
//! #[task]
//! pub fn fibonacci(n: u32) -> Result<u64, grid::Error> {
//!     if n < 2 {
//!         return Ok(n.into());
//!     }
//!     let both = grid::map([fibonacci::call(n - 1), fibonacci::call(n - 2)])?;
//!     Ok(grid::gather(&both)?.into_iter().sum())
//! }
//!
//! grid_sdk::bundle!(fibonacci);
//! // Natively the calls run in this process, at once and one after the other.
//! assert_eq!(fibonacci(10).unwrap(), 55);
//! ```
//!
//! While it waits, a call gives its slot to others; its sandbox stays. The time does not count
//! against its limit. What it submitted and nobody else wants ends with it: a [`Pending`] that is
//! dropped, the call's own end, its cancellation. A failure of a child is a value
//! ([`Error::Failed`]) that `?` passes on.

use std::fmt;
use std::marker::PhantomData;

use crate::call::{ArgNode, Call, IntoArg};
use crate::value::{FromValue, Value};

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod sandbox;

#[cfg(not(target_family = "wasm"))]
use native as inside;
#[cfg(target_family = "wasm")]
use sandbox as inside;

pub(crate) use inside::Key;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{again, ran};
#[cfg(target_family = "wasm")]
pub(crate) use sandbox::{set_own_bundle, value_back, value_out};

/// Why a call has no result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildFailure {
    /// The kind as counters name it, for instance `user-error`.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// The chain of causes of a user error, outermost first.
    pub causes: Vec<String>,
    /// `bundle:task` of the call that failed; it may be an input of the one that was waited for.
    pub task: String,
}

/// Why the grid gives no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The call has no result.
    Failed(ChildFailure),
    /// The submission breaks a rule: something that it names is unknown, the arguments do not fit,
    /// it is nested too deeply, or it would wait for itself.
    Refused(String),
    /// Too many calls are submitted and not let go of, too many wait on this worker, or what is shared
    /// by name has no room.
    OverLimit(String),
    /// There is no grid to ask.
    Unavailable(String),
    /// An argument cannot be encoded, or the result is of another type.
    Value(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => {
                write!(formatter, "`{}` failed: {}", failure.task, failure.kind)?;
                write!(formatter, ": {}", failure.message)?;
                failure.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
            }
            Self::Refused(message)
            | Self::OverLimit(message)
            | Self::Unavailable(message)
            | Self::Value(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// A handle on a call that the running call submitted or was given by [`crate::coordination`]. When
/// it is dropped, the call is let go of: it is stopped if nobody else wants it.
///
/// It is an argument for further calls, as a client's future is.
pub struct Pending<T> {
    key: Key,
    output: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Pending").field(&self.key).finish()
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        inside::release(&self.key);
    }
}

impl<T> IntoArg<T> for &Pending<T> {
    fn into_arg(self) -> ArgNode {
        inside::argument(&self.key)
    }
}

impl<T> Pending<T> {
    /// A handle on a call that the running call holds from now on.
    pub(crate) fn held(key: Key) -> Self {
        Self { key, output: PhantomData }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl<T: FromValue> Pending<T> {
    /// Waits for the call and gives its result.
    ///
    /// # Errors
    /// [`Error::Failed`] when it has none; others when it cannot be had.
    pub fn result(&self) -> Result<T, Error> {
        let value: Value = inside::fetch(&self.key)?;
        T::from_value(value)
            .map_err(|error| Error::Value(format!("the result cannot be read: {error}")))
    }
}

/// Submits a call, with the calls among its arguments.
///
/// # Errors
/// [`Error::OverLimit`], [`Error::Value`]. What the scheduler refuses, [`Pending::result`] tells.
pub fn submit<T>(call: Call<T>) -> Result<Pending<T>, Error> {
    map([call]).map(|mut pending| pending.remove(0))
}

/// Submits many calls at once; gives their handles in the same order. What they share among their
/// arguments runs once.
///
/// # Errors
/// As [`submit`].
pub fn map<T>(calls: impl IntoIterator<Item = Call<T>>) -> Result<Vec<Pending<T>>, Error> {
    let calls: Vec<_> = calls.into_iter().map(Call::into_node).collect();
    let keys = inside::submit(&calls)?;
    Ok(keys.into_iter().map(Pending::held).collect())
}

/// Submits a call and waits for its result.
///
/// # Errors
/// As [`submit`] and [`Pending::result`].
pub fn run<T: FromValue>(call: Call<T>) -> Result<T, Error> {
    submit(call)?.result()
}

/// Waits for all of them; gives their results in order.
///
/// # Errors
/// The first in that order.
pub fn gather<'a, T: FromValue + 'a>(
    pending: impl IntoIterator<Item = &'a Pending<T>>,
) -> Result<Vec<T>, Error> {
    let pending: Vec<_> = pending.into_iter().collect();
    wait_all(pending.iter().copied())?;
    pending.into_iter().map(Pending::result).collect()
}

/// Waits until all of them have ended, with or without a result.
///
/// # Errors
/// [`Error::OverLimit`] when too many calls wait on this worker.
pub fn wait_all<'a, T: 'a>(pending: impl IntoIterator<Item = &'a Pending<T>>) -> Result<(), Error> {
    inside::wait_all(pending.into_iter().map(|pending| &pending.key))
}

/// Waits until one of them has ended, with or without a result; gives its position.
///
/// # Errors
/// [`Error::Refused`] for none at all; [`Error::OverLimit`] when too many calls wait on this worker.
pub fn wait_any<'a, T: 'a>(
    pending: impl IntoIterator<Item = &'a Pending<T>>,
) -> Result<usize, Error> {
    inside::wait_any(pending.into_iter().map(|pending| &pending.key))
}

/// Ends this attempt and has the call run again, on another worker where there is one: for what is
/// missing here and may be there. A call that asks too often fails.
///
/// # Panics
/// Natively, where there is no other worker.
pub fn reschedule() -> ! {
    inside::reschedule()
}
