//! Each mistake that can be put into the scheduler's machine is found by some run.

use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use grid_scheduler::Mutation;
use grid_sim::run_mutated;

/// The seeds that the ordinary test runs: a mistake that none of them shows is not found.
const SEEDS_MAX: u64 = 200;

/// The first seed that shows it, and what it shows.
fn find(mutation: Mutation) -> Option<(u64, String)> {
    (0..SEEDS_MAX).find_map(|seed| Some((seed, run_mutated(seed, mutation).err()?.what)))
}

#[test]
fn every_mistake_is_found() {
    // Runs that panic say so themselves.
    panic::set_hook(Box::new(|_| ()));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutation) = Mutation::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            match find(*mutation) {
                Some((seed, what)) => println!("{mutation:?}: seed {seed}: {what}"),
                None => missed.lock().unwrap().push(*mutation),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let _ = panic::take_hook();
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "found in none of {SEEDS_MAX} runs: {missed:?}");
}
