//! What the scheduler tells of itself: quarantine, stories, counts that agree with the listing.

use std::collections::BTreeMap;

use grid_proto::message::{Answer, FromClient, Query};
use grid_proto::report::{QuarantineInfo, StoryStep};
use grid_proto::{FailureKind, RequestId, TrapKind, WorkerId};

use super::grid::{ANN, BOB, Grid, call, key, typed};
use crate::{Config, Event};

fn trap() -> FailureKind {
    FailureKind::Trap { trap: TrapKind::OutOfBounds }
}

fn quarantine(grid: &mut Grid) -> Vec<QuarantineInfo> {
    match grid.ask(Query::Quarantine) {
        Answer::Quarantine(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn story(grid: &mut Grid, call: u64) -> Vec<StoryStep> {
    match grid.ask(Query::Story { prefix: key(call).to_string() }) {
        Answer::Story(steps) => steps,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_task_with_too_many_strikes_is_refused_until_it_is_cleared() {
    let mut grid = Grid::with(Config { quarantine_strikes: 3, ..Config::default() });
    grid.worker(10, 8);
    for n in 0..2 {
        grid.submit(ANN, &[call(n, &[])], &[key(n)]);
        grid.fail(10, n, 0, trap());
        grid.submit(ANN, &[call(10 + n, &[])], &[key(10 + n)]);
        grid.fail(10, 10 + n, 0, FailureKind::User);
    }
    assert!(quarantine(&mut grid).is_empty(), "two strikes; errors that a task returns are none");
    grid.submit(ANN, &[call(2, &[]), call(3, &[])], &[key(2), key(3)]);
    grid.fail(10, 2, 0, FailureKind::Deadline { limit_ms: 1 });
    let out = grid.submit(ANN, &[call(4, &[]), call(5, &[4])], &[key(5)]);
    assert_eq!(out.placed(), []);
    let failed = out.failed(ANN);
    let (number, failure) = failed[0];
    assert_eq!((number, &failure.kind), (5, &FailureKind::Quarantined { strikes: 3 }));
    assert_eq!(failure.causes.len(), 3, "{failure}");
    assert!(failure.message.contains("grid quarantine clear tests@1:none"), "{failure}");
    assert_eq!(failure.site.as_ref().unwrap().key, key(4));
    assert_eq!(grid.finish(10, 3, 0, 1).ready(ANN), [3], "what runs may end");
    let other = grid.submit(ANN, &[typed(6, &[1])], &[key(6)]);
    assert_eq!(other.placed().len(), 1, "other tasks go on");

    let listed = quarantine(&mut grid);
    assert_eq!((listed[0].task.as_str(), listed[0].strikes), ("tests@1:none", 3));
    assert_eq!(listed[0].last[2].failure, "deadline");
    let wrong = Query::ClearQuarantine { task: Some("tests@1:one".to_owned()) };
    assert!(matches!(grid.ask(wrong), Answer::Refused(_)));
    assert_eq!(grid.ask(Query::ClearQuarantine { task: None }), Answer::Cleared(1));
    assert_eq!(grid.submit(ANN, &[call(7, &[])], &[key(7)]).placed(), [(10, 7, 0)]);
}

#[test]
fn quarantine_can_be_off() {
    let mut grid = Grid::with(Config { quarantine_strikes: 0, ..Config::default() });
    grid.worker(10, 1);
    for n in 0..50 {
        let out = grid.submit(ANN, &[call(n, &[])], &[key(n)]);
        assert_eq!(out.placed(), [(10, n, 0)]);
        grid.fail(10, n, 0, trap());
    }
    assert!(quarantine(&mut grid).is_empty());
}

#[test]
fn a_story_names_every_step_and_its_cause() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.worker(11, 1);
    grid.tell(Event::WorkerGone(WorkerId(10)));
    grid.finish(11, 1, 1, 1);
    grid.say(ANN, FromClient::Release(vec![key(1)]));
    let told: Vec<_> = story(&mut grid, 1)
        .into_iter()
        .map(|step| (step.state, step.attempt.0, step.worker, step.cause))
        .collect();
    let step = |state: &str, attempt, worker: Option<&str>, cause: &str| {
        (state.to_owned(), attempt, worker.map(str::to_owned), cause.to_owned())
    };
    let expected = [
        step("waiting", 0, None, "submissions"),
        step("queued", 0, None, "submissions"),
        step("processing", 0, Some("worker 10, gone"), "placement"),
        step("released", 0, None, "worker `worker 10, gone`: is gone"),
        step("waiting", 1, None, "worker `worker 10, gone`: is gone"),
        step("queued", 1, None, "worker `worker 10, gone`: is gone"),
        step("processing", 1, Some("w11"), "placement"),
        step("memory", 1, None, "worker `w11`: finished"),
        step("released", 2, None, "client 1: release"),
    ];
    assert_eq!(told, expected);
    let short = grid.ask(Query::Story { prefix: "01".to_owned() });
    assert!(matches!(short, Answer::Refused(_)));
}

#[test]
fn a_story_is_bounded() {
    let mut grid = Grid::with(Config { story_steps_max: 4, ..Config::default() });
    grid.worker(10, 1);
    for n in 0..100 {
        grid.submit(ANN, &[call(n, &[])], &[key(n)]);
    }
    assert!(story(&mut grid, 0).is_empty());
    assert!(!story(&mut grid, 99).is_empty());
}

#[test]
fn counts_agree_with_the_listing_in_every_state() {
    let mut grid = Grid::new();
    let mut nowhere = call(7, &[]);
    nowhere.options.pins =
        Some(grid_proto::Pins { any_of: vec!["nobody".to_owned()], prefer: false });
    let calls = [
        call(1, &[]),
        call(2, &[1]),
        call(3, &[2]),
        call(4, &[]),
        call(5, &[]),
        call(6, &[]),
        nowhere,
    ];
    grid.submit(ANN, &calls, &[key(3), key(4), key(5), key(6), key(7)]);
    agree(&mut grid);
    grid.worker(10, 1);
    agree(&mut grid);
    grid.finish(10, 1, 0, 1);
    grid.fail(10, 4, 0, FailureKind::User);
    agree(&mut grid);
    grid.finish(10, 2, 0, 1);
    let counted = agree(&mut grid);
    let states: Vec<_> = counted.keys().map(String::as_str).collect();
    assert_eq!(states, ["erred", "memory", "no-worker", "processing", "released"]);
    grid.tell(Event::WorkerGone(WorkerId(10)));
    agree(&mut grid);
}

fn agree(grid: &mut Grid) -> BTreeMap<String, u64> {
    let mut listed = BTreeMap::new();
    for call in grid.calls() {
        *listed.entry(call.state).or_default() += 1;
    }
    assert_eq!(grid.machine.status().calls, listed);
    let Answer::Counts(tasks) = grid.ask(Query::Counts) else { panic!("no counts") };
    let mut by_task = BTreeMap::new();
    for (state, count) in tasks.into_iter().flat_map(|task| task.states) {
        *by_task.entry(state).or_default() += count;
    }
    assert_eq!(by_task, listed);
    listed
}

#[test]
fn a_late_reader_of_a_failed_call_fails_at_once() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.fail(10, 1, 0, FailureKind::User);
    let out = grid.submit(BOB, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    let failed = out.failed(BOB);
    assert_eq!((failed[0].0, failed[0].1.site.as_ref().unwrap().key), (2, key(1)));
    let query = FromClient::Query { request: RequestId(1), query: Query::Status };
    assert!(grid.say(BOB, query).placed().is_empty());
}
