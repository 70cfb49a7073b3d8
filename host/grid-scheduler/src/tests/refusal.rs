//! Calls that are refused when their turn comes: their inputs fit nowhere, or their task is in
//! quarantine.

use grid_proto::message::{FromClient, FromWorker, Outcome, Submission};
use grid_proto::{
    Attempt, CallSpec, Failure, FailureKind, Instance, Pins, RequestId, Spent, TrapKind, WorkerId,
};

use super::grid::{ANN, Grid, call, key, tasks};
use crate::{Config, Event};

/// More than a worker may hold.
const TOO_LARGE_BYTES: u64 = 2 << 30;

fn trap() -> FailureKind {
    FailureKind::Trap { trap: TrapKind::Unreachable }
}

fn ended(worker: u32, number: u64, outcome: Outcome) -> Event {
    let (key, attempt) = (key(number), Attempt(0));
    let finished = FromWorker::Finished { key, attempt, outcome, spent: Spent::default() };
    Event::Worker(WorkerId(worker), finished)
}

#[test]
fn a_call_whose_inputs_fit_nowhere_says_which_it_is() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    let out = grid.finish(10, 1, 0, TOO_LARGE_BYTES);
    let failed = out.failed(ANN);
    let site = failed[0].1.site.as_ref().unwrap();
    assert_eq!((site.key, &*site.task), (key(2), "tests@1:one"));
}

#[test]
fn a_refused_call_may_take_other_readers_of_the_same_result_along() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls = vec![call(1, &[]), call(2, &[1]), call(3, &[1, 2]), call(4, &[3, 1])];
    let (request, detached) = (RequestId(1), vec![key(4)]);
    let whole = Submission { request, tasks: tasks(), calls, detached, ..Submission::default() };
    grid.say(ANN, FromClient::Submit(whole));
    assert_eq!(grid.finish(10, 1, 0, TOO_LARGE_BYTES).freed(), [(10, 1)]);
    assert!(grid.calls().is_empty(), "nobody wants to know");
}

fn pinned(spec: CallSpec, name: &str) -> CallSpec {
    let mut spec = spec;
    spec.options.pins = Some(Pins { any_of: vec![name.to_owned()], prefer: false });
    spec
}

#[test]
fn what_is_held_back_for_others_is_not_stolen_from_quarantine() {
    let config = Config { quarantine_strikes: 1, lookahead_us: 0, ..Config::default() };
    let mut grid = Grid::with(config);
    grid.worker(10, 1);
    grid.submit(ANN, &[call(0, &[])], &[key(0)]);
    grid.finish(10, 0, 0, 8);
    let readers: Vec<_> = (1..=5).map(|number| call(number, &[0])).collect();
    let wanted: Vec<_> = (1..=5).map(key).collect();
    assert_eq!(grid.submit(ANN, &readers, &wanted).placed(), [(10, 1, 0), (10, 2, 0)]);
    grid.submit(ANN, &[pinned(call(20, &[0]), "w12")], &[key(20)]);
    assert_eq!(grid.worker(12, 1).placed(), [(12, 20, 0)]);
    let out = grid.fail(12, 20, 0, trap());
    assert_eq!(out.placed(), [], "{out:?}");
    let refused = out
        .failed(ANN)
        .into_iter()
        .filter(|(_, failure)| failure.kind == FailureKind::Quarantined { strikes: 1 });
    assert_eq!(refused.map(|(number, _)| number).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn what_asked_to_run_elsewhere_does_not_leave_quarantine() {
    let mut grid = Grid::with(Config { quarantine_strikes: 1, ..Config::default() });
    for id in 10..13 {
        grid.worker(id, 1);
    }
    let placed = grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]).placed();
    assert_eq!(placed, [(10, 1, 0), (11, 2, 0)]);
    // Both in one batch.
    grid.machine.handle(grid.now, ended(10, 1, Outcome::Reschedule));
    let failure = Failure::new(trap(), "it broke");
    let out = grid.tell(ended(11, 2, Outcome::Failed(failure)));
    assert_eq!(out.placed(), []);
    assert_eq!(out.failed(ANN).len(), 2);
}

#[test]
fn a_call_that_nobody_awaits_and_that_cannot_read_a_method_may_be_refused() {
    let mut grid = Grid::with(Config { quarantine_strikes: 1, ..Config::default() });
    grid.worker(10, 1);
    let with = |number, instance| {
        let mut spec = call(number, &[]);
        spec.options.instance = instance;
        spec
    };
    let actor = [with(1, Instance::Kept), with(2, Instance::Of(key(1))), call(3, &[])];
    grid.submit(ANN, &actor, &[key(1), key(2), key(3)]);
    for number in 1..=3 {
        grid.finish(10, number, 0, 8);
    }
    grid.worker(11, 2);
    let calls = vec![pinned(call(4, &[2]), "w11"), pinned(call(5, &[3]), "w11")];
    let (request, detached, wanted) = (RequestId(9), vec![key(4)], vec![key(5)]);
    let whole =
        Submission { request, tasks: tasks(), calls, detached, wanted, ..Submission::default() };
    assert_eq!(grid.say(ANN, FromClient::Submit(whole)).placed(), [(11, 4, 0), (11, 5, 0)]);
    assert_eq!(grid.fail(11, 5, 0, trap()).failed(ANN).len(), 1, "their task is in quarantine");
    // The worker of the method is asked; the reader would start over, and is refused.
    let missing = vec![(key(2), WorkerId(10))];
    let unread = FromWorker::MissingInputs { key: key(4), attempt: Attempt(0), missing };
    assert_eq!(grid.hear(11, unread).placed(), []);
    assert_eq!(grid.state(4), "unknown");
}
