//! The network: QUIC with TLS on both ends, always, and a twin in memory that behaves the same; and,
//! between processes of one host, memory that they share.
//!
//! One [`Endpoint`] a process, one [`Connection`] a pair of processes, many streams a connection.
//! A stream begins with a prelude (magic, protocol version, [`Kind`]). Control streams live as long
//! as the connection and carry batches of typed messages ([`channel`]); bulk streams carry one
//! request and the bytes that answer it.
//!
//! A process that shares memory says over QUIC, to those who are of the grid, where ([`HostListener`]);
//! whoever is on the same host finds it there ([`Connection::on_host`]), and everybody else goes on over
//! QUIC.
//!
//! What it is not: it knows no scheduler and no worker, and decides nothing about who may do what
//! beyond the question whether the other end belongs to the same grid ([`Identity`]).
//!
//! Invariants: nothing is decoded before its length is checked against the frame limit; every queue
//! is bounded; an end that speaks another protocol version is told both versions.

mod backoff;
mod channel;
mod endpoint;
mod error;
mod host;
mod identity;
mod memory;
mod quic;
mod stream;

pub use backoff::Backoff;
pub use channel::{Inbox, Outbox, channel};
pub use endpoint::{Connection, Endpoint};
pub use error::NetError;
pub use host::{HostLease, HostListener, HostStream};
pub use identity::Identity;
pub use memory::MemoryHub;
pub use stream::{Kind, RecvStream, SendStream};

#[cfg(test)]
mod tests;
