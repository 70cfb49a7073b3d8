//! What concerns many calls at once is done in turns: how much one turn does, and what else may happen
//! in the midst of it.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{FromClient, FromWorker, Outcome, Registration, Submission, ToClient};
use grid_proto::{Attempt, ClientId, Failure, FailureKind, Pins, RequestId, Spent, WorkerId};

use super::grid::{ANN, BOB, Grid, Out, call, key, meta, tasks};
use crate::config::AT_ONCE_MAX;
use crate::{Config, Event};

const MANY: u64 = 400;
/// Steps of a turn, and as many as there are kinds of them: all of one round are taken.
const TURN: u64 = 10 + 13;

fn grid() -> Grid {
    Grid::with(Config { turn_calls_max: 10, ..Config::default() })
}

/// One turn, and no more; says how many calls changed their kind of state.
fn turn(grid: &mut Grid) -> (Out, u64) {
    let before = grid.machine.counts.total();
    grid.machine.flush(grid.now);
    grid.machine.check().unwrap();
    let after = grid.machine.counts.total();
    let changed = before.iter().zip(after).map(|(before, after)| before.abs_diff(after)).sum();
    (Out(std::iter::from_fn(|| grid.machine.poll_action()).collect()), changed)
}

/// Turns until nothing is left to do, each of them short. Says what came out.
fn turns(grid: &mut Grid) -> Vec<Out> {
    let mut outs = Vec::new();
    loop {
        let (out, changed) = turn(grid);
        // Each step changes at most two calls: one, and one that it takes the place of.
        assert!(changed <= 4 * TURN, "{changed} calls changed in one turn");
        outs.push(out);
        assert!(outs.len() < 20_000, "it never ends");
        if !grid.machine.has_leftovers() {
            return outs;
        }
    }
}

fn handle(grid: &mut Grid, event: Event) {
    grid.machine.handle(grid.now, event);
    grid.machine.check().unwrap();
}

fn say(grid: &mut Grid, client: ClientId, message: FromClient) {
    handle(grid, Event::Client(client, message));
}

/// Call 0, and four hundred that read it.
fn star(grid: &mut Grid, wanted: ClientId) {
    let submission = Submission {
        request: RequestId(1),
        tasks: tasks(),
        calls: std::iter::once(call(0, &[])).chain((1..=MANY).map(|n| call(n, &[0]))).collect(),
        wanted: (1..=MANY).map(key).collect(),
        ..Submission::default()
    };
    say(grid, wanted, FromClient::Submit(submission));
}

fn finished(number: u64, attempt: u32, outcome: Outcome) -> FromWorker {
    let spent = Spent { wall_us: 10, ..Spent::default() };
    FromWorker::Finished { key: key(number), attempt: Attempt(attempt), outcome, spent }
}

fn finish(grid: &mut Grid, worker: u32, number: u64, attempt: u32) {
    let outcome = Outcome::Memory { meta: meta(8), inline: None };
    handle(grid, Event::Worker(WorkerId(worker), finished(number, attempt, outcome)));
}

fn count(grid: &Grid, label: &str) -> u64 {
    grid.machine.status().calls.get(label).copied().unwrap_or_default()
}

/// Whatever runs ends at once, until nothing runs any more. Says how often each call ended.
fn run(grid: &mut Grid, begun: Vec<Out>) -> BTreeMap<u64, u32> {
    let mut ended = BTreeMap::new();
    let mut running: Vec<_> = begun.iter().flat_map(Out::placed).collect();
    loop {
        for (worker, number, attempt) in std::mem::take(&mut running) {
            *ended.entry(number).or_default() += 1;
            let outcome = Outcome::Memory { meta: meta(8), inline: None };
            let said = finished(number, attempt, outcome);
            grid.machine.handle(grid.now, Event::Worker(WorkerId(worker), said));
        }
        let (out, _) = turn(grid);
        running = out.placed();
        if running.is_empty() && !grid.machine.has_leftovers() {
            return ended;
        }
    }
}

/// A star whose first call runs on worker 9.
fn started() -> Grid {
    let mut grid = grid();
    grid.worker(9, 1);
    star(&mut grid, ANN);
    let begun: Vec<_> = turns(&mut grid).iter().flat_map(Out::placed).collect();
    assert_eq!(begun, [(9, 0, 0)]);
    grid
}

/// And is there, after so many turns of telling its readers.
fn told(turns: usize) -> (Grid, Vec<Out>) {
    let mut grid = started();
    finish(&mut grid, 9, 0, 0);
    let outs = (0..turns).map(|_| turn(&mut grid).0).collect();
    (grid, outs)
}

#[test]
fn the_readers_of_a_result_become_ready_in_turns() {
    let (mut grid, begun) = told(0);
    assert_eq!(count(&grid, "waiting"), MANY, "none in the event itself");
    let mut outs = turns(&mut grid);
    assert!(outs.len() as u64 >= MANY / TURN, "in {} turns", outs.len());
    assert_eq!(count(&grid, "waiting"), 0);
    outs.extend(begun);
    let ended = run(&mut grid, outs);
    assert!((1..=MANY).all(|number| ended.get(&number) == Some(&1)), "each ran once");
}

#[test]
fn a_result_that_comes_and_goes_while_its_readers_are_told_is_counted_right() {
    for told_before in [0, 1, 7, 20] {
        let (mut grid, _) = told(told_before);
        let mut attempt = 1;
        // Lost with its worker, and computed again, faster than its readers hear of it.
        for (worker, turns_between) in [(20, 3), (21, 30), (22, 1), (23, 0)] {
            let (name, lost) = (format!("w{worker}"), worker_of(&grid));
            let joins = grid.registration(worker, &name, worker, 1);
            handle(&mut grid, Event::WorkerConnected(WorkerId(worker), joins));
            // As planned: nobody is to blame.
            handle(&mut grid, Event::Worker(WorkerId(lost), FromWorker::Leaving));
            let again = run_first(&mut grid);
            assert_eq!(again.0, worker, "nobody else is there");
            attempt = again.1;
            finish(&mut grid, worker, 0, attempt);
            (0..turns_between).for_each(|_| drop(turn(&mut grid)));
        }
        assert!(attempt > 0);
        let mut outs = turns(&mut grid);
        outs.extend(in_hand(&grid));
        run(&mut grid, outs);
        assert_eq!(count(&grid, "memory"), MANY, "after {told_before} turns");
    }
}

/// The one worker that is there.
fn worker_of(grid: &Grid) -> u32 {
    grid.machine.workers.iter().map(|(id, _)| id.0).next().unwrap()
}

/// Turns until call 0 is given to somebody; others that are given meanwhile are left in hand.
fn run_first(grid: &mut Grid) -> (u32, u32) {
    for _ in 0..10_000 {
        let (out, _) = turn(grid);
        let first = out.placed().into_iter().find(|(_, number, _)| *number == 0);
        if let Some((worker, _, attempt)) = first {
            return (worker, attempt);
        }
    }
    panic!("the lost result is not computed again");
}

/// What workers have in hand, as if it had just been given.
fn in_hand(grid: &Grid) -> Vec<Out> {
    let mut runs = Vec::new();
    for (id, worker) in grid.machine.workers.iter() {
        for call in &worker.in_hand {
            let call = &grid.machine.calls[*call];
            let assignment = grid_proto::message::Assignment {
                key: call.key,
                attempt: call.attempt,
                task: call.task,
                priority: call.priority,
                args: Vec::new(),
                inputs: Vec::new(),
                limits: call.limits(),
                instance: grid_proto::Instance::Fresh,
                client: None,
            };
            let run = grid_proto::message::ToWorker::Run(vec![assignment]);
            runs.push(Out(vec![crate::Action::ToWorker(id, run)]));
        }
    }
    runs
}

#[test]
fn nothing_is_left_of_readers_that_are_let_go_while_they_are_told() {
    for told_before in [0, 13] {
        for how in 0..4 {
            let (mut grid, _) = told(told_before);
            let keys = || (1..=MANY).map(key).collect();
            match how {
                0 => handle(&mut grid, Event::ClientGone(ANN)),
                1 => say(&mut grid, ANN, FromClient::Release(keys())),
                2 => say(&mut grid, ANN, FromClient::Cancel { keys: vec![key(0)], force: false }),
                _ => say(&mut grid, BOB, FromClient::Cancel { keys: vec![key(0)], force: true }),
            }
            turns(&mut grid);
            assert!(grid.calls().is_empty(), "{how} after {told_before} turns");
        }
    }
}

#[test]
fn those_that_read_a_failed_call_fail_in_turns() {
    for told_before in [0, 10] {
        let mut grid = started();
        let failure = Failure::new(FailureKind::User, "it broke");
        let said = finished(0, 0, Outcome::Failed(failure));
        handle(&mut grid, Event::Worker(WorkerId(9), said));
        assert_eq!(count(&grid, "waiting"), MANY, "none in the event itself");
        let mut outs: Vec<_> = (0..told_before).map(|_| turn(&mut grid).0).collect();
        // One that comes in the midst fails with them.
        grid.machine.handle(
            grid.now,
            Event::Client(
                BOB,
                FromClient::Submit(Submission {
                    request: RequestId(2),
                    tasks: tasks(),
                    calls: vec![call(0, &[]), call(5_000, &[0])],
                    wanted: vec![key(5_000)],
                    ..Submission::default()
                }),
            ),
        );
        outs.extend(turns(&mut grid));
        let failed: BTreeSet<_> =
            outs.iter().flat_map(|out| out.failed(ANN)).map(|(number, _)| number).collect();
        assert_eq!(failed, (1..=MANY).collect());
        assert!(outs.iter().any(|out| !out.failed(BOB).is_empty()));
        assert_eq!(count(&grid, "waiting"), 0);
    }
}

#[test]
fn failed_calls_run_again_in_turns_though_not_all_have_failed_yet() {
    for failed_before in [1, 10, 100] {
        let mut grid = started();
        let failure = Failure::new(FailureKind::User, "it broke");
        handle(&mut grid, Event::Worker(WorkerId(9), finished(0, 0, Outcome::Failed(failure))));
        (0..failed_before).for_each(|_| drop(turn(&mut grid)));
        let request = RequestId(3);
        say(&mut grid, ANN, FromClient::Retry { request, keys: (1..=MANY).map(key).collect() });
        let outs = turns(&mut grid);
        let answered = |out: &Out| {
            out.0.iter().any(|action| {
                matches!(
                    action,
                    crate::Action::ToClient(ANN, ToClient::Answer { request: RequestId(3), .. })
                )
            })
        };
        assert_eq!(outs.iter().filter(|out| answered(out)).count(), 1);
        run(&mut grid, outs);
        assert_eq!(count(&grid, "memory"), MANY, "after {failed_before} turns");
    }
}

#[test]
fn what_a_lost_worker_held_is_lost_in_turns_and_nobody_is_sent_there() {
    let mut grid = grid();
    grid.worker(9, 4);
    let wide: Vec<_> = (0..MANY).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (0..MANY).map(key).collect();
    let out = grid.submit(ANN, &wide, &keys);
    run(&mut grid, vec![out]);
    assert_eq!(count(&grid, "memory"), MANY);
    grid.worker(10, 1);
    handle(&mut grid, Event::WorkerGone(WorkerId(9)));
    assert_eq!(count(&grid, "memory"), MANY, "none is lost in the event itself");
    // Somebody asks for a call that reads the last of them, before its loss was told.
    let reader = Submission {
        request: RequestId(2),
        tasks: tasks(),
        calls: vec![call(MANY - 1, &[]), call(5_000, &[MANY - 1])],
        wanted: vec![key(5_000)],
        ..Submission::default()
    };
    say(&mut grid, BOB, FromClient::Submit(reader));
    let outs = turns(&mut grid);
    assert!(outs.len() as u64 >= MANY / TURN);
    let mut holders = outs.iter().flat_map(Out::runs).flat_map(|(_, run)| &run.inputs);
    assert!(holders.all(|(_, holders)| !holders.contains(&WorkerId(9))), "it is gone");
    run(&mut grid, outs);
    assert_eq!(count(&grid, "memory"), MANY + 1);
}

#[test]
fn a_process_that_comes_back_at_once_loses_nothing() {
    let mut grid = grid();
    grid.worker(9, 4);
    let wide: Vec<_> = (0..MANY).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (0..MANY).map(key).collect();
    let out = grid.submit(ANN, &wide, &keys);
    run(&mut grid, vec![out]);
    let holds = keys.iter().map(|key| (*key, meta(8))).collect();
    let back = Registration { holds, ..grid.registration(10, "w9", 9, 4) };
    handle(&mut grid, Event::WorkerConnected(WorkerId(10), back));
    let outs = turns(&mut grid);
    assert!(outs.iter().all(|out| out.placed().is_empty() && out.freed().is_empty()));
    assert_eq!(count(&grid, "memory"), MANY);
}

#[test]
fn many_calls_in_the_hands_of_a_lost_worker_start_over_in_turns() {
    let mut grid = Grid::with(Config {
        turn_calls_max: 10,
        lookahead_us: u64::MAX,
        in_hand_per_slot_max: 1_000,
        ..Config::default()
    });
    grid.worker(9, 1);
    let wide: Vec<_> = (0..MANY).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (0..MANY).map(key).collect();
    assert_eq!(grid.submit(ANN, &wide, &keys).placed().len() as u64, MANY);
    handle(&mut grid, Event::WorkerGone(WorkerId(9)));
    assert_eq!(count(&grid, "processing"), MANY - AT_ONCE_MAX as u64);
    // Some are let go before it is their turn: nobody is there to be told.
    say(&mut grid, ANN, FromClient::Release((350..MANY).map(key).collect()));
    let outs = turns(&mut grid);
    assert!(outs.iter().all(|out| out.cancelled().is_empty()));
    grid.worker(10, 1);
    assert_eq!(count(&grid, "processing"), 350);
}

#[test]
fn a_newcomer_costs_what_it_may_run() {
    let pinned = |number: u64, name: String| {
        let mut spec = call(number, &[]);
        spec.options.pins = Some(Pins { any_of: vec![name], prefer: false });
        spec
    };
    let mut grid = grid();
    grid.worker(9, 1);
    let calls: Vec<_> = (0..MANY)
        .map(|n| pinned(n, if n < 200 { "gpu".to_owned() } else { format!("label {n}") }))
        .collect();
    let keys: Vec<_> = (0..MANY).map(key).collect();
    grid.submit(ANN, &calls, &keys);
    assert_eq!(count(&grid, "no-worker"), MANY);
    let joins = |grid: &mut Grid, id: u32, label: &str| {
        let joins = grid.registration(id, &format!("w{id}"), id, 1);
        let joins = Registration { labels: vec![label.to_owned()], ..joins };
        handle(grid, Event::WorkerConnected(WorkerId(id), joins));
    };
    joins(&mut grid, 10, "other");
    assert!(turns(&mut grid).len() <= 1, "it helps nobody");
    joins(&mut grid, 11, "label 300");
    assert!(turns(&mut grid).len() <= 2, "it helps one");
    assert_eq!(count(&grid, "no-worker"), MANY - 1);
    joins(&mut grid, 12, "gpu");
    assert!(count(&grid, "no-worker") >= MANY - 1, "in turns");
    assert!(turns(&mut grid).len() as u64 >= 200 / TURN);
    assert_eq!(count(&grid, "no-worker"), 199);
}

#[test]
fn a_newcomer_that_leaves_at_once_or_changes_houses_nobody_wrongly() {
    let mut grid = grid();
    let taking = |number: u64, units: u64| {
        let mut spec = call(number, &[]);
        spec.options.resources = vec![("gpu".to_owned(), grid_proto::Amount(units))];
        spec
    };
    let calls: Vec<_> = (0..MANY).map(|n| taking(n, 1 + n % 4)).collect();
    let keys: Vec<_> = (0..MANY).map(key).collect();
    grid.submit(ANN, &calls, &keys);
    for leaves in [true, false] {
        let joins = grid.registration(10, "w10", 10, 1);
        let resources = vec![("gpu".to_owned(), grid_proto::Amount(2))];
        let joins = Registration { resources, ..joins };
        let id = if leaves { 10 } else { 11 };
        handle(&mut grid, Event::WorkerConnected(WorkerId(id), joins));
        (0..10).for_each(|_| drop(turn(&mut grid)));
        if leaves {
            handle(&mut grid, Event::WorkerGone(WorkerId(id)));
            turns(&mut grid);
            assert_eq!(count(&grid, "no-worker"), MANY);
        }
    }
    turns(&mut grid);
    assert_eq!(count(&grid, "no-worker"), MANY / 2, "those that take more than two");
}

#[test]
fn a_cancel_leaves_alone_what_comes_after_it() {
    let mut grid = started();
    say(&mut grid, ANN, FromClient::Cancel { keys: vec![key(0)], force: false });
    assert!(grid.machine.has_leftovers(), "it takes turns");
    // The same call, once more, and another one that the request does not know.
    let again = Submission {
        request: RequestId(2),
        tasks: tasks(),
        calls: vec![call(0, &[]), call(1, &[0]), call(MANY, &[0]), call(5_000, &[0])],
        wanted: vec![key(1), key(MANY), key(5_000)],
        ..Submission::default()
    };
    say(&mut grid, ANN, FromClient::Submit(again));
    let outs = turns(&mut grid);
    assert_eq!(grid.calls().len(), 4, "what came after it and what that needs");
    let mut outs = outs;
    outs.extend(in_hand(&grid));
    run(&mut grid, outs);
    for number in [1, MANY, 5_000] {
        assert_eq!(grid.state(number), "memory", "{number}");
    }
}

#[test]
fn the_search_for_circles_ends_with_the_smaller_side() {
    let mut grid = started();
    let parent = grid.machine.calls.find(&key(0)).unwrap();
    let message = Box::new(FromClient::Submit(Submission {
        request: RequestId(7),
        tasks: tasks(),
        calls: vec![call(6_000, &[])],
        wanted: vec![key(6_000)],
        ..Submission::default()
    }));
    let said = FromWorker::FromTask { key: key(0), attempt: Attempt(0), message };
    handle(&mut grid, Event::Worker(WorkerId(9), said));
    turns(&mut grid);
    let client = grid.machine.sessions.client_of(parent).unwrap();
    let child = grid.machine.calls.find(&key(6_000)).unwrap();
    let (through, steps) = grid.machine.search_circle(client, std::iter::once(child));
    assert_eq!(through, None);
    assert!(steps < 10, "hundreds wait for it, and {steps} were looked at");
    let reader = grid.machine.calls.find(&key(300)).unwrap();
    let (through, steps) = grid.machine.search_circle(client, [child, reader].into_iter());
    assert_eq!(through, Some(reader));
    assert!(steps < 10, "{steps}");
}

#[test]
fn a_worker_of_a_name_or_an_offer_that_many_have_is_found_without_a_look_at_the_others() {
    let mut grid = grid();
    for id in 0..200 {
        let registration = grid.registration(id, &format!("w{id}"), id, 1);
        let labels = if id < 100 { Vec::new() } else { vec!["large".to_owned()] };
        let resources = vec![("gpu".to_owned(), grid_proto::Amount(1 + u64::from(id / 100)))];
        let registration = Registration { labels, resources, ..registration };
        handle(&mut grid, Event::WorkerConnected(WorkerId(id), registration));
    }
    let mut calls = vec![call(0, &[]), call(1, &[])];
    calls[0].options.pins = Some(Pins { any_of: vec!["large".to_owned()], prefer: false });
    calls[1].options.resources = vec![("gpu".to_owned(), grid_proto::Amount(2))];
    let given = grid.submit(ANN, &calls, &[key(0), key(1)]).placed();
    assert_eq!(given, [(100, 0, 0), (101, 1, 0)], "those that start first");
    for number in [0, 1] {
        let id = grid.machine.calls.find(&key(number)).unwrap();
        let needs = grid.machine.calls[id].needs().cloned().unwrap();
        let looks = std::cell::Cell::new(0);
        let first = grid.machine.workers.first_to_start(Some(&needs), |_, worker| {
            looks.set(looks.get() + 1);
            crate::placement::meets(worker, Some(&needs), true)
        });
        assert_eq!(first, Some(WorkerId(102)));
        assert!(looks.get() <= 2, "{} were looked at", looks.get());
    }
}
