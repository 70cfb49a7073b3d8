//! Tests of the machine alone.

mod deploy;
mod grid;
mod loss;
mod needs;
mod placement;
mod submission;
mod wishes;
