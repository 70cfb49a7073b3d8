//! From the source of a task crate to a bundle: finds or installs a compiler that can build for
//! `wasm32-wasip2`, builds a crate, and scaffolds a new one.
//!
//! What it is not: it runs no Wasm and talks to no grid. It changes the machine only in
//! [`toolchain::install`], which says what it does before it does it.
//!
//! Invariants: nothing of a cargo that runs us reaches the cargo that we run; a bundle speaks no
//! path of the machine that built it; what we install appears whole or not at all.

mod artifact;
#[cfg(feature = "bindings")]
pub mod bindings;
mod build;
mod component;
mod debian;
mod environment;
mod metadata;
mod scaffold;
pub mod toolchain;

pub use build::{BuildError, BuildOptions, Built, build};
pub use scaffold::{Scaffold, ScaffoldError, SdkSource, scaffold};
pub use toolchain::{Toolchain, ToolchainError};

/// The target that bundles are built for.
pub const TARGET: &str = "wasm32-wasip2";

#[cfg(test)]
mod tests;
