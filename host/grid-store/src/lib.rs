//! A worker's objects: the bytes behind keys.
//!
//! What it is not: it does not know which objects are wanted; whoever puts one in takes it out.
//! Today it keeps everything in memory.
//!
//! Invariants: an object's bytes never change, so readers share them; the counted bytes are the sum
//! of what is held.

mod store;

pub use store::{Object, Store};

#[cfg(test)]
mod tests;
