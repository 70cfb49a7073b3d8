//! Tests of the machine alone.

mod actors;
mod bad_input;
mod balance;
mod coordination;
mod crowds;
mod data;
mod deploy;
mod fault;
mod grid;
mod insight;
mod kept;
mod loss;
mod needs;
mod nested;
mod pause;
mod placement;
mod refusal;
mod replicas;
mod submission;
mod turns;
mod wishes;
