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
//!    call; fetches and loads fail; messages come twice, or late and of attempts that are over;
//! 2. **quiet**: nothing goes wrong any more; whatever is wanted has to end;
//! 3. **farewell**: all interest ends; nothing may be left at the scheduler or at any worker.
//!
//! What is verified: `check()` of the scheduler after each event and of an agent after each of its
//! turns; each result and failure that a client is told, against the `oracle` (values are computed
//! natively, failures need a cause that was put in, `KilledWorker` needs four deaths of workers that
//! had just that attempt); that a message that comes again changes a counter and nothing else; that
//! clients believe what the scheduler has; that counters add up.
//!
//! What it is not: it neither runs Wasm nor opens a socket. Duplicates and late messages are those
//! with a fence (attempts): streams deliver in order and once, so what has no fence comes again only
//! from connections that are over.
//!
//! ```console
//! $ cargo run -p grid-sim -- --seeds 10000            # prints the seeds that fail
//! $ cargo run -p grid-sim -- --first 77 --seeds 1 --trace
//! ```
//!
//! The checks were themselves checked by mistakes put into the machines; among others these were
//! found within the first thousand seeds, most by the first: the missing inputs of a waiting call not
//! counted up when a replica is lost; a result not freed, or its holder not told; an attempt's number
//! not compared, or not raised; a result not announced, or not to who asks later; a lost input not
//! computed again; a lost worker's results kept; one retry or one death too few; dependents not
//! failed; an inspection not given to another; a failed fetch that asks nobody else; a peer that stays
//! busy; copies not told; a stopped call's result kept, or the call not stopped; calls that survive a
//! disconnect.
//!
//! Seeds that found a mistake are kept in `seeds.txt`, each with what it found; tests run them and
//! the first thousand. What a seed does changes with the simulator, so a mistake that matters gets
//! a test of its own beside the machine as well.

mod agenda;
mod client;
mod faults;
mod graph;
mod history;
mod host;
mod invariants;
mod nested;
mod network;
mod oracle;
mod peers;
mod rng;
mod run;
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
