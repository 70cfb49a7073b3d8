//! Memory that processes of one host share: a file without a name, sealed so that nobody can change or
//! shorten it any more, handed over a Unix socket and mapped by whoever gets it.
//!
//! ```text
//!   bytes ── copied once ──▶ Sealed ── its descriptor, over a Stream ──▶ Sealed ── read in place
//! ```
//!
//! Who may: a [`Listener`] has a name that only those learn who have proved elsewhere that they belong to
//! the grid, together with a [`Secret`]; both ends prove over the socket that they know it, and have to
//! be of the same user.
//!
//! What it is not: it knows no objects and no keys; the frames on a [`Stream`] are bytes to it.
//!
//! Invariants: what is mapped is sealed against writing, growing and shrinking, so its bytes never change
//! and reading them never faults; a peer's descriptor is checked for that before it is mapped.

mod listener;
mod sealed;
mod stream;

pub use listener::{Guard, Listener, Secret, connect};
pub use sealed::Sealed;
pub use stream::Stream;

/// Less than this is copied through a socket as fast as it is mapped.
pub const BYTES_MIN: u64 = 128 << 10;

#[cfg(test)]
mod tests;
