//! What a call may know about itself.
//!
//! Natively, outside of a grid, there is a twin: a call of the key zero on a worker called
//! `native`, with all the time of the world.

use std::time::Duration;

/// The call that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The call's key, 64 hexadecimal digits.
    pub key: String,
    /// The task's name.
    pub task: String,
    /// Numbered try of the call, from 0.
    pub attempt: u32,
    /// The name of the worker that runs it.
    pub worker: String,
}

/// The call that runs.
#[cfg(target_family = "wasm")]
#[must_use]
pub fn current() -> Info {
    let info = crate::bindings::grid::task::context::current();
    Info { key: info.key, task: info.task, attempt: info.attempt, worker: info.worker }
}

/// The call that runs.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn current() -> Info {
    Info { key: "0".repeat(64), task: "native".to_owned(), attempt: 0, worker: "native".to_owned() }
}

/// How long until the call is stopped for its time limit.
#[cfg(target_family = "wasm")]
#[must_use]
pub fn remaining() -> Duration {
    Duration::from_millis(crate::bindings::grid::task::context::remaining_ms())
}

/// How long until the call is stopped for its time limit.
#[cfg(not(target_family = "wasm"))]
#[must_use]
pub fn remaining() -> Duration {
    Duration::MAX
}
