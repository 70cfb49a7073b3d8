//! What is large is done in turns, and keeps nobody waiting.

use grid_proto::message::{FromClient, FromWorker, Outcome, Submission, ToWorker};
use grid_proto::{Attempt, ClientId, RequestId, Spent, WorkerId};

use super::grid::{ANN, BOB, Grid, Out, call, heartbeat, key, meta, tasks};
use crate::{Action, Config, Event, Now};

fn grid() -> Grid {
    let mut grid = Grid::with(Config { turn_calls_max: 10, lookahead_us: 0, ..Config::default() });
    grid.worker(9, 1);
    grid
}

/// One turn, and no more.
fn turn(grid: &mut Grid) -> Out {
    grid.machine.flush(grid.now);
    grid.machine.check().unwrap();
    Out(std::iter::from_fn(|| grid.machine.poll_action()).collect())
}

fn say(grid: &mut Grid, client: ClientId, message: FromClient) {
    grid.machine.handle(grid.now, Event::Client(client, message));
}

/// A thousand calls, in one piece.
fn thousand() -> Submission {
    Submission {
        request: RequestId(1),
        tasks: tasks(),
        calls: (0..1_000).map(|n| call(n, &[])).collect(),
        wanted: (0..1_000).map(key).collect(),
        ..Submission::default()
    }
}

fn one(number: u64) -> Submission {
    let (calls, wanted) = (vec![call(number, &[])], vec![key(number)]);
    Submission { request: RequestId(2), tasks: tasks(), calls, wanted, ..Submission::default() }
}

#[test]
fn a_call_of_somebody_else_starts_in_the_midst_of_a_large_submission() {
    let mut grid = grid();
    say(&mut grid, ANN, FromClient::Submit(thousand()));
    turn(&mut grid);
    assert_eq!(grid.machine.poll_timeout(), Some(grid.now), "there is more to do");
    let mut urgent = one(5_000);
    urgent.calls[0].options.priority = 1;
    say(&mut grid, BOB, FromClient::Submit(urgent));
    grid.machine.handle(
        grid.now,
        Event::WorkerConnected(WorkerId(10), grid.registration(10, "w10", 10, 1)),
    );
    let mut turns = 0;
    while !turn(&mut grid).placed().iter().any(|(_, number, _)| *number == 5_000) {
        turns += 1;
        assert!(turns < 5, "it waits for all the others");
    }
    assert!(grid.machine.has_leftovers(), "the large one is not done");
    grid.settle();
    assert_eq!(grid.calls().len(), 1_001);
    assert_ne!(grid.machine.poll_timeout(), Some(Now(1)), "nothing is left to do");
}

#[test]
fn who_leaves_in_the_midst_leaves_nothing_behind() {
    for turns in [0, 1, 50, 120, 190] {
        let mut grid = grid();
        say(&mut grid, ANN, FromClient::Submit(thousand()));
        (0..turns).for_each(|_| drop(turn(&mut grid)));
        grid.machine.handle(grid.now, Event::ClientGone(ANN));
        turn(&mut grid);
        grid.settle();
        assert!(grid.calls().is_empty(), "after {turns} turns");
    }
}

#[test]
fn what_is_let_go_before_its_turn_does_not_start() {
    let mut grid = grid();
    say(&mut grid, ANN, FromClient::Submit(thousand()));
    turn(&mut grid);
    say(&mut grid, ANN, FromClient::Release((10..1_000).map(key).collect()));
    turn(&mut grid);
    grid.settle();
    assert_eq!(grid.calls().len(), 10);
}

#[test]
fn an_unfinished_submission_holds_nothing_that_others_want_and_ends_with_its_client() {
    let mut grid = grid();
    let mut piece = thousand();
    piece.more = true;
    say(&mut grid, ANN, FromClient::Submit(piece));
    grid.settle();
    assert!(grid.calls().iter().all(|call| call.state == "released"));
    // Somebody else wants one of them: it runs, its result goes when nobody wants it.
    let out = grid.submit(BOB, &[call(3, &[])], &[key(3)]);
    assert_eq!(out.placed(), [(9, 3, 0)]);
    assert_eq!(grid.finish(9, 3, 0, 1).ready(BOB), [3]);
    grid.say(BOB, FromClient::Release(vec![key(3)]));
    grid.tell(Event::ClientGone(ANN));
    assert!(grid.calls().is_empty());
}

#[test]
fn a_refused_submission_takes_no_interest_away_that_was_there_before() {
    let mut grid = grid();
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let mut bad = one(2);
    bad.calls.insert(0, call(1, &[]));
    bad.calls.push(call(3, &[77]));
    bad.wanted = vec![key(1), key(2)];
    say(&mut grid, ANN, FromClient::Submit(bad));
    assert!(grid.settle().refusal().is_some());
    assert_eq!(grid.calls().len(), 1);
    assert_eq!(grid.finish(9, 1, 0, 1).ready(ANN), [1]);
}

#[test]
fn a_graph_that_runs_while_it_is_still_being_started_computes_nothing_twice() {
    let mut grid = grid();
    (10..14).for_each(|worker| drop(grid.worker(worker, 1)));
    // Layers of forty; each call reads two of the layer before, far apart.
    let inputs = |n: u64| [n / 40 * 40 - 40 + n * 7 % 40, n / 40 * 40 - 40 + (n * 13 + 1) % 40];
    let layered = |n: u64| match n {
        0..40 => call(n, &[]),
        _ => call(n, &inputs(n)),
    };
    let submission = Submission {
        request: RequestId(1),
        tasks: tasks(),
        calls: (0..400).map(layered).collect(),
        wanted: (360..400).map(key).collect(),
        ..Submission::default()
    };
    say(&mut grid, ANN, FromClient::Submit(submission));
    let mut ran = Vec::new();
    loop {
        let given = turn(&mut grid).placed();
        for (worker, number, attempt) in &given {
            ran.push(*number);
            let outcome = Outcome::Memory { meta: meta(1), inline: None };
            let (key, attempt) = (key(*number), Attempt(*attempt));
            let spent = Spent::default();
            let ended = FromWorker::Finished { key, attempt, outcome, spent };
            grid.machine.handle(grid.now, Event::Worker(WorkerId(*worker), ended));
        }
        if given.is_empty() && !grid.machine.has_leftovers() {
            break;
        }
    }
    ran.sort_unstable();
    assert!(ran.windows(2).all(|pair| pair[0] < pair[1]), "computed twice: {ran:?}");
    let ready = grid.calls().iter().filter(|call| call.state == "memory").count();
    assert_eq!(ready, 40);
}

#[test]
fn who_leaves_with_a_thousand_futures_keeps_nobody_waiting() {
    let mut grid = grid();
    say(&mut grid, ANN, FromClient::Submit(thousand()));
    grid.settle();
    grid.machine.handle(grid.now, Event::ClientGone(ANN));
    let mut urgent = one(5_000);
    urgent.calls[0].options.priority = 1;
    say(&mut grid, BOB, FromClient::Submit(urgent));
    grid.machine.handle(
        grid.now,
        Event::WorkerConnected(WorkerId(10), grid.registration(10, "w10", 10, 1)),
    );
    let mut turns = 0;
    while !turn(&mut grid).placed().iter().any(|(_, number, _)| *number == 5_000) {
        turns += 1;
        assert!(turns < 10, "it waits until all others are forgotten");
    }
    assert!(grid.machine.has_leftovers(), "not all are forgotten");
    grid.settle();
    assert_eq!(grid.calls().len(), 1);
}

#[test]
fn nothing_is_asked_back_for_a_worker_that_is_about_to_get_calls() {
    let mut grid = Grid::with(Config { turn_calls_max: 1, ..Config::default() });
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.hear(10, FromWorker::Started(vec![(key(1), Attempt(0))]));
    grid.worker(11, 1);
    grid.now = Now(600_000);
    let heard = Event::Worker(WorkerId(10), heartbeat());
    grid.machine.handle(grid.now, heard);
    say(&mut grid, BOB, FromClient::Submit(one(5_000)));
    let mut placed = Vec::new();
    while placed.is_empty() {
        let out = turn(&mut grid);
        let asks = |action: &Action| matches!(action, Action::ToWorker(_, ToWorker::Withdraw(_)));
        assert!(!out.0.iter().any(asks), "{out:?}");
        placed = out.placed();
    }
    assert_eq!(placed, [(11, 5_000, 0)]);
}

#[test]
fn a_worker_is_told_in_one_message_of_a_turn_what_it_shall_free_and_before_it_gets_that_again() {
    let mut grid = grid();
    let calls: Vec<_> = (1..=4).map(|number| call(number, &[])).collect();
    let keys: Vec<_> = (1..=4).map(key).collect();
    grid.submit(ANN, &calls, &keys);
    (1..=4).for_each(|number| drop(grid.finish(9, number, 0, 1)));
    say(&mut grid, ANN, FromClient::Release(keys[..3].to_vec()));
    let frees = |out: &Out| {
        let told =
            out.0.iter().filter(|it| matches!(it, Action::ToWorker(_, ToWorker::Free { .. })));
        (told.count(), out.freed())
    };
    let (messages, mut freed) = frees(&turn(&mut grid));
    freed.sort_unstable();
    assert_eq!((messages, freed), (1, vec![(9, 1), (9, 2), (9, 3)]));
    // The same key anew, within the turn in which it is freed.
    say(&mut grid, ANN, FromClient::Release(keys[3..].to_vec()));
    say(&mut grid, ANN, FromClient::Submit(one(4)));
    let out = turn(&mut grid);
    let place = |wanted: fn(&ToWorker) -> bool| {
        out.0.iter().position(|it| matches!(it, Action::ToWorker(_, message) if wanted(message)))
    };
    let free = place(|message| matches!(message, ToWorker::Free { .. }));
    let run = place(|message| matches!(message, ToWorker::Run(_)));
    assert!(free.is_some() && free < run, "{out:?}");
}
