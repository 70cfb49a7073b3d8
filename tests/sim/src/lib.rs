//! The deterministic simulator: the real scheduler machine and real worker agents on a simulated
//! clock, network and slots. One seed is one run; it repeats to the letter.
//!
//! ```text
//!  clients ──▶ network ──▶ grid_scheduler::Scheduler ──▶ network ──▶ grid_worker::agent::Agent
//!     │           ▲ faults                                              │ slots, store, peers
//!     └──────────▶│◀──────────────── oracle ◀───────────────────────────┘
//! ```
//!
//! A run has three parts:
//! 1. **faults** (a second of simulated time): clients submit graphs, read, release, cancel and
//!    leave; connections are cut, stand still or fall silent; processes die, by themselves or of a
//!    call; fetches and loads fail; messages come twice, or late and of attempts that are over. In
//!    some runs workers may hold little, tasks trap until they are in quarantine and clients clear
//!    it, calls ask to run elsewhere, clients bring data and ask for copies, memory is nearly full,
//!    and an operator changes what workers offer;
//! 2. **quiet**: nothing goes wrong any more; whatever is wanted has to end;
//! 3. **farewell**: all interest ends; nothing may be left at the scheduler or at any worker.
//!
//! What is verified: `check()` of the scheduler after each event and of an agent after each of its
//! turns; and what the machines cannot see of themselves, in `invariants/`, one a file: results and
//! failures that clients are told are held against an `oracle`, which knows what went wrong and
//! computes values natively.
//!
//! `--scale` is one large run (`scale.rs`): a thousand workers, a million calls, light faults, the same
//! quiet and farewell. There the machine is checked each so many steps, agents and listings not at
//! all; what stores hold at a time is held against what slots need. Its figures are printed.
//!
//! What it is not: it neither runs Wasm nor opens a socket. Messages of different connections overtake
//! each other; within one they come in order and once, as streams deliver them. What comes twice or
//! late within one has a fence (an attempt); what has none comes again only from connections that
//! are over.
//!
//! ```console
//! $ cargo xtask sim --seeds 100000                     # prints the seeds that fail
//! $ cargo xtask sim --first 77 --seeds 1 --trace
//! $ cargo xtask sim --scale                            # --workers 1000 --calls 1000000
//! ```
//!
//! The checks are checked themselves: `grid_scheduler::Mutation` lists mistakes that the feature
//! `mutations` puts into the machine, one at a time, and `tests/mutations.rs` wants a run that finds
//! each. `cargo xtask test` switches the feature on; an installed `grid` is built without it.
//!
//! Seeds that found a mistake are kept in `seeds.txt`, each with what it found; tests run them and
//! the first two hundred. What a seed does changes with the simulator, so a mistake that matters gets
//! a test of its own beside the machine as well.

mod agenda;
mod client;
mod data;
mod faults;
mod graph;
mod history;
mod host;
mod invariants;
mod nested;
mod network;
mod operator;
mod oracle;
mod peers;
pub mod quality;
mod rng;
mod run;
mod scale;
mod setup;
mod sharing;
mod store;
mod strike;
mod task;
#[cfg(test)]
mod tests;
mod users;
mod worker;
mod world;

#[cfg(feature = "mutations")]
pub use run::run_mutated;
pub use run::{Broken, Summary, run};
pub use scale::{Scale, Scaled, run_at_scale};
