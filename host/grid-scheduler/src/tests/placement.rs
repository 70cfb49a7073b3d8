//! Where calls run.

use grid_proto::WorkerId;
use grid_proto::message::{FromWorker, ToWorker};

use super::grid::{ANN, Grid, call, copy, key};
use crate::placement::{Candidate, choose};
use crate::{Action, Config};

fn candidate(worker: u32, start_us: u64, missing_bytes: u64) -> Candidate {
    let missing_inputs = u64::from(missing_bytes > 0);
    Candidate { worker: WorkerId(worker), start_us, missing_bytes, missing_inputs }
}

#[test]
fn the_earliest_start_wins_and_moving_data_takes_time() {
    let chosen = |candidates: &[Candidate]| {
        choose(candidates.iter().copied(), 100).map(|chosen| chosen.worker.0)
    };
    assert_eq!(chosen(&[]), None);
    // 1,000,000 bytes take 10 ms: a holder that is busy for 8 ms is the better place, one that is
    // busy for 12 ms is not.
    assert_eq!(chosen(&[candidate(1, 8_000, 0), candidate(2, 0, 1_000_000)]), Some(1));
    assert_eq!(chosen(&[candidate(1, 12_000, 0), candidate(2, 0, 1_000_000)]), Some(2));
    // Among equals: who lacks least, then the oldest.
    assert_eq!(chosen(&[candidate(1, 0, 0), candidate(0, 0, 0)]), Some(0));
    assert_eq!(chosen(&[candidate(0, 0, 10), candidate(1, 200, 0)]), Some(1));
}

#[test]
fn a_call_goes_to_its_data_and_is_told_where_the_rest_is() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    let placed = grid.submit(ANN, &[call(1, &[]), call(2, &[]), call(3, &[1, 2])], &[key(3)]);
    assert_eq!(placed.placed(), [(10, 1, 0), (11, 2, 0)]);
    assert_eq!(grid.finish(10, 1, 0, 100_000_000).placed(), []);
    let out = grid.finish(11, 2, 0, 5);
    assert_eq!(out.placed(), [(10, 3, 0)], "it runs where the large input is");
    let (_, run) = out.runs()[0];
    assert_eq!(run.inputs, [(key(2), vec![WorkerId(11)])]);
    let told = |action: &Action| match action {
        Action::ToWorker(WorkerId(10), ToWorker::Peers(peers)) => {
            peers.iter().any(|peer| peer.worker == WorkerId(11) && peer.address == "w11:1")
        }
        _ => false,
    };
    assert!(out.0.iter().any(told), "it is told where the other one listens: {out:?}");
}

#[test]
fn a_copy_counts_as_a_place_and_is_not_fetched_again() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 100_000_000);
    grid.hear(11, FromWorker::Holds(vec![copy(1, 100_000_000)]));
    let out = grid.submit(ANN, &[call(2, &[1]), call(3, &[1])], &[key(2), key(3)]);
    assert_eq!(out.placed(), [(10, 2, 0), (11, 3, 0)]);
    assert!(out.runs().iter().all(|(_, run)| run.inputs.is_empty()));
}

#[test]
fn calls_spread_over_the_least_loaded() {
    let mut grid = Grid::new();
    for id in 10..14 {
        grid.worker(id, 1);
    }
    let calls: Vec<_> = (0..4).map(|n| call(n, &[])).collect();
    let wanted: Vec<_> = (0..4).map(key).collect();
    let mut workers: Vec<_> =
        grid.submit(ANN, &calls, &wanted).placed().iter().map(|(worker, ..)| *worker).collect();
    workers.sort_unstable();
    assert_eq!(workers, [10, 11, 12, 13]);
}

#[test]
fn calls_without_inputs_wait_until_somebody_has_room() {
    let mut grid = Grid::new();
    let calls: Vec<_> = (0..100).map(|n| call(n, &[])).collect();
    let wanted: Vec<_> = (0..100).map(key).collect();
    assert_eq!(grid.submit(ANN, &calls, &wanted).placed(), [], "there is nobody");
    assert_eq!(grid.state(5), "no-worker");
    // 5 ms are assumed of a new task and 5 ms are looked ahead: the slots are filled, and a bit.
    let first = grid.worker(10, 2).placed();
    assert_eq!(first.len(), 3, "{first:?}");
    assert_eq!(first[0], (10, 0, 0));
    assert_eq!(grid.state(99), "queued");
    // They turn out to be short: more go ahead, bounded by time and not by number alone.
    let counts: Vec<_> = (0..3).map(|n| grid.finish(10, n, 0, 1).placed().len()).collect();
    assert_eq!(counts[0], 1, "one for one, while the others may still be long");
    assert!(counts[2] > 40, "{counts:?}");
}

#[test]
fn held_back_calls_go_out_in_their_order() {
    let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
    let calls: Vec<_> = (0..100).map(|n| call(n, &[])).collect();
    let wanted: Vec<_> = (0..100).map(key).collect();
    grid.submit(ANN, &calls, &wanted);
    let more = grid.worker(10, 2).placed();
    assert_eq!(more.len(), 100);
    assert!(more.windows(2).all(|two| two[0].1 < two[1].1), "in their order");
}

#[test]
fn a_worker_that_joins_gets_what_is_held_back() {
    let config = Config { lookahead_us: 0, ..Config::default() };
    let mut grid = Grid::with(config);
    grid.worker(10, 1);
    let calls: Vec<_> = (0..10).map(|n| call(n, &[])).collect();
    let wanted: Vec<_> = (0..10).map(key).collect();
    assert_eq!(grid.submit(ANN, &calls, &wanted).placed().len(), 2);
    assert_eq!(grid.worker(11, 1).placed(), [(11, 2, 0), (11, 3, 0)]);
}

#[test]
fn higher_priority_runs_first_then_earlier_submissions() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    let mut urgent = call(3, &[]);
    urgent.options.priority = 1;
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.submit(ANN, &[call(2, &[]), urgent], &[key(2), key(3)]);
    assert_eq!(grid.worker(10, 2).placed(), [(10, 3, 0), (10, 1, 0), (10, 2, 0)]);
}
