//! A worker's objects: the bytes behind keys, in memory and, where memory is short, in files.
//!
//! ```text
//!            insert                     above the target, least recently used first
//!  (bytes) ─────────▶ in memory ──────────────▶ being written ──────────────▶ in a file
//!                         ▲                                                      │
//!                         └───────────── read, verified against the hash ◀───────┘
//! ```
//!
//! What it is not: it does not know which objects are wanted; whoever puts one in takes it out. It
//! does not survive its process: files are memory that is cheaper, not a journal.
//!
//! The policy (`policy.rs`) decides, and touches no file; the files (`files.rs`) obey; the store joins
//! the two with a thread that writes. Nothing but [`Store::load`], the readers and the writers waits for
//! a disk.
//!
//! Invariants:
//! - an object's bytes never change, so readers share them;
//! - bytes are counted while they exist, whoever has them ([`Gauge`]);
//! - an object that cannot be written stays in memory: nothing is lost to a full disk;
//! - what comes back from a file is what went there, or the object is gone and its reader is told;
//! - a file is there whole, under its name, or not at all; it goes with its last reader.

mod blocks;
mod files;
mod object;
mod policy;
mod reader;
mod store;
mod writing;

pub use files::OwnDirectory;
pub use object::{Buffer, Gauge, Object, Reserved};
pub use reader::{LoadError, RangeReader, Reader, Receiver};
pub use store::{Store, StoreConfig, Usage};
pub use writing::{Writing, Written};

#[cfg(test)]
mod tests;
