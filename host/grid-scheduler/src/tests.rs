//! Tests of the machine alone.

mod balance;
mod deploy;
mod grid;
mod insight;
mod loss;
mod needs;
mod placement;
mod submission;
mod turns;
mod wishes;
