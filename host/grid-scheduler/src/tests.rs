//! Tests of the machine alone.

mod deploy;
mod grid;
mod loss;
mod nested;
mod placement;
mod submission;
mod wishes;
