//! Calls that submit calls: who comes first, who ends with whom, what is refused.

use std::collections::BTreeSet;

use grid_proto::message::{
    FromClient, FromWorker, Outcome, Registration, Submission, ToClient, ToWorker,
};
use grid_proto::{Attempt, CallOptions, CallSpec, FailureKind, Key, RequestId, Spent, WorkerId};

use super::grid::{ANN, Grid, Out, call, key, meta, number, tasks};
use crate::{Action, Config, Event};

impl Grid {
    /// A running call says something.
    pub(super) fn speak(
        &mut self,
        worker: u32,
        parent: u64,
        attempt: u32,
        message: FromClient,
    ) -> Out {
        let message = Box::new(message);
        let (key, attempt) = (key(parent), Attempt(attempt));
        self.hear(worker, FromWorker::FromTask { key, attempt, message })
    }

    /// A running call submits calls and wants all of them.
    fn nest(&mut self, worker: u32, parent: u64, attempt: u32, calls: &[CallSpec]) -> Out {
        let wanted = calls.iter().map(|call| call.key).collect();
        let submission = Submission {
            request: RequestId(7),
            tasks: tasks(),
            calls: calls.to_vec(),
            wanted,
            ..Submission::default()
        };
        self.speak(worker, parent, attempt, FromClient::Submit(submission))
    }

    pub(super) fn waits(&mut self, worker: u32, parent: u64, attempt: u32, waits: bool) -> Out {
        let (key, attempt) = (key(parent), Attempt(attempt));
        self.hear(worker, FromWorker::Waits { key, attempt, waits })
    }

    fn reschedule(&mut self, worker: u32, call: u64, attempt: u32) -> Out {
        let (key, attempt) = (key(call), Attempt(attempt));
        let spent = Spent::default();
        self.hear(
            worker,
            FromWorker::Finished { key, attempt, outcome: Outcome::Reschedule, spent },
        )
    }
}

impl Out {
    /// What a worker is told for a call.
    pub(super) fn told(&self, parent: u64) -> Vec<(u32, &ToClient)> {
        let told = |action| match action {
            &Action::ToWorker(WorkerId(worker), ToWorker::ToTask { key, ref message, .. })
                if number(key) == parent =>
            {
                Some((worker, message.as_ref()))
            }
            _ => None,
        };
        self.0.iter().filter_map(told).collect()
    }

    fn refused(&self, parent: u64) -> Option<String> {
        self.told(parent).into_iter().find_map(|(_, message)| match message {
            ToClient::Refused { error, .. } => Some(error.to_string()),
            _ => None,
        })
    }
}

/// One worker of one slot that runs call 1.
fn parent() -> Grid {
    let mut grid = Grid::new();
    grid.worker(1, 1);
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).placed(), [(1, 1, 0)]);
    grid
}

#[test]
fn one_slot_suffices_for_calls_of_calls() {
    let mut grid = parent();
    for depth in 1..=30 {
        let placed = grid.waits(1, depth, 0, true);
        assert!(placed.placed().is_empty());
        assert_eq!(grid.nest(1, depth, 0, &[call(depth + 1, &[])]).placed(), [(1, depth + 1, 0)]);
    }
    for depth in (1..=30).rev() {
        let told = grid.finish(1, depth + 1, 0, 8);
        let [(1, ToClient::Ready { key: ready, .. })] = told.told(depth)[..] else {
            panic!("{told:?}")
        };
        assert_eq!(number(*ready), depth + 1);
        grid.waits(1, depth, 0, false);
    }
    assert_eq!(grid.finish(1, 1, 0, 8).ready(ANN), [1]);
    assert_eq!(grid.calls().len(), 1, "the children went with their parents");
}

#[test]
fn a_call_that_waits_makes_room() {
    let mut grid = parent();
    let more: Vec<_> = (2..10).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (2..10).map(key).collect();
    assert_eq!(grid.submit(ANN, &more, &keys).placed(), [(1, 2, 0)]);
    assert_eq!(grid.waits(1, 1, 0, true).placed(), [(1, 3, 0)]);
    assert!(grid.waits(1, 1, 0, true).placed().is_empty(), "it said so before");
    assert!(grid.waits(1, 1, 0, false).placed().is_empty());
    grid.finish(1, 1, 0, 8);
}

#[test]
fn children_do_not_overtake_what_is_older_and_precede_what_is_younger() {
    let mut grid = Grid::new();
    let older: Vec<_> = (100..104).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (100..104).map(key).collect();
    grid.submit(ANN, &older, &keys);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let younger: Vec<_> = (200..204).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (200..204).map(key).collect();
    grid.submit(ANN, &younger, &keys);
    let mut order = Vec::new();
    // What the worker has in hand, in its order.
    let mut given = BTreeSet::new();
    let take = |out: &Out, given: &mut BTreeSet<_>| {
        given.extend(out.runs().iter().map(|(_, run)| (run.priority, number(run.key))));
    };
    let mut out = grid.worker(1, 1);
    loop {
        take(&out, &mut given);
        let Some((_, next)) = given.pop_first() else { break };
        order.push(next);
        if next == 1 {
            out = grid.nest(1, 1, 0, &[call(10, &[]), call(11, &[])]);
            take(&out, &mut given);
            out = grid.waits(1, 1, 0, true);
        } else {
            out = grid.finish(1, next, 0, 8);
        }
    }
    let place = |call: u64| order.iter().position(|other| *other == call).unwrap();
    assert!((100..104).all(|older| place(older) < place(10)), "{order:?}");
    assert!((200..204).all(|younger| place(11) < place(younger)), "{order:?}");
}

#[test]
fn what_a_call_wants_ends_with_it_however_it_ends() {
    for end in 0..4 {
        let mut grid = parent();
        grid.waits(1, 1, 0, true);
        grid.nest(1, 1, 0, &[call(2, &[]), call(3, &[])]);
        grid.waits(1, 2, 0, true);
        grid.nest(1, 2, 0, &[call(4, &[])]);
        let out = match end {
            0 => grid.finish(1, 1, 0, 8),
            1 => grid.fail(1, 1, 0, FailureKind::User),
            2 => grid.say(ANN, FromClient::Cancel { keys: vec![key(1)], force: false }),
            _ => grid.tell(Event::ClientGone(ANN)),
        };
        assert!(out.cancelled().contains(&(1, 2, 0)), "{end}: {out:?}");
        assert!(out.cancelled().contains(&(1, 4, 0)), "{end}: {out:?}");
        let left = grid.calls();
        assert!(left.iter().all(|call| call.key == key(1)), "{end}: {left:?}");
    }
}

#[test]
fn a_shared_child_outlives_one_of_its_parents() {
    let mut grid = Grid::new();
    grid.worker(1, 2);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.nest(1, 1, 0, &[call(3, &[])]);
    assert!(grid.nest(1, 2, 0, &[call(3, &[])]).placed().is_empty(), "it runs once");
    let out = grid.fail(1, 1, 0, FailureKind::User);
    assert!(out.cancelled().is_empty());
    let out = grid.finish(1, 3, 0, 8);
    assert!(matches!(out.told(2)[..], [(1, ToClient::Ready { .. })]), "{out:?}");
    assert!(out.told(1).is_empty());
}

#[test]
fn a_failed_child_is_told_and_fails_nobody_else() {
    let mut grid = parent();
    grid.nest(1, 1, 0, &[call(2, &[])]);
    let out = grid.fail(1, 2, 0, FailureKind::User);
    assert!(matches!(out.told(1)[..], [(1, ToClient::Failed { .. })]), "{out:?}");
    assert_eq!(grid.state(1), "processing");
}

#[test]
fn a_lost_worker_takes_the_sessions_of_its_calls_along() {
    let mut grid = parent();
    grid.waits(1, 1, 0, true);
    grid.nest(1, 1, 0, &[call(2, &[])]);
    grid.worker(2, 1);
    let out = grid.tell(Event::WorkerGone(WorkerId(1)));
    assert_eq!(out.placed(), [(2, 1, 1)], "the parent starts over, its children with it");
    assert_eq!(grid.state(2), "unknown");
    let stale = grid.stale();
    grid.nest(1, 1, 0, &[call(3, &[])]);
    let out = grid.nest(2, 1, 0, &[call(3, &[])]);
    assert_eq!(grid.stale(), stale + 2, "its old attempt has nothing to say");
    assert_eq!(out.cancelled(), [(2, 1, 0)], "nor to wait for");
    let placed = grid.nest(2, 1, 1, &[call(2, &[])]).placed();
    assert_eq!(placed, [(2, 2, 1)], "under a number that its old worker never knew");
}

#[test]
fn nesting_is_bounded_and_says_so() {
    let mut grid = Grid::with(Config { nesting_max: 2, ..Config::default() });
    grid.worker(1, 4);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    assert_eq!(grid.nest(1, 1, 0, &[call(2, &[])]).refused(1), None);
    assert_eq!(grid.nest(1, 2, 0, &[call(3, &[])]).refused(2), None);
    let refused = grid.nest(1, 3, 0, &[call(4, &[])]).refused(3).unwrap();
    assert!(refused.contains("nested 2 deep"), "{refused}");
    assert_eq!(grid.state(4), "unknown");
}

#[test]
fn nothing_waits_for_itself() {
    let mut grid = Grid::new();
    grid.worker(1, 4);
    grid.submit(ANN, &[call(1, &[]), call(5, &[1])], &[key(5)]);
    let refused = grid.nest(1, 1, 0, &[call(1, &[])]).refused(1).unwrap();
    assert!(refused.contains("wait for itself"), "{refused}");
    assert_eq!(grid.nest(1, 1, 0, &[call(2, &[])]).refused(1), None);
    for circle in [call(1, &[]), call(5, &[1]), call(6, &[1])] {
        let refused = grid.nest(1, 2, 0, &[circle]).refused(2).unwrap();
        assert!(refused.contains("wait for itself"), "{refused}");
    }
    assert_eq!(grid.nest(1, 2, 0, &[call(7, &[])]).refused(2), None);
}

#[test]
fn a_call_may_not_say_what_is_for_people() {
    let mut grid = parent();
    let ended = FromClient::WorkerEnded { name: "w1".to_owned(), why: "killed".to_owned() };
    grid.speak(1, 1, 0, ended);
    let out = grid.speak(1, 1, 0, FromClient::Cancel { keys: vec![key(1)], force: true });
    assert!(out.cancelled().is_empty());
    assert_eq!(grid.stale(), 2);
    assert_eq!(grid.state(1), "processing");
}

#[test]
fn a_call_that_asks_runs_elsewhere_and_in_the_end_fails() {
    let mut grid = Grid::with(Config { reschedules_max: 3, ..Config::default() });
    grid.worker(1, 1);
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).placed(), [(1, 1, 0)]);
    assert_eq!(grid.reschedule(1, 1, 0).placed(), [(1, 1, 1)], "there is no other worker");
    grid.worker(2, 1);
    // The other worker has more to do, and is chosen nevertheless.
    let busy: Vec<_> = (10..20).map(|n| call(n, &[])).collect();
    let keys: Vec<Key> = (10..20).map(key).collect();
    grid.submit(ANN, &busy, &keys);
    assert!(grid.reschedule(1, 1, 1).placed().contains(&(2, 1, 2)));
    assert!(grid.reschedule(2, 1, 2).placed().contains(&(1, 1, 3)));
    let out = grid.reschedule(1, 1, 3);
    let [(1, failure)] = out.failed(ANN)[..] else { panic!("{out:?}") };
    assert_eq!(failure.kind, FailureKind::Rescheduled);
}

#[test]
fn a_call_that_is_tried_again_may_ask_as_often_as_before() {
    let mut grid = Grid::with(Config { reschedules_max: 1, ..Config::default() });
    grid.worker(1, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    assert_eq!(grid.reschedule(1, 1, 0).placed(), [(1, 1, 1)]);
    assert_eq!(grid.reschedule(1, 1, 1).failed(ANN).len(), 1);
    // Who wants it once more may have started the worker that it looks for.
    let retry = FromClient::Retry { request: RequestId(9), keys: vec![key(1)] };
    assert_eq!(grid.say(ANN, retry).placed(), [(1, 1, 2)]);
    assert_eq!(grid.reschedule(1, 1, 2).placed(), [(1, 1, 3)]);
}

#[test]
fn a_call_that_asks_waits_for_others_that_cannot_take_it_yet() {
    let mut grid = Grid::with(Config { turn_calls_max: 1, ..Config::default() });
    grid.worker(1, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    // It is given nothing until its results are taken over, one in a turn.
    let holds: Vec<_> = (100..200).map(|n| (key(n), meta(8))).collect();
    let registration = Registration { holds, ..grid.registration(2, "w2", 2, 1) };
    grid.machine.handle(grid.now, Event::WorkerConnected(WorkerId(2), registration));
    grid.machine.flush(grid.now);
    let (key, attempt, spent) = (key(1), Attempt(0), Spent::default());
    let asked = FromWorker::Finished { key, attempt, outcome: Outcome::Reschedule, spent };
    grid.machine.handle(grid.now, Event::Worker(WorkerId(1), asked));
    assert_eq!(grid.settle().placed(), [(2, 1, 1)], "and not on the first again");
    // With nobody else to wait for it runs where it was.
    assert_eq!(grid.tell(Event::WorkerGone(WorkerId(2))).placed(), [(1, 1, 2)]);
}

#[test]
fn a_call_that_asked_goes_on_before_others_as_soon_as_another_worker_takes_calls() {
    let mut grid = Grid::with(Config { turn_calls_max: 1, ..Config::default() });
    grid.worker(1, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let holds: Vec<_> = (100..200).map(|n| (key(n), meta(8))).collect();
    let registration = Registration { holds, ..grid.registration(2, "w2", 2, 1) };
    grid.machine.handle(grid.now, Event::WorkerConnected(WorkerId(2), registration));
    grid.machine.flush(grid.now);
    let (asks, attempt, spent) = (key(1), Attempt(0), Spent::default());
    let asked = FromWorker::Finished { key: asks, attempt, outcome: Outcome::Reschedule, spent };
    grid.machine.handle(grid.now, Event::Worker(WorkerId(1), asked));
    grid.machine.flush(grid.now);
    // Enough for both workers that comes before it.
    let urgent = |number| CallSpec {
        options: CallOptions { priority: 1, ..CallOptions::default() },
        ..call(number, &[])
    };
    let calls: Vec<_> = (2..12).map(urgent).collect();
    let wanted: Vec<_> = (2..12).map(key).collect();
    let placed = grid.submit(ANN, &calls, &wanted).placed();
    assert!(placed.contains(&(2, 1, 1)), "{placed:?}");
}

#[test]
fn a_child_can_lower_itself_and_not_raise() {
    let mut grid = Grid::new();
    grid.worker(1, 8);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let with = |number: u64, priority: i32| CallSpec {
        options: CallOptions { priority, ..CallOptions::default() },
        ..call(number, &[])
    };
    let out = grid.nest(1, 1, 0, &[with(2, 5), with(3, 0), with(4, -1)]);
    let priority =
        |call: u64| out.runs().iter().find(|(_, run)| number(run.key) == call).unwrap().1.priority;
    assert!(priority(2) < priority(3), "siblings go in the order of their graph");
    assert!(priority(3) < priority(4));
}
