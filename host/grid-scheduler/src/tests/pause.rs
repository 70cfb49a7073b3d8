//! Workers whose memory is nearly full.

use grid_proto::Attempt;
use grid_proto::message::{FromWorker, Query};

use super::grid::{ANN, Grid, call, key};
use crate::Config;

fn explanation(grid: &mut Grid, call: u64) -> String {
    let calls = grid.calls();
    calls.into_iter().find(|info| info.key == key(call)).unwrap().explanation
}

#[test]
fn a_paused_worker_gets_nothing_and_what_waits_for_it_runs_elsewhere() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 100_000_000);
    let calls: Vec<_> = (2..8).map(|number| call(number, &[1])).collect();
    let wanted: Vec<_> = (2..8).map(key).collect();
    let placed = grid.submit(ANN, &calls, &wanted).placed();
    assert_eq!(placed, [(10, 2, 0), (10, 3, 0)], "the others are held back for it");
    assert_eq!(grid.hear(10, FromWorker::Paused(true)).placed(), [], "there is nobody else");
    assert!(
        explanation(&mut grid, 5).contains("which is paused because its memory is nearly full")
    );
    let back = FromWorker::Withdrawn { key: key(3), attempt: Attempt(0) };
    assert_eq!(grid.hear(10, back).placed(), [], "it gives back what has not begun");
    let mut moved = Vec::new();
    let mut placed = grid.worker(11, 1).placed();
    while let Some((worker, number, attempt)) = placed.pop() {
        assert_eq!(worker, 11, "{number}");
        moved.push(number);
        placed.extend(grid.finish(11, number, attempt, 1).placed());
    }
    moved.sort_unstable();
    assert_eq!(moved, [3, 4, 5, 6, 7], "all but the one that runs");
}

#[test]
fn calls_for_anybody_pass_it_by_until_it_resumes() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    grid.worker(10, 1);
    grid.hear(10, FromWorker::Paused(true));
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).placed(), []);
    assert!(
        explanation(&mut grid, 1).contains("1 of 1 are paused because their memory is nearly full")
    );
    let grid_proto::message::Answer::Workers(workers) = grid.ask(Query::Workers) else {
        panic!("no workers")
    };
    assert!(workers[0].paused);
    assert_eq!(grid.hear(10, FromWorker::Paused(false)).placed(), [(10, 1, 0)]);
}

#[test]
fn inputs_that_only_a_paused_worker_may_hold_wait_for_it() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1_000);
    let mut small = grid.registration(11, "small", 11, 1);
    small.memory_bytes = 100;
    grid.tell(crate::Event::WorkerConnected(grid_proto::WorkerId(11), small));
    grid.hear(10, FromWorker::Paused(true));
    let out = grid.submit(ANN, &[call(2, &[1])], &[key(2)]);
    assert!(out.placed().is_empty() && out.failed(ANN).is_empty(), "{out:?}");
    assert_eq!(grid.hear(10, FromWorker::Paused(false)).placed(), [(10, 2, 0)]);
}
