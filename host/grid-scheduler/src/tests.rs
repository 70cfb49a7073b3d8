//! Tests of the machine alone.

mod actors;
mod balance;
mod coordination;
mod deploy;
mod grid;
mod insight;
mod kept;
mod loss;
mod needs;
mod nested;
mod placement;
mod submission;
mod turns;
mod wishes;
