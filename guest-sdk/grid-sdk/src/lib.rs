//! What task crates depend on: the attribute [`macro@task`], the macro [`bundle!`], and what a task
//! may use while it runs.
//!
//! ```
//! /// Adds two numbers.
//! #[grid_sdk::task]
//! pub fn add(a: i64, b: i64) -> i64 {
//!     a + b
//! }
//!
//! grid_sdk::bundle!(add);
//!
//! // Still a function.
//! assert_eq!(add(1, 2), 3);
//! // And a call that a grid may run; arguments are values, calls, or a client's futures.
//! let three_plus_four = add::call(add::call(1, 2), 4);
//! assert_eq!(three_plus_four.node().task, "add");
//! ```
//!
//! One crate serves both sides. Compiled to `wasm32-wasip2` it is a bundle: a component that
//! exports its tasks. Compiled natively it gives programs the functions, for tests and debuggers,
//! and the typed calls, for a client. The SDK holds no client and no engine.
//!
//! # Values
//!
//! Arguments and results are any types of serde, sent as MessagePack with structs as maps by field
//! name. [`Raw`] carries bytes as they are, without a copy beyond the one into the sandbox.
//!
//! # Failures
//!
//! A task may return `Result<T, E>`. `E` is an error, a text, `anyhow::Error`, a boxed error, or
//! anything with `Display`; its message and its chain of sources arrive at the caller. A panic
//! arrives with its message and location. Both are the call's failure and nobody else's.
//!
//! # Calls of calls
//!
//! A task may submit calls and wait for them: see [`grid`].
//!
//! # Coordination
//!
//! A task may share variables, queues, locks and more with other tasks and with programs: see
//! [`coordination`].
//!
//! # Objects outside of the grid
//!
//! A task may read and write files and objects of S3 by URL: see [`store`]. With the feature `csv`, the
//! module `partitions` cuts texts and tables into parts for many calls, and writes tables by parts; with
//! `parquet`, those may be Parquet, read and written as Arrow record batches. With `arrow`, tables are
//! arguments and results of tasks (`arrow::Table`).
//!
//! # Values larger than a sandbox
//!
//! A task may read an argument, and write its result, piece by piece: see [`objects`].
//!
//! # What stays on a worker
//!
//! What is costly to make need not be made by each call: see [`mod@worker_local`].
//!
//! # Invariants
//!
//! Nothing here reads a file, a clock or a random number, but for native waits with a time-out and native
//! stores. Without [`bundle!`] a crate exports
//! nothing. A task crate compiles in seconds: the bindings are generated beforehand.

#[cfg(feature = "arrow")]
pub mod arrow;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[expect(
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    reason = "generated from wit/; a test regenerates and compares it"
)]
pub mod bindings;
mod call;
pub mod context;
pub mod coordination;
#[doc(hidden)]
pub mod export;
mod failure;
pub mod grid;
pub mod log;
mod native;
pub mod objects;
#[cfg(feature = "csv")]
pub mod partitions;
pub mod store;
mod task;
mod value;
pub mod worker_local;

pub use call::{ArgNode, Call, CallNode, CallOptions, IntoArg};
pub use grid_sdk_macros::task;
pub use task::{Parameter, Task, TaskDescription};
pub use value::{Codec, DecodeError, EncodeError, FromValue, IntoValue, Raw, Value};
pub use worker_local::worker_local;

/// Names the tasks of a bundle, once in a task crate: `grid_sdk::bundle!(add, greet);`.
///
/// The position of a task in the list is its number in the bundle. The bundle's name and version
/// are those of the crate.
///
/// Two tasks of one name do not compile, nor do functions without [`macro@task`].
#[macro_export]
macro_rules! bundle {
    ($($task:ty),+ $(,)?) => {
        const _: () = {
            struct Exports;

            impl $crate::export::Bundle for Exports {
                const NAME: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
                const TASKS: &'static [$crate::export::Entry] =
                    &[$($crate::export::Entry::of::<$task>()),+];
            }

            ::core::assert!(
                $crate::export::names_differ(<Exports as $crate::export::Bundle>::TASKS),
                "a bundle cannot hold two tasks of one name",
            );
            $crate::__export_bundle!(Exports);
        };
    };
    () => {
        ::core::compile_error!("name the tasks of the bundle: `grid_sdk::bundle!(add, greet)`");
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_bundle {
    ($exports:ident) => {
        $crate::bindings::__export_tasks!($exports);
    };
}

#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_bundle {
    ($exports:ident) => {};
}

// The macros name this crate as their users do.
#[cfg(test)]
extern crate self as grid_sdk;
#[cfg(test)]
mod tests;
