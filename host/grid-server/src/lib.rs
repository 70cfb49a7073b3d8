//! The scheduler host: it drives the pure machine of `grid-scheduler`, holds the sessions of clients
//! and workers, and keeps bundles on disk.
//!
//! ```text
//! connections ──▶ sessions (decode, bound) ──▶ driver ──▶ Scheduler::handle, flush
//!                                               │              │
//! connections ◀── outboxes (batch, bound) ◀─────┴── actions ◀──┘
//! ```
//!
//! What it is not: it decides nothing about calls; it runs no guest code and reads no guest value.
//!
//! Invariants: one task owns the machine; everything that waits is bounded, and whoever is too slow
//! to take its messages loses its connection, nobody else does; a bundle's file exists whole or not
//! at all, and is named by the hash of its bytes; a machine that contradicts itself handles nothing
//! more: everybody is told, and a dump is written.

mod bulk;
mod bundle_files;
mod config;
mod driver;
mod error;
mod fault;
mod process;
mod session;

pub use config::ServerConfig;
pub use driver::Server;
pub use error::ServerError;

#[cfg(test)]
mod tests;
