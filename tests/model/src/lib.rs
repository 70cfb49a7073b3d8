//! The scheduler's machine against a simple model: a map of what must be readable.
//!
//! A run is a list of [`Operation`]s of a few clients and workers on a small graph ([`graph`]). The
//! machine's `check()` holds after each. Whenever the grid is let come to rest, everything that the
//! model says is wanted is readable where its client was told, or failed with a cause; what nobody
//! wants is gone. Messages arrive at once and in order; what networks do is the simulator's part.
//!
//! The same runs come from two places: proptest draws them (`tests.rs`), and bytes are read as them,
//! three an operation, so that a fuzzer can look for them by coverage:
//!
//! ```console
//! $ cargo install cargo-fuzz
//! $ cargo +nightly fuzz run --fuzz-dir tests/fuzz operations     # or `frames`
//! ```
//!
//! The fuzzer's corpus, `tests/fuzz/corpus`, is run by the ordinary tests; what the fuzzer adds to it
//! is worth keeping where it reaches something new.

pub mod frames;
pub mod graph;
mod grid;
mod model;
mod operation;
#[cfg(test)]
mod tests;
mod workers;

pub use grid::{Ends, run};
pub use operation::Operation;
