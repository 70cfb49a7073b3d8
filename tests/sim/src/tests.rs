use crate::quality::{self, SHAPES};
use crate::{Scale, run, run_at_scale};

/// Runs seeds and tells of all that fail, not only of the first.
fn run_all(seeds: impl Iterator<Item = u64>) {
    let mut broken = Vec::new();
    for seed in seeds {
        if let Err(failure) = run(seed, false) {
            broken
                .push(format!("seed {seed}, at {} us: {}", failure.summary.time_us, failure.what));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

// Two hundred seeds, in parts that the runner may run side by side.

#[test]
fn the_first_fifty_seeds_hold() {
    run_all(0..50);
}

#[test]
fn the_second_fifty_seeds_hold() {
    run_all(50..100);
}

#[test]
fn the_third_fifty_seeds_hold() {
    run_all(100..150);
}

#[test]
fn the_fourth_fifty_seeds_hold() {
    run_all(150..200);
}

#[test]
fn seeds_that_found_something_hold() {
    let seeds = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let seed = |line: &str| {
        let digits = line.split_whitespace().next().unwrap();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("`{line}` does not begin with a seed"))
    };
    run_all(seeds.filter(|line| !line.trim().is_empty()).map(seed));
}

#[test]
fn a_seed_repeats_itself_to_the_letter() {
    for seed in [1, 2, 3, 77] {
        let (one, other) = (run(seed, true).unwrap(), run(seed, true).unwrap());
        assert!(one.trace.len() > 100, "seed {seed} does something");
        assert_eq!(one, other);
    }
}

#[test]
fn runs_meet_what_they_are_for() {
    let summaries: Vec<_> = (0..100).map(|seed| run(seed, true).unwrap()).collect();
    let seen = |text: &str| {
        let meets = |line: &String| line.contains(text);
        summaries.iter().filter(|summary| summary.trace.iter().any(meets)).count()
    };
    for what in [
        "Cut",
        "Silence",
        "Pause",
        "Kill",
        "again, ",
        "MissingInputs",
        "KilledWorker",
        "Cancel(",
        "Holds(",
        "Failed",
        "Refused",
        "Locate",
        "LostByPeer",
        "CloseWorker",
        "Inspect(",
        "Started(",
        "FromTask",
        "ToTask",
        "Waits { ",
        "ActorLost { ",
        "instance: Of(",
        "Retry { ",
        "Again(",
        "Publish { ",
        "Acquire { ",
        "Lease(",
        "TimedOut",
        "Took(",
        "Withdraw",
        "Reschedule",
        "Rescheduled",
        "Quarantined {",
        "ClearQuarantine {",
        "OutOfMemory {",
        "SetResources ",
    ] {
        assert!(seen(what) >= 3, "`{what}` is in {} of 100 runs", seen(what));
    }
    assert!(summaries.iter().map(|summary| summary.stale_messages).sum::<u64>() > 100);
    assert!(summaries.iter().map(|summary| summary.ends).sum::<u64>() > 5_000);
}

#[test]
fn two_hundred_workers_and_twenty_thousand_calls_hold() {
    let scale = Scale { workers: 200, calls: 20_000 };
    let run = run_at_scale(1, scale).unwrap_or_else(|broken| panic!("{}", broken.what));
    assert!(run.calls >= scale.calls * 9 / 10, "{run:?}");
    assert!(run.checks >= 20, "{run:?}");
    assert!(run.live_bytes_max > 0 && run.live_bytes_max < run.bytes, "{run:?}");
}

#[test]
fn placement_is_as_good_as_the_best_of_a_list_schedule_and_of_work_stealing() {
    for shape in SHAPES {
        for hosts in [8, 64] {
            let makespans = quality::measure(shape, hosts, 1);
            let ratio = makespans.ratio();
            assert!(ratio <= 1.15, "{shape:?} on {hosts} hosts: {ratio:.3}, {makespans:?}");
        }
    }
}
