//! Idle workers come to work, and nothing goes to and fro.

use grid_proto::message::{FromWorker, Outcome, ToWorker};
use grid_proto::{Amount, Attempt, CallSpec, Key, Pins, Spent, WorkerId};

use super::grid::{ANN, Grid, Out, call, heartbeat, key, meta};
use crate::{Action, Config, Event, Now};

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
fn nothing_is_asked_back_before_its_worker_was_told_of_it() {
    let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
    grid.worker(10, 1);
    let calls: Vec<_> = (0..=10).map(|n| call(n, if n == 0 { &[] } else { &[0] })).collect();
    let wanted: Vec<_> = (1..=10).map(key).collect();
    grid.submit(ANN, &calls, &wanted);
    // In one batch its input is there, and somebody comes who is idle.
    let (outcome, spent) = (Outcome::Memory { meta: meta(8), inline: None }, Spent::default());
    let ready = FromWorker::Finished { key: key(0), attempt: Attempt(0), outcome, spent };
    grid.machine.handle(grid.now, Event::Worker(WorkerId(10), ready));
    let joins = Event::WorkerConnected(WorkerId(11), grid.registration(11, "w11", 11, 1));
    let out = grid.tell(joins);
    let (mut told, mut asked) = (Vec::new(), 0);
    for action in &out.0 {
        match action {
            Action::ToWorker(WorkerId(10), ToWorker::Run(runs)) => {
                told.extend(runs.iter().map(|run| (run.key, run.attempt)));
            }
            Action::ToWorker(WorkerId(10), ToWorker::Withdraw(attempts)) => {
                assert!(attempts.iter().all(|attempt| told.contains(attempt)), "{out:?}");
                asked += attempts.len();
            }
            _ => {}
        }
    }
    assert_eq!((told.len(), asked), (10, 1));
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
    spec.options.resources = vec![("GPU".to_owned(), Amount(1))];
    let mut registration = grid.registration(10, "w10", 10, 1);
    registration.resources = vec![("GPU".to_owned(), Amount(1))];
    grid.tell(Event::WorkerConnected(WorkerId(10), registration));
    let mut second = spec.clone();
    second.key = key(2);
    grid.submit(ANN, &[spec, second], &[key(1), key(2)]);
    let out = grid.worker(11, 1);
    assert_eq!((out.placed(), withdrawn(&out)), (vec![], vec![]));
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 2, 0)]);
}

fn gpus(grid: &mut Grid, id: u32, units: u64) -> Out {
    let mut registration = grid.registration(id, &format!("w{id}"), id, 1);
    registration.resources = vec![("GPU".to_owned(), Amount(units))];
    grid.tell(Event::WorkerConnected(WorkerId(id), registration))
}

fn pinned(number: u64, name: &str) -> CallSpec {
    let mut spec = call(number, &[]);
    spec.options.pins = Some(Pins { any_of: vec![name.to_owned()], prefer: false });
    spec
}

#[test]
fn a_newcomer_with_the_resources_takes_over_calls_that_take_them() {
    let mut grid = Grid::new();
    gpus(&mut grid, 10, 1);
    let taking = |number| {
        let mut spec = call(number, &[]);
        spec.options.resources = vec![("GPU".to_owned(), Amount(1))];
        spec
    };
    let calls: Vec<_> = (1..=1_000).map(taking).collect();
    let wanted: Vec<_> = (1..=1_000).map(key).collect();
    assert_eq!(grid.submit(ANN, &calls, &wanted).placed(), [(10, 1, 0)]);
    assert_eq!(grid.worker(11, 1).placed(), [], "it has none");
    assert_eq!(gpus(&mut grid, 12, 1).placed(), [(12, 2, 0)], "and another one stops nobody");
    assert_eq!(grid.finish(12, 2, 0, 1).placed(), [(12, 3, 0)]);
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 4, 0)]);
}

#[test]
fn pinned_calls_of_the_busiest_hide_nothing_behind_them_nor_on_others() {
    let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
    readers(&mut grid, 8, 10);
    // Five more workers, each with more than that held back, all of it pinned.
    for id in 20..25 {
        grid.worker(id, 1);
        let name = format!("w{id}");
        let numbers = u64::from(id) * 1_000..u64::from(id) * 1_000 + 40;
        let calls: Vec<_> = numbers.clone().map(|number| pinned(number, &name)).collect();
        grid.submit(ANN, &calls, &numbers.map(key).collect::<Vec<_>>());
    }
    let mut placed = grid.worker(11, 8).placed();
    for _ in 0..5 {
        // Each round looks at the next of those with most.
        placed.extend(grid.hear(11, heartbeat()).placed());
    }
    assert!(
        placed.iter().any(|(worker, number, _)| (*worker, *number <= 10) == (11, true)),
        "{placed:?}"
    );
}

#[test]
fn a_call_behind_one_that_does_not_end_goes_to_a_newcomer() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let placed = grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]).placed();
    assert_eq!(placed, [(10, 1, 0), (10, 2, 0)]);
    grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
    assert_eq!(withdrawn(&grid.worker(11, 1)), [], "it may end soon");
    grid.now = Now(600_000);
    let out = grid.hear(10, heartbeat());
    assert_eq!(withdrawn(&out), [(10, key(2), Attempt(0))]);
    let gave = FromWorker::Withdrawn { key: key(2), attempt: Attempt(0) };
    assert_eq!(grid.hear(10, gave).placed(), [(11, 2, 1)]);
    grid.now = Now(1_200_000);
    assert_eq!(withdrawn(&grid.hear(10, heartbeat())), [], "what runs stays");
}

#[test]
fn a_reader_behind_one_that_does_not_end_goes_after_its_input_only_if_that_is_sooner() {
    for (bytes, goes) in [(8, true), (900_000_000, false)] {
        let mut grid = Grid::with(Config { lookahead_us: 0, ..Config::default() });
        assert_eq!(readers(&mut grid, bytes, 2).placed(), [(10, 1, 0), (10, 2, 0)]);
        grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
        grid.worker(11, 1);
        grid.now = Now(600_000);
        let out = grid.hear(10, heartbeat());
        assert_eq!(withdrawn(&out).len(), usize::from(goes));
        if goes {
            let gave = FromWorker::Withdrawn { key: key(2), attempt: Attempt(0) };
            assert_eq!(grid.hear(10, gave).placed(), [(11, 2, 1)]);
        }
    }
}

#[test]
fn what_would_come_back_is_not_asked_back() {
    // 12 ms away: sooner than behind three calls of 5 ms, but not than behind the two others.
    for (bytes, count) in [(6_000_000, 0), (4_000_000, 1)] {
        let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
        assert_eq!(readers(&mut grid, bytes, 3).placed().len(), 3);
        grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
        let asked = withdrawn(&grid.worker(11, 1));
        assert_eq!(asked.len(), count);
        for (_, key, attempt) in asked {
            let out = grid.hear(10, FromWorker::Withdrawn { key, attempt });
            assert_eq!(out.placed(), [(11, 3, 1)]);
        }
    }
}

#[test]
fn what_would_come_back_is_not_asked_back_though_its_task_is_shorter_than_it_was_taken_for() {
    let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
    assert_eq!(readers(&mut grid, 6_000_000, 4).placed().len(), 4);
    // It took 100 us; each of the others still counts as 5 ms where it is.
    grid.finish(10, 1, 0, 1);
    grid.hear(10, FromWorker::Started(vec![(key(2), Attempt(0))]));
    assert_eq!(withdrawn(&grid.worker(11, 1)), []);
}

#[test]
fn what_came_back_three_times_because_others_were_faster_stays() {
    let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
    readers(&mut grid, 8, 10);
    grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
    let mut asked = withdrawn(&grid.worker(11, 1));
    for round in 0..3 {
        assert_eq!(asked, [(10, key(10), Attempt(round))]);
        // Before it is there, the other worker has got much to do.
        let others: Vec<_> = (0..500).map(|n| 1_000 * u64::from(round + 1) + n).collect();
        let calls: Vec<_> = others.iter().map(|n| pinned(*n, "w11")).collect();
        let wanted: Vec<_> = others.iter().copied().map(key).collect();
        let mut placed = grid.submit(ANN, &calls, &wanted).placed();
        let (key, attempt) = (key(10), Attempt(round));
        let out = grid.hear(10, FromWorker::Withdrawn { key, attempt });
        assert_eq!(out.placed(), [(10, 10, round + 1)], "it comes back");
        while let Some((worker, number, attempt)) = placed.pop() {
            assert_eq!(withdrawn(&out), []);
            let (key, attempt) = (super::grid::key(number), Attempt(attempt));
            let outcome = Outcome::Memory { meta: meta(1), inline: None };
            let spent = Spent { wall_us: 5_000, ..Spent::default() };
            let out = grid.hear(worker, FromWorker::Finished { key, attempt, outcome, spent });
            placed.extend(out.placed());
            asked = withdrawn(&out);
        }
    }
    let others: Vec<_> = asked.iter().map(|(_, key, _)| super::grid::number(*key)).collect();
    assert_eq!(others, [9], "the one before it");
}

#[test]
fn what_asked_to_run_elsewhere_is_not_brought_back() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    let calls: Vec<_> = (0..10).map(|number| call(number, &[])).collect();
    let wanted: Vec<_> = (0..10).map(key).collect();
    let mut placed = grid.submit(ANN, &calls, &wanted).placed();
    let mut moved = Vec::new();
    while let Some(at) = placed.iter().position(|(worker, ..)| *worker == 10) {
        let (_, number, attempt) = placed.remove(at);
        assert!(!moved.contains(&number), "{number} is back");
        moved.push(number);
        let (key, attempt) = (key(number), Attempt(attempt));
        let (outcome, spent) = (Outcome::Reschedule, Spent::default());
        let out = grid.hear(10, FromWorker::Finished { key, attempt, outcome, spent });
        placed.extend(out.placed());
        for action in out.0 {
            if let Action::ToWorker(_, ToWorker::Withdraw(attempts)) = action {
                let named = |(key, _): &(Key, Attempt)| moved.contains(&super::grid::number(*key));
                assert!(!attempts.iter().any(named), "{attempts:?} of {moved:?}");
            }
        }
    }
    assert!(moved.len() >= 5, "{moved:?}");
}
