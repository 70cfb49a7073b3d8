//! Object stores outside of the grid: `s3://`, `file://`, and `memory://` for tests. They are behind
//! `wit/store.wit`; the worker holds the credentials, a task names URLs.
//!
//! ```text
//! sandbox ──StoreAccess──▶ CallStores (request AND grant) ──▶ files   (beneath the granted directory)
//!                                                        └──▶ cloud   (object_store: S3, memory)
//! ```
//!
//! What it is not: it knows no sandbox and no grid, and decides nothing about calls.
//!
//! Invariants
//! - Nothing is touched that the task did not ask for and the operator did not grant.
//! - No credential, no path of this machine beside what was asked for, and no word of a store reaches
//!   a task: what went wrong is put into words here (`failures.rs`).
//! - An object is written as a whole or not at all, and read in the version that was opened.
//! - All waiting is on threads of its own; whoever drops an answer gives the operation up.

mod access;
mod cloud;
mod failures;
mod files;
mod grants;
mod profile;
mod s3;
mod url;

pub use access::{Objects, ObjectsConfig};
pub use grants::{Access, StoreGrant};
pub use s3::S3Config;
pub use url::{Scheme, StoreUrl};

#[cfg(test)]
mod tests;
