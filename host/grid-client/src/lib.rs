#![warn(missing_docs)]
//! The client: what programs link to have calls run on a grid.
//!
//! ```no_run
//! # async fn run() -> Result<(), grid_client::ClientError> {
//! # mod hello { #[grid_sdk::task] pub fn inc(n: i64) -> i64 { n + 1 }
//! #   #[grid_sdk::task] pub fn add(a: i64, b: i64) -> i64 { a + b } }
//! # use hello::{inc, add};
//! let client = grid_client::Client::connect("127.0.0.1:8786").await?;
//! let x = client.submit(inc::call(1)).await?;
//! let sum = client.submit(add::call(inc::call(1), &x)).await?;
//! assert_eq!(sum.result().await?, 4);
//! # Ok(()) }
//! ```
//!
//! A [`Future`] is a handle on a call: while one exists, the grid keeps the call's result; when the
//! last one is dropped, the result is freed and work that nobody else wants is stopped.
//!
//! What it is not: it runs no guest code and links neither the engine nor the scheduler.
//!
//! Invariants: a submission is accepted whole or not at all; a result's bytes are verified against
//! their hash when they come from a worker; equal pure calls have equal keys whoever submits them.

mod actor;
mod asking;
mod bytes;
mod client;
mod completion;
pub mod coordination;
mod copies;
mod deploy;
mod error;
mod fetch;
mod future;
mod gather;
mod hearing;
mod io;
mod link;
mod partial;
mod partitions;
mod plan;
mod scatter;
mod slot;
mod submit;
mod upload;
mod value;

pub use actor::Actor;
pub use bytes::ResultBytes;
pub use client::{Client, ClientOptions, default_identity_dir};
pub use completion::{AsCompleted, WaitFor, Waited};
pub use copies::Rebalanced;
pub use deploy::Deployed;
pub use error::ClientError;
pub use future::Future;
pub use partitions::{Partitions, Piece};
pub use plan::RawCall;
pub use scatter::Scattering;

pub use grid_proto as proto;
