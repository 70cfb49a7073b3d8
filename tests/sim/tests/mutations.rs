//! Each mistake that can be put into the scheduler's machine is found by some run. In parts that the
//! runner may run side by side.

use std::panic;

use grid_scheduler::Mutation;
use grid_sim::run_mutated;

/// A mistake that so many runs do not show is not found.
const SEEDS_MAX: u64 = 1_000;
const PARTS: usize = 8;
/// Mistakes that few runs show, with one that last did: it is tried first.
const RARE: &[(Mutation, u64)] = &[
    (Mutation::TunedHomelessForgotten, 130),
    (Mutation::AllInHandCharged, 56),
    (Mutation::AbandonedAwaited, 47),
    (Mutation::TunedNotRehoused, 45),
    (Mutation::BroughtToPaused, 29),
];

/// A seed that shows it, and what it shows.
fn find(mutation: Mutation) -> Option<(u64, String)> {
    let rare = RARE.iter().filter(|(rare, _)| *rare == mutation).map(|(_, seed)| *seed);
    let mut seeds = rare.chain(0..SEEDS_MAX);
    seeds.find_map(|seed| Some((seed, run_mutated(seed, mutation).err()?.what)))
}

/// Tries every `PARTS`th mistake, from this one on.
fn find_all(part: usize) {
    // Runs that panic say so themselves.
    panic::set_hook(Box::new(|_| ()));
    let mut missed = Vec::new();
    for mutation in Mutation::ALL.iter().skip(part).step_by(PARTS) {
        match find(*mutation) {
            Some((seed, what)) => println!("{mutation:?}: seed {seed}: {what}"),
            None => missed.push(*mutation),
        }
    }
    let _ = panic::take_hook();
    assert!(missed.is_empty(), "found in none of {SEEDS_MAX} runs: {missed:?}");
}

#[test]
fn every_mistake_of_the_first_part_is_found() {
    find_all(0);
}

#[test]
fn every_mistake_of_the_second_part_is_found() {
    find_all(1);
}

#[test]
fn every_mistake_of_the_third_part_is_found() {
    find_all(2);
}

#[test]
fn every_mistake_of_the_fourth_part_is_found() {
    find_all(3);
}

#[test]
fn every_mistake_of_the_fifth_part_is_found() {
    find_all(4);
}

#[test]
fn every_mistake_of_the_sixth_part_is_found() {
    find_all(5);
}

#[test]
fn every_mistake_of_the_seventh_part_is_found() {
    find_all(6);
}

#[test]
fn every_mistake_of_the_eighth_part_is_found() {
    find_all(7);
}
