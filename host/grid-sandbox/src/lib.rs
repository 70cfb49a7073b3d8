//! The sandbox: wasmtime and nothing else. It compiles bundles, keeps their native code, runs each
//! call in a fresh instance under limits, and says precisely why a call failed.
//!
//! ```text
//!  bytes --load--> Bundle --describe--> BundleDescription
//!                     |
//!                     +---run(CallRequest)--> CallReport { outcome, spent, output }
//!                           ^         |
//!                     CancelToken   ticker (one thread, asleep when nothing runs)
//! ```
//!
//! What it is not: it knows no grid, no network, no store and no scheduler; it does not decide which call
//! runs or whether a failed one is tried again. It is the only crate that names wasmtime.
//!
//! Invariants
//! - A guest's fault is a value ([`grid_proto::Failure`]), never an error of the host.
//! - A store and its instances live for one call, but for an [`Actor`]'s and a [`Resident`]. After a trap
//!   nothing of them is used again.
//! - Native code is loaded from this machine's own compiler or from a file that carries a code made
//!   with this machine's key, never from anywhere else ([`EngineConfig::cache_dir`]).
//! - A bundle links only to interfaces on a fixed list; sockets are not on it, not even as stubs.
//! - No wait inside the sandbox outlives the call's deadline or its [`CancelToken`]; a wait for other
//!   calls has a limit of its own ([`EngineConfig::waiting_time_max`]).
//!
//! Calls block their thread and must not run on a thread of an async runtime.

mod access;
mod actor;
mod bundle;
mod cache;
mod call;
mod classify;
mod compile;
mod config;
mod contract;
mod describe;
mod engine;
mod error;
mod gate;
mod grants;
mod host;
mod limiter;
mod native;
mod output;
mod resident;
mod scratch;
mod state;
mod stop;
mod symbols;
mod ticker;
mod trace;
mod tuning;
mod wasi;

pub use access::{
    Answer, GridAccess, GridError, LocalAccess, LocalBytes, LocalError, NestedArg, NestedCall,
    ObjectAccess, ObjectError,
};
pub use actor::Actor;
pub use bundle::{Bundle, IMPORTS_ALLOWED};
pub use call::{Argument, CallInfo, CallReport, CallRequest, ScratchDir};
pub use compile::compile_child_main;
pub use config::{Compiler, DirGrant, EngineConfig};
pub use engine::Engine;
pub use error::{BundleError, EngineError};
pub use output::plain_text;
pub use resident::Resident;
pub use scratch::SCRATCH;
pub use stop::CancelToken;

#[cfg(test)]
mod tests;
