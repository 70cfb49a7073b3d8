//! Calls that run or stay though no client wants them, and failed calls that run again.

use grid_proto::coordination::{DatasetOperation, Operation};
use grid_proto::limits::RETRY_KEYS_MAX;
use grid_proto::message::{Answer, FromClient, Submission, ToClient};
use grid_proto::{FailureKind, Key, RequestId};

use super::grid::{ANN, BOB, Grid, Out, call, key, number, tasks, with_retries};
use crate::{Action, Config, Event};

fn detach(grid: &mut Grid, calls: &[u64], detached: &[u64]) -> Out {
    let keys = |calls: &[u64]| calls.iter().copied().map(key).collect::<Vec<_>>();
    let calls = calls.iter().map(|number| call(*number, &[])).collect();
    let submission =
        Submission { tasks: tasks(), calls, detached: keys(detached), ..Submission::default() };
    grid.say(ANN, FromClient::Submit(submission))
}

fn dataset(grid: &mut Grid, operation: DatasetOperation) -> Out {
    let operation = Operation::Dataset { name: "named".to_owned(), operation };
    grid.say(ANN, FromClient::Coordinate { request: RequestId(9), operation })
}

fn publish(grid: &mut Grid, calls: &[u64]) {
    let keys = calls.iter().copied().map(key).collect();
    let out = dataset(grid, DatasetOperation::Publish { keys, replace: false });
    assert_eq!(out.refusal(), None);
}

fn retry(grid: &mut Grid, calls: &[u64]) -> (Vec<u64>, Out) {
    let keys = calls.iter().copied().map(key).collect();
    let out = grid.say(ANN, FromClient::Retry { request: RequestId(8), keys });
    let retried = out.0.iter().find_map(|action| match action {
        Action::ToClient(ANN, ToClient::Answer { answer: Answer::Retried(keys), .. }) => {
            Some(keys.iter().copied().map(number).collect())
        }
        _ => None,
    });
    (retried.unwrap_or_default(), out)
}

fn cancel(call: u64, force: bool) -> FromClient {
    FromClient::Cancel { keys: vec![key(call)], force }
}

fn again(out: &Out) -> Vec<Key> {
    let again = |action: &Action| match action {
        Action::ToClient(_, ToClient::Again(keys)) => keys.clone(),
        _ => Vec::new(),
    };
    out.0.iter().flat_map(again).collect()
}

#[test]
fn a_detached_call_runs_to_its_end_without_its_client() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    assert_eq!(detach(&mut grid, &[1, 2], &[1]).placed(), [(10, 1, 0)]);
    assert_eq!(grid.state(2), "unknown", "nobody wants it");
    assert!(grid.tell(Event::ClientGone(ANN)).cancelled().is_empty());
    assert_eq!(grid.finish(10, 1, 0, 9).freed(), [(10, 1)], "its result interests nobody");
    assert!(grid.calls().is_empty());
}

#[test]
fn detached_calls_start_in_turns() {
    let mut grid = Grid::with(Config { turn_calls_max: 1, ..Config::default() });
    grid.worker(10, 3);
    // The machine is checked between the turns, while two of them are about to start.
    assert_eq!(detach(&mut grid, &[1, 2, 3], &[1, 2, 3]).placed().len(), 3);
}

#[test]
fn a_detached_call_is_retried_survives_its_worker_and_is_forgotten_when_it_fails() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls = vec![with_retries(call(1, &[]), 1)];
    let detached = vec![key(1)];
    let whole = Submission { tasks: tasks(), calls, detached, ..Submission::default() };
    grid.say(ANN, FromClient::Submit(whole));
    grid.tell(Event::ClientGone(ANN));
    grid.tell(Event::WorkerGone(grid_proto::WorkerId(10)));
    assert_eq!(grid.worker(11, 1).placed(), [(11, 1, 1)]);
    assert_eq!(grid.fail(11, 1, 1, FailureKind::User).placed(), [(11, 1, 2)]);
    grid.fail(11, 1, 2, FailureKind::User);
    assert!(grid.calls().is_empty());
}

#[test]
fn a_detached_call_that_is_not_known_is_refused_and_one_that_has_ended_is_let_be() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let refused = detach(&mut grid, &[1], &[7]).refusal().unwrap();
    assert!(refused.contains("is not known"), "{refused}");
    assert!(grid.calls().is_empty(), "accepted whole or not at all");
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1);
    detach(&mut grid, &[1], &[1]);
    grid.say(BOB, FromClient::Release(vec![key(1)]));
    assert!(grid.calls().is_empty());
}

#[test]
fn a_forced_cancel_stops_a_detached_call_and_no_other_does() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    detach(&mut grid, &[1], &[1]);
    assert!(grid.say(ANN, cancel(1, false)).cancelled().is_empty());
    assert_eq!(grid.say(BOB, cancel(1, true)).cancelled(), [(10, 1, 0)]);
    assert!(grid.calls().is_empty());
}

#[test]
fn a_forced_cancel_of_a_named_call_leaves_the_name_and_the_news() {
    for finished in [false, true] {
        let mut grid = Grid::new();
        grid.worker(10, 1);
        grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(1), key(2)]);
        publish(&mut grid, &[1, 2]);
        if finished {
            grid.finish(10, 1, 0, 9);
        }
        let out = grid.say(BOB, cancel(1, true));
        assert_eq!(out.cancelled().len(), 1, "what runs is stopped: {out:?}");
        assert_eq!((grid.state(1), grid.state(2)), ("erred".into(), "erred".into()));
        let out = dataset(&mut grid, DatasetOperation::Get);
        assert_eq!(out.refusal(), None);
        let out = grid.say(ANN, FromClient::Took(RequestId(9)));
        let kinds: Vec<_> = out.failed(ANN).iter().map(|(_, why)| why.kind.clone()).collect();
        assert_eq!(kinds, [FailureKind::Cancelled, FailureKind::Cancelled]);
        // Whoever submits the same call anew has it computed, and the name tells of it.
        let out = grid.submit(BOB, &[call(1, &[])], &[key(1)]);
        assert!(out.failed(BOB).is_empty(), "{out:?}");
        assert_eq!(out.placed(), [(10, 1, 1)]);
        assert_eq!(again(&out), [key(1), key(1)], "whoever wants it is told");
        assert_eq!(grid.finish(10, 1, 1, 9).ready(ANN), [1]);
    }
}

/// A root, what hangs on it, and what does not; the root has failed with its one retry.
fn failed_root(wanted: &[u64]) -> Grid {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls = [with_retries(call(1, &[]), 1), call(2, &[1]), call(3, &[2]), call(4, &[])];
    let wanted: Vec<_> = wanted.iter().copied().map(key).collect();
    grid.submit(ANN, &calls, &wanted);
    grid.submit(BOB, &[call(5, &[1])], &[key(5)]);
    grid.fail(10, 1, 0, FailureKind::User);
    grid.fail(10, 1, 1, FailureKind::User);
    grid
}

#[test]
fn a_retry_starts_at_the_root_and_reaches_all_that_failed_with_it() {
    let mut grid = failed_root(&[1, 2, 3, 4]);
    let (retried, out) = retry(&mut grid, &[3]);
    assert_eq!(retried, [1, 2, 3, 5]);
    assert_eq!(again(&out), [key(1), key(2), key(3), key(5)]);
    assert_eq!(out.placed(), [(10, 1, 2)]);
    assert_eq!([2, 3, 5].map(|n| grid.state(n)), ["waiting", "waiting", "waiting"]);
    assert_eq!(grid.fail(10, 1, 2, FailureKind::User).placed(), [(10, 1, 3)], "retries anew");
    assert_eq!(grid.finish(10, 1, 3, 1).ready(ANN), [1]);
    grid.finish(10, 4, 0, 1);
    grid.finish(10, 2, 0, 1);
    assert_eq!(grid.finish(10, 5, 0, 1).ready(BOB), [5]);
    assert_eq!(grid.finish(10, 3, 0, 1).ready(ANN), [3]);
}

#[test]
fn a_retry_resets_a_root_that_nobody_holds_a_future_on() {
    let mut grid = failed_root(&[3]);
    assert_eq!(grid.state(1), "released");
    let (retried, out) = retry(&mut grid, &[3]);
    assert_eq!((retried, out.placed()), (vec![3], vec![(10, 1, 2)]));
    assert_eq!(grid.fail(10, 1, 2, FailureKind::User).placed(), [(10, 1, 3)], "retries anew");
}

#[test]
fn a_retry_resets_the_deaths_that_a_call_is_charged_with() {
    let mut grid = Grid::with(Config { allowed_failures: 0, ..Config::default() });
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    for worker in [10, 11] {
        grid.worker(worker, 1);
        let out = grid.tell(Event::WorkerGone(grid_proto::WorkerId(worker)));
        let FailureKind::KilledWorker { deaths } = &out.failed(ANN)[0].1.kind else {
            panic!("{out:?}")
        };
        assert_eq!(deaths.len(), 1);
        assert_eq!(retry(&mut grid, &[1]).0, [1]);
    }
    assert_eq!(grid.worker(12, 1).placed(), [(12, 1, 2)]);
}

#[test]
fn a_retry_of_what_has_not_failed_changes_nothing_and_of_what_is_unknown_is_refused() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 1);
    let (retried, out) = retry(&mut grid, &[1, 2]);
    assert!(retried.is_empty() && out.placed().is_empty());
    let (_, out) = retry(&mut grid, &[1, 77]);
    assert!(out.refusal().unwrap().contains("is not known"));
}

#[test]
fn a_retry_of_one_failed_input_fails_again_where_another_has_failed_too() {
    let mut grid = Grid::new();
    grid.worker(10, 2);
    grid.submit(ANN, &[call(1, &[]), call(2, &[]), call(3, &[1, 2])], &[key(1), key(2), key(3)]);
    grid.fail(10, 1, 0, FailureKind::User);
    grid.fail(10, 2, 0, FailureKind::User);
    let (retried, out) = retry(&mut grid, &[1]);
    assert_eq!(retried, [1, 3]);
    let (failed, why) = out.failed(ANN)[0];
    assert_eq!((failed, why.site.as_ref().unwrap().key), (3, key(2)));
    assert_eq!(grid.state(1), "processing");
}

#[test]
fn one_request_retries_a_bounded_number_of_calls() {
    let mut grid = failed_root(&[3]);
    let say = |grid: &mut Grid, count: usize| {
        let request = RequestId(8);
        grid.say(ANN, FromClient::Retry { request, keys: vec![key(3); count] })
    };
    let refused = say(&mut grid, RETRY_KEYS_MAX + 1).refusal().unwrap();
    assert!(refused.contains("at most 10000 calls; this one names 10001"), "{refused}");
    assert_eq!(say(&mut grid, RETRY_KEYS_MAX).refusal(), None);
}
