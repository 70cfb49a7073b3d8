//! What is accepted, what is refused, and that a refusal leaves nothing behind.

use grid_proto::message::{FromClient, Submission};
use grid_proto::{Arg, CallSpec, FailureKind, RequestId};

use super::grid::{ANN, BOB, Grid, Out, call, key, tasks, typed};
use crate::{Config, Event};

#[test]
fn the_same_call_is_known_once_and_told_to_both() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).placed(), [(10, 1, 0)]);
    let again = grid.submit(BOB, &[call(1, &[]), call(2, &[1])], &[key(1), key(2)]);
    assert!(again.is_accepted());
    assert_eq!(again.placed(), []);
    let out = grid.finish(10, 1, 0, 8);
    assert_eq!((out.ready(ANN), out.ready(BOB)), (vec![1], vec![1]));
    assert_eq!(out.placed(), [(10, 2, 0)]);
    // Who asks once more is told at once.
    assert_eq!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).ready(ANN), [1]);
}

#[test]
fn a_key_with_another_recipe_is_refused_and_both_are_named() {
    let mut grid = Grid::new();
    grid.submit(ANN, &[typed(1, &[7])], &[key(1)]);
    let clash = grid.submit(BOB, &[call(5, &[]), call(1, &[5])], &[key(1)]);
    let text = clash.refusal().unwrap();
    assert!(text.contains("tests@1:typed(1 bytes of msgpack)"), "{text}");
    assert!(text.contains("tests@1:one("), "{text}");
    assert_eq!(grid.state(5), "unknown", "nothing of the refused submission stays");
    assert_eq!(grid.calls().len(), 1);
}

#[test]
fn what_names_something_unknown_is_refused_and_leaves_nothing() {
    let mut grid = Grid::new();
    let mut refused = |calls: &[CallSpec], wanted: &[u64]| {
        let wanted: Vec<_> = wanted.iter().copied().map(key).collect();
        let out = grid.submit(ANN, calls, &wanted);
        assert!(!out.is_accepted());
        assert!(grid.calls().iter().all(|call| call.state == "released"), "none starts");
        out.refusal().unwrap()
    };
    let text = refused(&[call(1, &[]), call(2, &[1, 77])], &[2]);
    assert!(text.contains("is not known to the grid"), "{text}");
    let text = refused(&[call(1, &[])], &[1, 9]);
    assert!(text.contains("is not known to the grid"), "{text}");
    let text = refused(&[call(1, &[]), CallSpec { task: 6, ..call(2, &[]) }], &[1]);
    assert!(text.contains("names task 6 of none"), "{text}");
    let text = refused(&[call(1, &[]), typed(2, &[0xa1, b'x'])], &[2]);
    assert!(text.contains("`n`, takes `u32`, not a text"), "{text}");
    let two = vec![Arg::Key(key(1)), Arg::Key(key(1))];
    let text = refused(&[call(1, &[]), CallSpec { args: two, ..typed(2, &[0]) }], &[2]);
    assert!(text.contains("`typed` takes 1 argument (n: u32), not 2"), "{text}");
}

#[test]
fn unknown_bundles_and_tasks_are_refused_with_what_there_is() {
    let mut grid = Grid::new();
    let mut with_task = |change: &dyn Fn(&mut grid_proto::TaskRef)| {
        let mut tasks = tasks();
        change(&mut tasks[0]);
        let calls = vec![call(1, &[])];
        let whole = Submission {
            request: RequestId(7),
            tasks,
            calls,
            wanted: vec![key(1)],
            detached: Vec::new(),
            more: false,
        };
        let text = grid.say(ANN, FromClient::Submit(whole)).refusal().unwrap();
        assert!(grid.calls().is_empty());
        text
    };
    let text = with_task(&|task| task.task = "nine".to_owned());
    assert!(text.contains("`tests@1` has no task `nine`; it has none, one, two"), "{text}");
    let text = with_task(&|task| task.bundle.0[0] = 1);
    assert!(text.contains("is not on this grid"), "{text}");
}

#[test]
fn pieces_are_judged_together_and_share_one_table_of_tasks() {
    let mut grid = Grid::new();
    grid.worker(10, 8);
    let request = RequestId(1);
    let empty = Submission { request, more: true, ..Submission::default() };
    let first = Submission { tasks: tasks(), calls: vec![call(1, &[])], ..empty.clone() };
    let second = Submission { calls: vec![call(2, &[1])], ..empty.clone() };
    let calls = vec![call(3, &[1, 2])];
    let last = Submission { calls, wanted: vec![key(3)], more: false, ..empty };
    for piece in [first, second] {
        let out = grid.say(ANN, FromClient::Submit(piece));
        assert!(out.0.is_empty(), "{out:?}");
        assert!(grid.calls().iter().all(|call| call.state == "released"), "none starts");
    }
    let out = grid.say(ANN, FromClient::Submit(last));
    assert!(out.is_accepted(), "{out:?}");
    assert_eq!(out.placed(), [(10, 1, 0)]);
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 2, 0)]);
    assert_eq!(grid.finish(10, 2, 0, 1).placed(), [(10, 3, 0)]);
    assert_eq!(grid.finish(10, 3, 0, 1).ready(ANN), [3]);
}

#[test]
fn too_large_a_submission_is_refused_once_whatever_pieces_follow() {
    let mut grid = Grid::with(Config { submission_calls_max: 3, ..Config::default() });
    let request = RequestId(1);
    let piece = |from: u64, more| Submission {
        request,
        tasks: if from == 0 { tasks() } else { Vec::new() },
        calls: (from..from + 2).map(|n| call(n, &[])).collect(),
        wanted: if more { Vec::new() } else { vec![key(0)] },
        detached: Vec::new(),
        more,
    };
    assert_eq!(grid.say(ANN, FromClient::Submit(piece(0, true))).refusal(), None);
    let text = grid.say(ANN, FromClient::Submit(piece(2, true))).refusal().unwrap();
    assert!(text.contains("at most 3 calls"), "{text}");
    for (from, more) in [(4, true), (6, false)] {
        let out = grid.say(ANN, FromClient::Submit(piece(from, more)));
        assert!(out.0.is_empty(), "the rest is thrown away: {out:?}");
    }
    assert!(grid.submit(ANN, &[call(1, &[])], &[key(1)]).is_accepted());
}

#[test]
fn an_input_that_is_used_twice_is_one_input() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1, 1])], &[key(2)]);
    let out = grid.finish(10, 1, 0, 1);
    assert_eq!(out.runs()[0].1.args.len(), 2);
    let out = grid.finish(10, 2, 0, 1);
    assert_eq!((out.ready(ANN), out.freed()), (vec![2], vec![(10, 1)]));
}

#[test]
fn what_leads_to_nothing_wanted_is_not_kept() {
    let mut grid = Grid::new();
    let out = grid.submit(ANN, &[call(1, &[]), call(2, &[1]), call(3, &[])], &[key(3)]);
    assert!(out.is_accepted());
    assert_eq!((grid.state(1), grid.state(2)), ("unknown".to_owned(), "unknown".to_owned()));
}

#[test]
fn the_numbers_of_submissions_begin_anew_when_nothing_is_older() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    for round in 1..100 {
        let out = grid.submit(ANN, &[call(round, &[])], &[key(round)]);
        assert!(out.runs().iter().all(|(_, run)| run.priority.submission == 0));
        grid.finish(10, round, 0, 1);
        grid.say(ANN, FromClient::Release(vec![key(round)]));
    }
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.submit(ANN, &[call(2, &[])], &[key(2)]);
    let out = grid.finish(10, 1, 0, 1);
    let later = grid.submit(BOB, &[call(3, &[])], &[key(3)]);
    let runs = [out, later];
    let numbers = runs.iter().flat_map(|out| out.runs()).map(|(_, run)| run.priority.submission);
    assert!(numbers.max() > Some(0), "what is known keeps its place");
}

#[test]
fn what_a_submission_reads_stays_though_its_client_lets_go_of_it_between_two_pieces() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1);
    let request = RequestId(9);
    let (first, last) = (vec![call(2, &[1])], vec![key(2)]);
    let empty = Submission { request, ..Submission::default() };
    let first = Submission { tasks: tasks(), calls: first, more: true, ..empty.clone() };
    grid.say(ANN, FromClient::Submit(first));
    assert_eq!(grid.say(ANN, FromClient::Release(vec![key(1)])).freed(), []);
    let out = grid.say(ANN, FromClient::Submit(Submission { wanted: last, ..empty }));
    assert_eq!(out.placed(), [(10, 2, 0)], "its input is not computed again");
    assert_eq!(grid.finish(10, 2, 0, 1).freed(), [(10, 1)]);
}

fn submission(calls: Vec<CallSpec>, wanted: &[u64]) -> FromClient {
    let wanted = wanted.iter().copied().map(key).collect();
    let request = RequestId(9);
    FromClient::Submit(Submission {
        request,
        tasks: tasks(),
        calls,
        wanted,
        ..Submission::default()
    })
}

#[test]
fn what_runs_is_not_begun_anew_when_its_client_lets_go_of_it_right_after_a_call_that_reads_it() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let reader = submission(vec![call(2, &[1])], &[2]);
    let out = grid.say_all(ANN, [reader, FromClient::Release(vec![key(1)])]);
    assert_eq!((out.placed(), out.cancelled()), (vec![], vec![]), "it runs on");
    assert_eq!(grid.finish(10, 1, 0, 1).placed(), [(10, 2, 0)]);
}

#[test]
fn what_a_known_call_needs_anew_stays_though_its_client_lets_go_of_it_right_after_the_submission() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1]), call(3, &[2])], &[key(1), key(3)]);
    for n in 1..=3 {
        grid.finish(10, n, 0, 1);
    }
    assert_eq!((grid.state(1), grid.state(2)), ("memory".to_owned(), "released".to_owned()));
    // The second is known, and lacks its input if that goes first.
    let again = submission(vec![call(2, &[1])], &[2]);
    let out = grid.say_all(ANN, [again, FromClient::Release(vec![key(1)])]);
    assert_eq!((out.placed(), out.freed()), (vec![(10, 2, 1)], vec![]));
    assert_eq!(grid.finish(10, 2, 1, 1).freed(), [(10, 1)]);
}

#[test]
fn what_others_hold_is_not_kept_by_a_client_that_lets_go_of_what_it_never_had() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 1);
    let open = Submission { request: RequestId(9), more: true, ..Submission::default() };
    grid.say_all(BOB, [FromClient::Submit(open), FromClient::Release(vec![key(1)])]);
    assert_eq!(grid.say(ANN, FromClient::Release(vec![key(1)])).freed(), [(10, 1)]);
}

#[test]
fn what_failed_and_was_let_go_of_runs_anew_though_a_submission_came_before() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.fail(10, 1, 0, FailureKind::User);
    let messages = [
        submission(vec![call(2, &[])], &[2]),
        FromClient::Release(vec![key(1)]),
        submission(vec![call(1, &[])], &[1]),
    ];
    let out = grid.say_all(ANN, messages);
    assert_eq!(out.failed(ANN), [], "not the old failure");
    assert_eq!(grid.state(1), "processing");
}

#[test]
fn what_an_earlier_submission_needs_stays_though_a_later_one_has_started() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let chain = [call(1, &[]), call(2, &[1]), call(3, &[2]), call(4, &[3])];
    grid.submit(ANN, &chain, &[key(1), key(4)]);
    for n in 1..=4 {
        grid.finish(10, n, 0, 1);
    }
    let others: Vec<_> = (10..14).map(|n| call(n, &[])).collect();
    grid.submit(ANN, &others, &(10..14).map(key).collect::<Vec<_>>());
    for n in 10..14 {
        grid.finish(10, n, 0, 1);
    }
    let long = [&others[..], &[call(2, &[1]), call(3, &[2])]].concat();
    let messages = [
        submission(long, &[10, 11, 12, 13, 3]),
        submission(vec![call(9, &[])], &[9]),
        FromClient::Release(vec![key(1)]),
    ];
    let out = grid.say_all(ANN, messages);
    assert_eq!(out.freed(), []);
    assert_eq!(grid.state(1), "memory");
}

#[test]
fn what_only_a_cancelled_call_needed_is_stopped_at_once_while_others_start() {
    let mut grid = Grid::with(Config { turn_calls_max: 1, ..Config::default() });
    grid.worker(10, 1);
    grid.submit(BOB, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    let many: Vec<_> = (100..200).map(|n| call(n, &[])).collect();
    let wanted: Vec<_> = (100..200).collect();
    grid.machine.handle(grid.now, Event::Client(ANN, submission(many, &wanted)));
    grid.machine.flush(grid.now);
    let cancel = FromClient::Cancel { keys: vec![key(2)], force: false };
    grid.machine.handle(grid.now, Event::Client(BOB, cancel));
    for _ in 0..6 {
        grid.machine.flush(grid.now);
        grid.machine.check().unwrap();
    }
    let out = Out(std::iter::from_fn(|| grid.machine.poll_action()).collect());
    assert_eq!(out.cancelled(), [(10, 1, 0)]);
    grid.settle();
}

#[test]
fn pieces_of_another_submission_are_not_taken_for_those_of_the_one_before() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    let piece = |request: u64, calls, wanted: &[u64], more| {
        let wanted = wanted.iter().copied().map(key).collect();
        let request = RequestId(request);
        FromClient::Submit(Submission {
            request,
            tasks: tasks(),
            calls,
            wanted,
            more,
            ..Submission::default()
        })
    };
    grid.say(ANN, piece(1, vec![call(1, &[])], &[], true));
    // Whoever submitted the first gave up in the midst.
    let out = grid.say(ANN, piece(2, vec![call(2, &[])], &[2], false));
    assert!(out.is_accepted() && out.refusal().is_some(), "{out:?}");
    assert_eq!(out.placed(), [(10, 2, 0)]);
    assert_eq!(grid.state(1), "unknown");
    // What is refused in the midst swallows none that come after it.
    assert!(grid.say(ANN, piece(3, vec![call(3, &[77])], &[], true)).refusal().is_some());
    assert_eq!(grid.say(ANN, piece(4, vec![call(4, &[])], &[4], false)).placed(), [(10, 4, 0)]);
}
