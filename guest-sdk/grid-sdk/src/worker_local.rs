//! Values that outlive the call on its worker: what is costly to make, and the same for all calls of
//! the bundle.
//!
//! ```
//! use grid_sdk::{task, worker_local};
//!
//! /// Which of the words are stop words.
//! #[task]
//! pub fn stop_words(words: Vec<String>) -> Vec<bool> {
//!     // Made once on each worker, however many calls run there.
//!     let list = worker_local("stop words", || {
//!         let mut list: Vec<_> = ["the", "a", "of"].map(String::from).to_vec();
//!         list.sort();
//!         list
//!     });
//!     words.iter().map(|word| list.binary_search(word).is_ok()).collect()
//! }
//!
//! grid_sdk::bundle!(stop_words);
//! assert_eq!(stop_words(vec!["the".into(), "grid".into()]), [true, false]);
//! ```
//!
//! The values belong to the bundle: no other one sees them, nor another version of the same. All who
//! call the bundle's tasks share them, so keep nothing there that one caller must not see of another,
//! and nothing that a result depends on: a value may be gone at any time, because memory is needed or
//! because the bundle has put more than it may. Another worker has values of its own.
//!
//! A value is encoded and decoded like an argument, which costs its bytes each time.
//!
//! Natively there is a twin in memory, one for the process.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod sandbox;
#[cfg(test)]
mod tests;

use std::fmt;

#[cfg(not(target_family = "wasm"))]
use native as inside;
#[cfg(target_family = "wasm")]
use sandbox as inside;

use crate::value::{Codec, FromValue, IntoValue, Value};

/// Why a value is not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// The key or the value is larger than the worker keeps; what the bound is.
    OverLimit(String),
    /// There is no such memory here, for instance while a bundle is described.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverLimit(message) | Self::Unavailable(message) => formatter.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// The value under this key: what a call of this bundle has made on this worker before, or what
/// `init` makes now, which is kept for the next. If two calls make it at once, both get the one that
/// was there first.
///
/// A value that is too large to be kept is made each time, and the call's log says so. One that
/// was put as another type is made anew.
///
/// # Panics
/// The value's own `Serialize` failed, or it reads less than it writes.
pub fn worker_local<T: IntoValue + FromValue>(key: &str, init: impl FnOnce() -> T) -> T {
    if let Some(kept) = get(key) {
        match T::from_value(unpack(kept)) {
            Ok(value) => return value,
            // Nobody else's value, but an older use of the same key.
            Err(_) => drop(take(key)),
        }
    }
    let made = init().into_value().unwrap_or_else(|error| {
        panic!("the value of `{key}` cannot be encoded: {error}");
    });
    let value = match put_if_absent(key, pack(&made)) {
        Ok(None) => made,
        Ok(Some(first)) => match T::from_value(unpack(first)) {
            Ok(value) => return value,
            Err(_) => made,
        },
        Err(error) => {
            crate::log::warn(format_args!("`{key}` is not kept on this worker: {error}"));
            made
        }
    };
    T::from_value(value).unwrap_or_else(|error| {
        panic!("the value of `{key}` cannot be read as it was written: {error}");
    })
}

/// The bytes under this key, if there are any.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    inside::get(key)
}

/// Keeps bytes, unless there are some under this key already: gives those then.
///
/// # Errors
/// They are larger than the worker keeps, or nothing is kept here.
pub fn put_if_absent(key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    inside::put_if_absent(key, bytes)
}

/// Takes the bytes away.
#[must_use]
pub fn take(key: &str) -> Option<Vec<u8>> {
    inside::take(key)
}

/// A value as bytes that say how they are to be read.
fn pack(value: &Value) -> Vec<u8> {
    let codec = match value.codec {
        Codec::Msgpack => 0,
        Codec::Raw => 1,
        Codec::Arrow => 2,
    };
    // At the end: in front of it, all would have to be moved when it is read.
    [&value.bytes[..], &[codec]].concat()
}

fn unpack(mut bytes: Vec<u8>) -> Value {
    let codec = match bytes.pop() {
        Some(0) => Codec::Msgpack,
        Some(2) => Codec::Arrow,
        Some(_) | None => Codec::Raw,
    };
    Value { codec, bytes }
}
