//! The scheduling machine: what happens next in a grid, decided without touching the world.
//!
//! ```text
//!            submit            inputs there         a worker has room
//!  (unknown) ──────▶ released ──────▶ waiting ──────▶ queued ──────▶ processing
//!                      ▲  ▲                                           │      │
//!          nobody wants│  └──────────── worker lost, retry ◀──────────┤      │
//!                      │                                        result│      │failure
//!                      └──────────────────────────── memory ◀─────────┘      ▼
//!                                                                          erred
//! ```
//!
//! Data that a client brings is a call that nobody computes: arriving until a worker has it, then in
//! memory, erred when its last copy is gone (`data.rs`).
//!
//! The host calls five methods: [`Scheduler::handle`] with an event, [`Scheduler::flush`] once per
//! batch of events (one placement round), [`Scheduler::poll_action`] until it is empty,
//! [`Scheduler::poll_timeout`] and [`Scheduler::handle_timeout`]. The server, the simulator and the
//! benches drive the same five.
//!
//! What it is not: it does no IO, reads no clock, spawns nothing, draws no random number, and holds
//! no object's bytes.
//!
//! Invariants, all verified by [`Scheduler::check`]:
//! - a call is active (waiting, queued, processing) only while somebody wants it: a client, a
//!   dependent that is itself active, or something that keeps it: a dataset, a variable, a queue, or
//!   that it was detached;
//! - a call that waits counts exactly its inputs that it has not heard to be in memory: at once for
//!   results with few readers, one reader after the other for those with many;
//! - a result that is in memory has at least one holder, and each holder lists it, also one that is
//!   gone, until its loss has been dealt with;
//! - no call is homeless that a worker may run, but for those that are being looked at;
//! - leases, waiters and subscriptions belong to clients that are there;
//! - an actor runs one method at a time, each caller's in the order of their submission;
//! - a call that speaks as a client is one while its attempt runs, and no longer;
//! - a worker's message about an attempt that is over changes a counter and nothing else.

mod actors;
mod admission;
mod answer;
mod assign;
mod backlog;
mod balance;
mod bundles;
mod call;
mod calls;
mod cancel;
mod check;
mod circles;
mod client;
mod config;
mod coordination;
mod counts;
mod data;
mod dependents;
mod dump;
mod event;
mod explain;
mod fault;
mod fences;
mod homeless;
mod interest;
mod kept;
mod lifecycle;
mod losses;
mod machine;
mod mutation;
mod news;
mod outcome;
mod placement;
mod plausible;
mod quarantine;
mod rebalance;
mod recent;
mod replicas;
mod reschedule;
mod retry;
mod sessions;
mod story;
mod submit;
mod task;
mod unread;
mod whereabouts;
mod worker;
mod workers;

pub use config::{Config, Now};
pub use dump::Dump;
pub use event::{Action, Event};
pub use machine::Scheduler;
#[cfg(feature = "mutations")]
pub use mutation::Mutation;

#[cfg(test)]
mod tests;
