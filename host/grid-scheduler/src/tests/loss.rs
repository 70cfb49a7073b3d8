//! Workers that are lost, come back, or talk of attempts that are over.

use grid_proto::message::{FromClient, FromWorker, ToWorker};
use grid_proto::{Attempt, FailureKind, WorkerId};

use super::grid::{ANN, BOB, Grid, Out, call, copy, key, meta};
use crate::{Action, Config, Event, Now};

fn lose(grid: &mut Grid, worker: u32) -> Out {
    grid.tell(Event::WorkerGone(WorkerId(worker)))
}

fn started(call: u64, attempt: u32) -> FromWorker {
    FromWorker::Started(vec![(key(call), Attempt(attempt))])
}

fn missing(call: u64, attempt: u32, inputs: &[(u64, u32)]) -> FromWorker {
    let missing = inputs.iter().map(|(input, from)| (key(*input), WorkerId(*from))).collect();
    FromWorker::MissingInputs { key: key(call), attempt: Attempt(attempt), missing }
}

fn heartbeat() -> FromWorker {
    let (resident_bytes, descriptors) = (7, 3);
    FromWorker::Heartbeat {
        resident_bytes,
        descriptors,
        fetched_bytes: 0,
        fetching_us: 0,
        memory: grid_proto::report::MemoryUse::default(),
    }
}

#[test]
fn only_what_is_needed_is_computed_again() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    // 1 -> 2 -> 4 and 3; 2 is read and freed, 3 and 4 are wanted.
    let calls = [call(1, &[]), call(2, &[1]), call(3, &[1]), call(4, &[2])];
    grid.submit(ANN, &calls, &[key(3), key(4)]);
    for n in 1..5 {
        grid.finish(10, n, 0, 1);
    }
    grid.worker(11, 1);
    grid.hear(11, FromWorker::Holds(vec![copy(4, 1)]));
    let out = lose(&mut grid, 10);
    assert_eq!(out.placed(), [(11, 1, 1)], "3 is lost and needs 1; 4 has a copy, 2 is not needed");
    assert_eq!((grid.state(2), grid.state(4)), ("released".to_owned(), "memory".to_owned()));
    assert_eq!(grid.finish(11, 1, 1, 1).placed(), [(11, 3, 1)]);
    assert_eq!(grid.finish(11, 3, 1, 1).ready(ANN), [3]);
}

#[test]
fn a_holder_that_a_client_could_not_read_from_is_asked_and_believed() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 9_000);
    grid.finish(10, 2, 0, 9_000);
    let locate = |failed: &[(u64, u32)]| {
        let failed = failed.iter().map(|(call, from)| (key(*call), WorkerId(*from))).collect();
        FromClient::Locate { keys: vec![key(1)], failed }
    };
    let asked = |out: &Out| {
        let asked = |action: &Action| match action {
            Action::ToWorker(WorkerId(10), ToWorker::Confirm(keys)) => Some(keys.clone()),
            _ => None,
        };
        out.0.iter().find_map(asked)
    };
    let out = grid.say(ANN, locate(&[(1, 10), (1, 10), (1, 77), (9, 10)]));
    assert_eq!(asked(&out), Some(vec![key(1)]), "once, and only who is said to hold it");
    assert_eq!((out.ready(ANN), out.placed()), (vec![1], vec![]), "a client alone is not believed");
    assert_eq!(asked(&grid.say(BOB, locate(&[(1, 10)]))), None, "it is none of Bob's");
    let out = grid.hear(10, FromWorker::Missing(vec![key(1)]));
    assert_eq!(out.placed(), [(10, 1, 1)]);
    assert_eq!(grid.finish(10, 1, 1, 9_000).ready(ANN), [1]);
    // It comes twice, or late: then it is not said to hold it.
    let stale = grid.stale();
    grid.submit(ANN, &[call(3, &[])], &[key(3)]);
    assert_eq!(grid.hear(10, FromWorker::Missing(vec![key(3), key(9)])).placed(), []);
    assert_eq!((grid.stale(), grid.state(2)), (stale + 2, "memory".to_owned()));
}

#[test]
fn what_a_lost_worker_had_in_hand_runs_elsewhere() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.worker(11, 4);
    let mut placed = lose(&mut grid, 10).placed();
    placed.sort_unstable();
    assert_eq!(placed, [(11, 1, 1), (11, 2, 1)]);
    assert!(grid.finish(10, 1, 0, 1).0.is_empty());
    assert_eq!(grid.stale(), 1);
}

#[test]
fn the_fourth_death_fails_the_call_that_was_executing_and_no_other() {
    let mut grid = Grid::with(Config { lookahead_us: 1_000_000, ..Config::default() });
    grid.submit(ANN, &[call(1, &[]), call(2, &[]), call(3, &[1])], &[key(2), key(3)]);
    for death in 0..4 {
        let worker = 10 + death;
        let placed = grid.worker(worker, 1).placed();
        assert!(placed.contains(&(worker, 1, death)) && placed.contains(&(worker, 2, death)));
        grid.hear(worker, started(1, death));
        let out = lose(&mut grid, worker);
        if death < 3 {
            assert!(out.failed(ANN).is_empty());
            continue;
        }
        let failed = out.failed(ANN);
        assert_eq!(failed.len(), 1);
        let (dependent, failure) = failed[0];
        let FailureKind::KilledWorker { deaths } = &failure.kind else { panic!("{failure}") };
        let names: Vec<_> = deaths.iter().map(|death| &*death.worker).collect();
        assert_eq!((dependent, names), (3, vec!["w10", "w11", "w12", "w13"]));
        assert_eq!(deaths[3].attempt, Attempt(3));
    }
    assert_eq!(grid.state(2), "no-worker", "it was only waiting there");
    assert_eq!(grid.worker(20, 1).placed(), [(20, 2, 4)]);
}

#[test]
fn a_worker_that_could_not_say_is_charged_with_the_first_in_its_order() {
    let config = Config { lookahead_us: 1_000_000, allowed_failures: 0, ..Config::default() };
    let mut grid = Grid::with(config);
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    let out = lose(&mut grid, 10);
    assert_eq!(out.failed(ANN).len(), 1);
    assert_eq!(out.failed(ANN)[0].0, 1);
}

#[test]
fn the_death_of_one_call_may_take_another_of_the_same_worker_along() {
    let mut grid = Grid::with(Config { allowed_failures: 0, ..Config::default() });
    grid.worker(10, 2);
    // 3 waits for both; with 1 it fails, and nobody wants 2 any more, which is on the same worker.
    grid.submit(ANN, &[call(1, &[]), call(2, &[]), call(3, &[1, 2])], &[key(3)]);
    grid.hear(10, started(1, 0));
    let out = lose(&mut grid, 10);
    assert_eq!(out.failed(ANN).len(), 1);
    assert_eq!(grid.state(2), "released");
}

#[test]
fn a_worker_that_leaves_as_planned_is_no_death() {
    let mut grid = Grid::with(Config { allowed_failures: 0, ..Config::default() });
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.hear(10, started(1, 0));
    let out = grid.hear(10, FromWorker::Leaving);
    assert!(out.failed(ANN).is_empty());
    assert!(out.0.iter().any(|action| matches!(action, Action::DismissWorker(WorkerId(10)))));
    assert_eq!(grid.worker(11, 1).placed(), [(11, 1, 1)]);
}

#[test]
fn a_silent_worker_is_lost_in_time_and_not_before() {
    let mut grid = Grid::with(Config { worker_ttl_us: 1_000, ..Config::default() });
    assert_eq!(grid.machine.poll_timeout(), None);
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.now = Now(500);
    grid.hear(10, heartbeat());
    assert_eq!(grid.machine.poll_timeout(), Some(Now(1_001)), "not earlier than it could be");
    grid.machine.handle_timeout(Now(1_001));
    assert_eq!(grid.machine.poll_timeout(), Some(Now(1_500)));
    grid.machine.handle_timeout(Now(1_499));
    assert!(grid.settle().0.is_empty());
    grid.machine.handle_timeout(Now(1_500));
    let out = grid.settle();
    let closed = |action: &Action| match action {
        Action::CloseWorker(WorkerId(10), reason) => reason == "silent for 1 ms",
        _ => false,
    };
    assert!(out.0.iter().any(closed), "{out:?}");
    assert_eq!(grid.state(1), "no-worker");
}

#[test]
fn messages_about_attempts_that_are_over_only_count() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    grid.finish(10, 1, 0, 1);
    let before = grid.calls();
    let late = [
        started(1, 0),
        started(2, 1),
        started(77, 0),
        missing(1, 0, &[]),
        missing(2, 7, &[(1, 10)]),
    ];
    for (n, message) in (1..).zip(late) {
        assert!(grid.hear(10, message).0.is_empty());
        assert_eq!(grid.stale(), n);
    }
    assert!(grid.fail(11, 2, 0, FailureKind::User).0.is_empty(), "it is not this worker's");
    assert!(grid.hear(99, started(2, 0)).0.is_empty(), "nobody knows this worker");
    assert_eq!((grid.stale(), grid.calls()), (7, before));
    // A result that nobody expects is thrown away where it is.
    assert_eq!(grid.finish(11, 1, 0, 1).freed(), [(11, 1)]);
}

#[test]
fn a_copy_of_a_result_that_was_lost_is_none_of_the_one_computed_anew() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 1);
    grid.worker(11, 1);
    let out = grid.hear(10, missing(2, 0, &[(1, 10)]));
    assert_eq!(out.placed(), [(10, 1, 1)]);
    grid.finish(10, 1, 1, 2);
    // It was on its way all the time.
    let out = grid.hear(11, FromWorker::Holds(vec![copy(1, 1)]));
    assert_eq!(out.freed(), [(11, 1)]);
    assert!(grid.hear(11, FromWorker::Holds(vec![copy(1, 2)])).freed().is_empty());
    assert!(lose(&mut grid, 10).placed().iter().all(|(_, call, _)| *call != 1), "11 has it");
}

#[test]
fn inputs_that_cannot_be_had_are_computed_again() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 1);
    let out = grid.hear(10, missing(2, 0, &[(1, 10)]));
    assert_eq!((out.freed(), out.placed()), (vec![(10, 1)], vec![(10, 1, 1)]));
    assert_eq!(grid.state(2), "waiting");
    assert_eq!(grid.finish(10, 1, 1, 1).placed(), [(10, 2, 1)]);
    // Of two copies only the one that was missed goes.
    grid.worker(11, 1);
    grid.hear(11, FromWorker::Holds(vec![copy(1, 1)]));
    let out = grid.hear(10, missing(2, 1, &[(1, 11)]));
    assert_eq!((out.freed(), grid.state(1)), (vec![(11, 1)], "memory".to_owned()));
    assert_eq!(out.placed(), [(10, 2, 2)]);
}

#[test]
fn an_input_that_can_only_fail_takes_along_who_missed_it() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    // 3 reads 2, 4 reads 2 and 3; the recipe of 2 needs 1, which fails the second time.
    let calls = [call(1, &[]), call(2, &[1]), call(3, &[2]), call(4, &[2, 3])];
    grid.submit(ANN, &calls, &[key(4)]);
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1);
    grid.finish(10, 2, 0, 1);
    grid.worker(11, 1);
    assert_eq!(grid.say(BOB, FromClient::Release(vec![key(1)])).freed(), [(10, 1)]);
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    let out = grid.fail(11, 1, 1, FailureKind::User);
    assert_eq!(out.failed(BOB).len(), 1, "{out:?}");
    let out = grid.hear(10, missing(3, 0, &[(2, 10)]));
    assert_eq!((out.failed(ANN).len(), out.cancelled()), (1, vec![]), "the worker let it go");
    assert_eq!((grid.state(3), grid.state(4)), ("released".to_owned(), "erred".to_owned()));
}

#[test]
fn a_worker_that_comes_back_brings_its_results() {
    let mut grid = Grid::new();
    grid.register(10, "a", 500, 1, Vec::new());
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 6);
    lose(&mut grid, 10);
    assert_eq!(grid.state(1), "no-worker");
    let out = grid.register(11, "a", 500, 1, vec![(key(1), meta(6)), (key(9), meta(1))]);
    assert_eq!(out.freed(), [(11, 9)], "nobody wants that one");
    assert_eq!(out.ready(ANN), [1]);
    assert_eq!(out.placed(), [(11, 2, 1)]);
}

#[test]
fn a_result_that_comes_back_stops_its_computation_elsewhere() {
    let mut grid = Grid::new();
    grid.register(10, "a", 500, 1, Vec::new());
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.worker(11, 1);
    assert_eq!(lose(&mut grid, 10).placed(), [(11, 1, 1)]);
    let out = grid.register(12, "a", 500, 1, vec![(key(1), meta(6))]);
    assert_eq!((out.cancelled(), out.ready(ANN)), (vec![(11, 1, 1)], vec![1]));
    assert_eq!(grid.finish(11, 1, 1, 6).freed(), [(11, 1)]);
}

#[test]
fn the_same_process_on_a_new_connection_takes_over_from_the_old() {
    let mut grid = Grid::with(Config { allowed_failures: 0, ..Config::default() });
    grid.register(10, "a", 500, 1, Vec::new());
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.hear(10, started(1, 0));
    let out = grid.register(11, "a", 500, 1, Vec::new());
    assert!(out.0.iter().any(|action| matches!(action, Action::CloseWorker(WorkerId(10), _))));
    assert_eq!(out.placed(), [(11, 1, 1)], "and that is no death");
    assert!(lose(&mut grid, 10).0.is_empty());
}

#[test]
fn another_process_of_the_same_name_is_refused() {
    let mut grid = Grid::new();
    grid.register(10, "a", 500, 1, Vec::new());
    let out = grid.register(11, "a", 501, 1, Vec::new());
    let refused = |action: &Action| match action {
        Action::CloseWorker(WorkerId(11), reason) => reason.contains("choose another `--name`"),
        _ => false,
    };
    assert!(out.0.iter().any(refused), "{out:?}");
    assert_eq!(grid.submit(BOB, &[call(1, &[])], &[key(1)]).placed(), [(10, 1, 0)]);
}

#[test]
fn a_worker_is_told_each_task_and_peer_once() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let defined = |out: &Out| {
        let define = |action: &&Action| matches!(action, Action::ToWorker(_, ToWorker::Define(_)));
        out.0.iter().filter(define).count()
    };
    assert_eq!(defined(&grid.submit(ANN, &[call(1, &[])], &[key(1)])), 1);
    assert_eq!(defined(&grid.submit(ANN, &[call(2, &[])], &[key(2)])), 0);
    assert_eq!(defined(&grid.submit(ANN, &[call(3, &[1])], &[key(3)])), 0);
    assert_eq!(defined(&grid.finish(10, 1, 0, 1)), 1);
}

#[test]
fn whoever_was_told_of_a_peer_is_told_that_it_is_gone() {
    let mut grid = Grid::new();
    for worker in 10..13 {
        grid.worker(worker, 1);
    }
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 1);
    grid.finish(11, 2, 0, 2);
    // It runs where the larger input is, and the smaller is fetched.
    let join = grid.submit(ANN, &[call(3, &[1, 2])], &[key(3)]);
    assert_eq!(join.placed(), [(11, 3, 0)]);
    let gone = lose(&mut grid, 10);
    let told = |id| Action::ToWorker(WorkerId(id), ToWorker::PeersGone(vec![WorkerId(10)]));
    assert!(gone.0.contains(&told(11)) && !gone.0.contains(&told(12)));
    assert!(!lose(&mut grid, 12).0.contains(&told(11)));
}

#[test]
fn a_call_that_its_workers_died_of_says_why_they_did() {
    let mut grid = Grid::with(Config { allowed_failures: 1, ..Config::default() });
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.worker(10, 1);
    grid.hear(10, started(1, 0));
    let ended = |name: &str, why: &str| FromClient::WorkerEnded {
        name: name.to_owned(),
        why: why.to_owned(),
    };
    grid.say(BOB, ended("w10", "its memory was full"));
    grid.worker(11, 1);
    grid.hear(11, started(1, 1));
    let out = lose(&mut grid, 11);
    let [(1, failure)] = &out.failed(ANN)[..] else { panic!("{:?}", out.failed(ANN)) };
    assert!(failure.message.contains("w10 (its memory was full), w11"), "{}", failure.message);
}

#[test]
fn inputs_are_asked_for_on_the_own_host_first() {
    let mut grid = Grid::new();
    let at = |grid: &mut Grid, id: u32, host: &str| {
        let registration = grid.registration(id, &format!("w{id}"), id, 1);
        let registration =
            grid_proto::message::Registration { host: host.to_owned(), ..registration };
        grid.tell(Event::WorkerConnected(WorkerId(id), registration));
    };
    at(&mut grid, 10, "far");
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1);
    at(&mut grid, 11, "near");
    at(&mut grid, 12, "near");
    grid.hear(11, FromWorker::Holds(vec![copy(1, 1)]));
    let mut reader = call(2, &[1]);
    reader.options.pins = Some(grid_proto::Pins { any_of: vec!["w12".to_owned()], prefer: false });
    let out = grid.submit(ANN, &[reader], &[key(2)]);
    let (12, run) = out.runs()[0] else { panic!("{:?}", out.placed()) };
    assert_eq!(run.inputs, [(key(1), vec![WorkerId(11), WorkerId(10)])]);
}
