//! Whole grids under test: in one process, and as processes of the binary `grid`. What they need is
//! built by `cargo xtask test`, which also says where it is.

#[cfg(test)]
mod actors;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod balance;
#[cfg(test)]
mod cancel;
#[cfg(test)]
mod columns;
#[cfg(test)]
mod command_line;
#[cfg(test)]
mod containment;
#[cfg(test)]
mod coordination;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod data;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod failure;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod garage;
#[cfg(test)]
mod graphs;
#[cfg(test)]
mod insight;
#[cfg(test)]
mod local;
#[cfg(test)]
mod loss;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod nested;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod partitions;
#[cfg(test)]
mod parts;
#[cfg(test)]
mod placement;
#[cfg(test)]
mod pressure;
#[cfg(test)]
mod scratch;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod support;
#[cfg(test)]
mod words;
#[cfg(test)]
mod working_model;
