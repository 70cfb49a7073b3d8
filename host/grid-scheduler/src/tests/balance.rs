//! Idle workers come to work, and nothing goes to and fro.

use grid_proto::message::{FromWorker, ToWorker};
use grid_proto::{Attempt, Key, WorkerId};

use super::grid::{ANN, Grid, Out, call, key};
use crate::{Action, Config};

fn withdrawn(out: &Out) -> Vec<(u32, Key, Attempt)> {
    let mut found = Vec::new();
    for action in &out.0 {
        if let Action::ToWorker(WorkerId(worker), ToWorker::Withdraw(attempts)) = action {
            found.extend(attempts.iter().map(|(key, attempt)| (*worker, *key, *attempt)));
        }
    }
    found
}

/// One worker with one slot that holds an input, and `count` readers of it.
fn readers(grid: &mut Grid, bytes: u64, count: u64) -> Out {
    grid.worker(10, 1);
    grid.submit(ANN, &[call(0, &[])], &[key(0)]);
    grid.finish(10, 0, 0, bytes);
    let calls: Vec<_> = (1..=count).map(|n| call(n, &[0])).collect();
    let wanted: Vec<_> = (1..=count).map(key).collect();
    grid.submit(ANN, &calls, &wanted)
}

#[test]
fn a_newcomer_takes_over_what_is_held_back_for_others_first_things_first() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    let placed = readers(&mut grid, 8, 10).placed();
    assert_eq!(placed, [(10, 1, 0), (10, 2, 0)], "the slot is filled, and a bit");
    let out = grid.worker(11, 1);
    assert_eq!(out.placed(), [(11, 3, 0)], "the next in the order");
    assert_eq!(withdrawn(&out), []);
    assert_eq!(grid.finish(11, 3, 0, 1).placed(), [(11, 4, 0)]);
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 5, 0)]);
}

#[test]
fn what_costs_more_to_move_than_to_wait_for_stays() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    // 10 GB take 20 s; ten calls of 5 ms do not.
    readers(&mut grid, 10_000_000_000, 10);
    let out = grid.worker(11, 1);
    assert_eq!((out.placed(), withdrawn(&out)), (vec![], vec![]));
}

#[test]
fn what_was_handed_out_and_has_not_begun_is_asked_back_for_an_idle_worker() {
    let config = Config { lookahead_us: 1_000_000, ..Config::default() };
    let mut grid = Grid::with(config);
    assert_eq!(readers(&mut grid, 8, 10).placed().len(), 10, "all of them are with the worker");
    grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
    let out = grid.worker(11, 2);
    let asked = withdrawn(&out);
    assert_eq!(asked, [(10, key(10), Attempt(0)), (10, key(9), Attempt(0))], "the last, two slots");
    assert_eq!(withdrawn(&grid.settle()), [], "asked once");
    let gave = |call: u64| FromWorker::Withdrawn { key: key(call), attempt: Attempt(0) };
    assert_eq!(grid.hear(10, gave(10)).placed(), [(11, 10, 1)]);
    // The other began meanwhile: it ends where it is, and is not asked back again.
    let out = grid.finish(10, 9, 0, 1);
    assert_eq!(out.ready(ANN), [9]);
    assert_eq!(out.placed(), []);
    assert_eq!(grid.hear(10, gave(10)).placed(), [], "an attempt that is over");
}

#[test]
fn what_executes_is_never_asked_back() {
    let config = Config { lookahead_us: 0, ..Config::default() };
    let mut grid = Grid::with(config);
    grid.worker(10, 4);
    let calls: Vec<_> = (1..5).map(|n| call(n, &[])).collect();
    grid.submit(ANN, &calls, &[key(1), key(2), key(3), key(4)]);
    let attempts = (1..5).map(|n| (key(n), Attempt(0))).collect();
    grid.hear(10, FromWorker::Started(attempts));
    for id in 11..14 {
        let out = grid.worker(id, 1);
        assert_eq!((out.placed(), withdrawn(&out)), (vec![], vec![]));
    }
}

#[test]
fn calls_that_take_resources_stay_where_they_were_promised_them() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    let mut spec = call(1, &[]);
    spec.options.resources = vec![("GPU".to_owned(), grid_proto::Amount(1))];
    let mut registration = grid.registration(10, "w10", 10, 1);
    registration.resources = vec![("GPU".to_owned(), grid_proto::Amount(1))];
    grid.tell(crate::Event::WorkerConnected(WorkerId(10), registration));
    let mut second = spec.clone();
    second.key = key(2);
    grid.submit(ANN, &[spec, second], &[key(1), key(2)]);
    let out = grid.worker(11, 1);
    assert_eq!((out.placed(), withdrawn(&out)), (vec![], vec![]));
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 2, 0)]);
}
