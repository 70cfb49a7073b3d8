//! The worker host: it takes calls from the scheduler, fetches their inputs from other workers,
//! runs them in sandboxes on its slots, keeps the results and serves them.
//!
//! ```text
//! scheduler ◀──▶ driver ──▶ Agent (pure: admission, inputs, order, cancel, report)
//!                  │  ▲
//!      fetch, load │  │ done
//!                  ▼  │
//!      other workers  slots (threads, one sandbox each)      serve ──▶ other workers, clients
//! ```
//!
//! What it is not: it does not decide where calls run or whether they run again.
//!
//! Invariants: the io thread never runs guest code and never waits for it; a guest costs its own
//! slot for its own time; an object's bytes are verified against their hash when they arrive; no
//! thread but a slot's, and those that are there for it, waits for a disk.

pub mod agent;
mod brought;
mod bundles;
mod config;
mod driver;
mod error;
mod host;
mod incoming;
mod local;
mod memory;
mod objects;
mod partials;
mod peers;
mod process;
mod residents;
mod serve;
mod session;
mod slots;

pub use config::WorkerConfig;
pub use driver::Worker;
pub use error::WorkerError;
pub use memory::{Marks, MemoryConfig};
