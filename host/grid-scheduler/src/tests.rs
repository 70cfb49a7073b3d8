//! Tests of the machine alone.

mod coordination;
mod deploy;
mod grid;
mod kept;
mod loss;
mod placement;
mod submission;
mod wishes;
