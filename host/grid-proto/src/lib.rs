//! The vocabulary of grid and its wire: ids and keys, values, bundle descriptions, limits, failures,
//! messages, and frames that are bounded and checked before they are believed.
//!
//! What it is not: it does no IO, reads no clock and starts no thread. It holds no policy: who may
//! do what, and where a call runs, is decided by the crates above.
//!
//! Invariants: every type that crosses the wire derives rkyv's checked access; nothing is decoded
//! from a frame longer than [`frame::FRAME_BYTES_MAX`]; equal pure calls have equal keys.

pub mod bounds;
mod bulk;
pub mod bundle;
pub mod call;
pub mod coordination;
pub mod data;
pub mod failure;
pub mod frame;
pub mod id;
pub mod limits;
pub mod message;
pub mod order;
pub mod outside;
pub mod pieces;
mod refusal;
pub mod report;
pub mod shape;
pub mod value;

pub use bundle::{BundleDescription, Parameter, TaskDescription, TaskLimits};
pub use call::{Amount, Arg, CallOptions, CallSpec, Instance, Pins, Priority, TaskRef};
pub use failure::{Death, Failure, FailureKind, FailureSite, Frame, TrapKind};
pub use id::{
    Attempt, BundleHash, ClientId, Key, LeaseId, ParseHashError, RequestId, TaskId, WorkerId,
};
pub use limits::{LimitBounds, Limits};
pub use report::Spent;
pub use value::{Codec, ObjectMeta, Value, Version, hash_of};

/// Both ends of a link must speak the same version; it changes with every change of a message.
pub const PROTOCOL_VERSION: u16 = 7;

#[cfg(test)]
mod tests;
