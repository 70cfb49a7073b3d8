//! Who wants what: failure, retries, release, cancel, clients that leave, long chains.

use grid_proto::message::{Answer, FromClient, Query};
use grid_proto::{FailureKind, Key, TrapKind};

use super::grid::{ANN, BOB, Grid, call, key, with_retries};
use crate::{Event, Now};

const CHAIN: u64 = 100_000;

fn cancel(keys: &[u64], force: bool) -> FromClient {
    FromClient::Cancel { keys: keys.iter().copied().map(key).collect(), force }
}

fn release(keys: &[u64]) -> FromClient {
    FromClient::Release(keys.iter().copied().map(key).collect())
}

#[test]
fn a_failure_reaches_all_dependents_with_its_cause() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls = [call(1, &[]), call(2, &[1]), call(3, &[2]), call(4, &[])];
    grid.submit(ANN, &calls, &[key(2), key(3), key(4)]);
    let trap = FailureKind::Trap { trap: TrapKind::Unreachable };
    let out = grid.fail(10, 1, 0, trap.clone());
    let failed = out.failed(ANN);
    assert_eq!(failed.iter().map(|(call, _)| *call).collect::<Vec<_>>(), [2, 3]);
    for (_, failure) in failed {
        let site = failure.site.as_ref().unwrap();
        assert_eq!((&failure.kind, site.key, &*site.worker), (&trap, key(1), "w10"));
        assert_eq!(site.task, "tests@1:none");
    }
    assert_eq!(grid.state(4), "processing", "what does not depend on it goes on");
    let calls = grid.calls();
    let third = calls.iter().find(|info| info.key == key(3)).unwrap();
    assert!(
        third.explanation.contains("(tests@1:none) failed: unreachable: it broke"),
        "{third:?}"
    );
}

#[test]
fn a_dependent_of_a_failed_call_fails_at_once() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.fail(10, 1, 0, FailureKind::User);
    let out = grid.submit(BOB, &[call(2, &[]), call(3, &[1, 2])], &[key(3)]);
    assert_eq!(out.failed(BOB).len(), 1);
    assert_eq!(grid.state(2), "released", "the other input is not computed in vain");
    assert!(out.placed().is_empty());
}

#[test]
fn retries_are_exact_and_each_is_another_attempt() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[with_retries(call(1, &[]), 2)], &[key(1)]);
    for attempt in 0..2 {
        let out = grid.fail(10, 1, attempt, FailureKind::User);
        assert_eq!(out.placed(), [(10, 1, attempt + 1)]);
        assert!(out.failed(ANN).is_empty());
    }
    let out = grid.fail(10, 1, 2, FailureKind::User);
    assert!(out.placed().is_empty());
    let (_, failure) = out.failed(ANN)[0];
    assert_eq!(failure.site.as_ref().unwrap().attempt.0, 2);
    let Answer::Counts(counts) = grid.ask(Query::Counts) else { panic!() };
    assert_eq!((counts[0].calls, counts[0].failures["user-error"]), (3, 3));
}

#[test]
fn what_cannot_end_otherwise_is_not_tried_again() {
    let kinds = [
        FailureKind::BadArgument { index: 0 },
        FailureKind::BundleInvalid,
        FailureKind::HostDenied { what: "/etc".to_owned() },
    ];
    for kind in kinds {
        let mut grid = Grid::new();
        grid.worker(10, 1);
        grid.submit(ANN, &[with_retries(call(1, &[]), 5)], &[key(1)]);
        assert_eq!(grid.fail(10, 1, 0, kind).failed(ANN).len(), 1);
    }
}

#[test]
fn a_result_is_kept_while_somebody_wants_it_and_freed_after() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 9);
    assert!(grid.say(ANN, release(&[1])).freed().is_empty());
    assert_eq!(grid.say(BOB, release(&[1, 77])).freed(), [(10, 1)]);
    assert!(grid.calls().is_empty());
}

#[test]
fn inputs_are_freed_when_their_last_reader_is_done() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1]), call(3, &[1])], &[key(2), key(3)]);
    grid.finish(10, 1, 0, 9);
    assert!(grid.finish(10, 2, 0, 1).freed().is_empty());
    assert_eq!(grid.finish(10, 3, 0, 1).freed(), [(10, 1)]);
    assert_eq!(grid.state(1), "released", "its recipe stays: 2 and 3 may be lost");
}

#[test]
fn a_cancel_leaves_what_others_want() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    let shared = [call(1, &[]), call(2, &[1])];
    grid.submit(ANN, &[&shared[..], &[call(3, &[1])]].concat(), &[key(2), key(3)]);
    grid.submit(BOB, &shared, &[key(2)]);
    let out = grid.say(ANN, cancel(&[1], false));
    let mut failed: Vec<_> = out.failed(ANN).iter().map(|(call, _)| *call).collect();
    failed.sort_unstable();
    assert_eq!(failed, [2, 3], "all that depends on it is cancelled for her");
    assert!(out.cancelled().is_empty() && out.failed(BOB).is_empty(), "{out:?}");
    assert_eq!(grid.state(3), "unknown");
    grid.finish(10, 1, 0, 1);
    assert_eq!(grid.finish(10, 2, 0, 1).ready(BOB), [2]);
}

#[test]
fn a_forced_cancel_stops_it_for_all() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    let out = grid.say(ANN, cancel(&[1], true));
    assert_eq!(out.cancelled(), [(10, 1, 0)]);
    assert_eq!(out.failed(BOB)[0].1.kind, FailureKind::Cancelled);
    assert!(grid.calls().is_empty());
}

#[test]
fn who_asks_for_a_result_that_was_cancelled_meanwhile_is_told() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    grid.submit(BOB, &[call(1, &[])], &[key(1)]);
    assert_eq!(grid.finish(10, 1, 0, 9_000).ready(BOB), [1]);
    let locate = || FromClient::Locate { keys: vec![key(1)], failed: Vec::new() };
    assert_eq!(grid.say(BOB, locate()).ready(BOB), [1]);
    let out = grid.say(ANN, cancel(&[1], true));
    assert_eq!((out.freed(), out.failed(BOB).len()), (vec![(10, 1)], 0));
    assert_eq!(grid.say(BOB, locate()).failed(BOB)[0].1.kind, FailureKind::Cancelled);
}

#[test]
fn a_client_that_leaves_takes_only_its_own_wishes_along() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.submit(BOB, &[call(2, &[])], &[key(2)]);
    assert_eq!(grid.tell(Event::ClientGone(ANN)).cancelled(), [(10, 1, 0)]);
    assert_eq!(grid.state(1), "unknown");
    assert_eq!(grid.finish(10, 2, 0, 1).ready(BOB), [2]);
    assert!(grid.submit(ANN, &[call(5, &[])], &[key(5)]).0.is_empty(), "nobody listens");
}

#[test]
fn a_call_that_was_stopped_and_comes_again_is_another_attempt() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    assert_eq!(grid.say(ANN, release(&[1])).cancelled(), [(10, 1, 0)]);
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).placed(), [(10, 1, 1)]);
    // What the worker said before it heard of the cancellation is no end of the new one.
    let out = grid.finish(10, 1, 0, 1);
    assert!(out.0.is_empty(), "its old result is its own matter: {out:?}");
    assert_eq!(grid.stale(), 1);
    assert_eq!(grid.finish(10, 1, 1, 1).ready(ANN), [1]);
}

/// A chain of calls; the machine alone is driven, since its checks are slow on purpose.
fn chain(grid: &mut Grid, retries: u32) -> Key {
    let first = with_retries(call(0, &[]), retries);
    let rest = (1..CHAIN).map(|n| call(n, &[n - 1]));
    let calls: Vec<_> = std::iter::once(first).chain(rest).collect();
    let last = key(CHAIN - 1);
    assert!(grid.submit(ANN, &calls, &[last]).is_accepted());
    last
}

#[test]
fn a_long_chain_is_activated_and_released_without_recursion() {
    let mut grid = Grid::new();
    chain(&mut grid, 0);
    assert_eq!(grid.calls().len(), 10_000, "as many as are listed");
    grid.say(ANN, release(&[CHAIN - 1]));
    assert!(grid.calls().is_empty());
}

#[test]
fn a_long_chain_fails_without_recursion() {
    let mut grid = Grid::new();
    chain(&mut grid, 0);
    grid.worker(10, 1);
    let out = grid.fail(10, 0, 0, FailureKind::User);
    assert_eq!(out.failed(ANN).len(), 1);
    assert!(grid.tell(Event::ClientGone(ANN)).0.is_empty());
    assert!(grid.calls().is_empty());
}

#[test]
fn a_long_chain_is_cancelled_and_recomputed_without_recursion() {
    let mut grid = Grid::new();
    let last = chain(&mut grid, 0);
    grid.worker(10, 1);
    for n in 0..CHAIN {
        let event = |key| grid_proto::message::FromWorker::Finished {
            key,
            attempt: grid_proto::Attempt(0),
            outcome: grid_proto::message::Outcome::Memory {
                meta: super::grid::meta(1),
                inline: None,
            },
            spent: grid_proto::Spent::default(),
        };
        grid.machine.handle(grid.now, Event::Worker(grid_proto::WorkerId(10), event(key(n))));
        grid.machine.flush(Now(2));
        while grid.machine.poll_action().is_some() {}
    }
    assert_eq!(grid.state(CHAIN - 1), "memory");
    grid.tell(Event::WorkerGone(grid_proto::WorkerId(10)));
    assert_eq!(grid.worker(11, 1).placed(), [(11, 0, 1)], "from its beginning");
    let out = grid.say(ANN, FromClient::Cancel { keys: vec![last], force: false });
    assert_eq!(out.cancelled(), [(11, 0, 1)]);
    assert!(grid.calls().is_empty());
}
