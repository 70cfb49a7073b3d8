//! Copies: as many as somebody asked for, made tree-wise, and no more than one of what nobody reads.

use std::collections::BTreeSet;

use grid_proto::message::{Answer, FromClient, FromWorker, ToClient, ToWorker};
use grid_proto::{Key, RequestId, WorkerId};

use super::grid::{ANN, Grid, Out, call, key, number};
use crate::call::State;
use crate::{Action, Config, Event};

fn replicate(calls: &[u64], copies: u32, to: &[&str]) -> FromClient {
    FromClient::Replicate {
        request: RequestId(9),
        keys: calls.iter().map(|call| key(*call)).collect(),
        copies,
        to: to.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// `(worker, object, first source)` of each copy that is to be fetched.
fn acquired(out: &Out) -> Vec<(u32, u64, u32)> {
    let mut acquired = Vec::new();
    for action in &out.0 {
        if let Action::ToWorker(worker, ToWorker::Acquire(copies)) = action {
            let copy = |(key, from): &(Key, Vec<WorkerId>)| (worker.0, number(*key), from[0].0);
            acquired.extend(copies.iter().map(copy));
        }
    }
    acquired
}

fn answer(out: &Out) -> Option<&Answer> {
    out.0.iter().find_map(|action| match action {
        Action::ToClient(ANN, ToClient::Answer { request: RequestId(9), answer }) => Some(answer),
        _ => None,
    })
}

/// A worker has a copy.
fn hear_of(grid: &mut Grid, worker: u32, call: u64) -> Out {
    let holds = holds(grid, call);
    grid.hear(worker, holds)
}

/// A copy of a result that is in memory.
fn holds(grid: &Grid, call: u64) -> FromWorker {
    let id = grid.machine.calls.find(&key(call)).unwrap();
    let State::Memory { meta, .. } = &grid.machine.calls[id].state else { panic!("{call}") };
    FromWorker::Holds(vec![(key(call), meta.version())])
}

/// Workers 10 to 9 + `workers`, and a result of call 1 on 10.
fn grid(workers: u32) -> Grid {
    let mut grid = Grid::with(Config { copies_kept_us: 1_000, ..Config::default() });
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(10, 1, 0, 5_000);
    for id in 11..10 + workers {
        grid.worker(id, 1);
    }
    grid
}

#[test]
fn what_a_paused_worker_did_not_take_it_gets_when_it_resumes() {
    let mut grid = grid(2);
    let out = grid.say(ANN, replicate(&[1], 2, &[]));
    assert_eq!(acquired(&out), [(11, 1, 10)]);
    grid.hear(11, FromWorker::Paused(true));
    assert_eq!(acquired(&grid.hear(11, FromWorker::NotAcquired(vec![key(1)]))), []);
    assert_eq!(acquired(&grid.hear(11, FromWorker::Paused(false))), [(11, 1, 10)]);
}

/// All copies that are on their way arrive, until none is; gives how many came in each round.
fn rounds(grid: &mut Grid, first: Out) -> (Vec<usize>, Option<Answer>) {
    let (mut counts, mut out) = (Vec::new(), first);
    loop {
        let coming = acquired(&out);
        let answered = answer(&out).cloned();
        if coming.is_empty() {
            return (counts, answered);
        }
        counts.push(coming.len());
        let givers: BTreeSet<_> = coming.iter().map(|(.., from)| *from).collect();
        assert_eq!(givers.len(), coming.len(), "each gives to one at a time: {coming:?}");
        for (worker, ..) in &coming {
            grid.machine.handle(grid.now, Event::Worker(WorkerId(*worker), holds(grid, 1)));
        }
        out = grid.settle();
    }
}

#[test]
fn copies_are_made_tree_wise_and_the_client_hears_when_they_are_there() {
    let mut grid = grid(16);
    let out = grid.say(ANN, replicate(&[1], 12, &[]));
    let (counts, answered) = rounds(&mut grid, out);
    assert_eq!(counts, [1, 2, 4, 4], "the number of those that give doubles");
    assert_eq!(answered, Some(Answer::Replicated(vec![12])));
}

#[test]
fn a_lost_copy_is_made_anew_and_fewer_copies_free_the_others() {
    let mut grid = grid(4);
    let out = grid.say(ANN, replicate(&[1], 2, &[]));
    let [(first, 1, 10)] = acquired(&out)[..] else { panic!("{:?}", acquired(&out)) };
    assert!(answer(&hear_of(&mut grid, first, 1)).is_some());
    let out = grid.tell(Event::WorkerGone(WorkerId(first)));
    let [(second, 1, 10)] = acquired(&out)[..] else { panic!("{:?}", acquired(&out)) };
    assert!(second != first && out.placed().is_empty(), "nothing is computed");
    hear_of(&mut grid, second, 1);
    let out = grid.say(ANN, replicate(&[1], 1, &[]));
    assert_eq!(out.freed().len(), 1);
    assert_eq!(answer(&out), Some(&Answer::Replicated(vec![1])));
    // Released, it is freed everywhere and nobody makes copies of it any more.
    let out = grid.say(ANN, FromClient::Release(vec![key(1)]));
    assert_eq!(out.freed().len(), 1);
    assert_eq!(grid.state(1), "unknown");
}

#[test]
fn everywhere_means_newcomers_too_and_names_say_where() {
    let mut grid = grid(2);
    let out = grid.say(ANN, replicate(&[1], u32::MAX, &[]));
    let (_, answered) = rounds(&mut grid, out);
    assert_eq!(answered, Some(Answer::Replicated(vec![2])), "there are no more workers");
    let out = grid.worker(20, 1);
    assert_eq!(acquired(&out).iter().map(|(to, ..)| *to).collect::<Vec<_>>(), [20]);
    hear_of(&mut grid, 20, 1);
    let out = grid.say(ANN, replicate(&[1], 1, &["w20"]));
    let freed: Vec<_> = out.freed().iter().map(|(worker, _)| *worker).collect();
    assert_eq!(freed, [10, 11], "what is not there goes first");
}

#[test]
fn a_worker_that_cannot_get_it_is_passed_over() {
    let mut grid = grid(3);
    grid.hear(12, FromWorker::Paused(true));
    let out = grid.say(ANN, replicate(&[1], 3, &[]));
    assert_eq!(acquired(&out), [(11, 1, 10)], "paused workers take none");
    let out = grid.hear(11, FromWorker::NotAcquired(vec![key(1)]));
    assert_eq!(answer(&out), Some(&Answer::Replicated(vec![1])), "nobody else takes it");
    let out = grid.hear(12, FromWorker::Paused(false));
    assert_eq!(acquired(&out), [(12, 1, 10)]);
    let out = grid.tell(Event::WorkerGone(WorkerId(12)));
    assert_eq!(acquired(&out), []);
    let stale = grid.stale();
    grid.hear(11, FromWorker::NotAcquired(vec![key(7)]));
    assert_eq!(grid.stale(), stale + 1);
}

#[test]
fn what_is_released_on_its_way_is_called_off() {
    let mut grid = grid(2);
    grid.say(ANN, replicate(&[1], 2, &[]));
    let out = grid.say(ANN, FromClient::Release(vec![key(1)]));
    let freed: Vec<_> = out.freed().iter().map(|(worker, _)| *worker).collect();
    assert_eq!(freed, [10, 11], "also where it was on its way");
    assert!(answer(&out).is_some());
}

#[test]
fn a_result_that_is_not_there_yet_is_copied_when_it_is() {
    let mut grid = grid(2);
    let out = grid.submit(ANN, &[call(2, &[])], &[key(2)]);
    let (worker, ..) = out.placed()[0];
    let out = grid.say(ANN, replicate(&[2], 2, &[]));
    assert!(acquired(&out).is_empty() && answer(&out).is_none());
    let out = grid.finish(worker, 2, 0, 7);
    assert_eq!(acquired(&out), [(21 - worker, 2, worker)]);
    assert_eq!(answer(&hear_of(&mut grid, 21 - worker, 2)), Some(&Answer::Replicated(vec![2])));
}

#[test]
fn copies_that_reading_made_go_some_time_after_the_last_reader() {
    let mut grid = grid(2);
    // A reader runs on 11 and fetches a copy; the client still wants 1.
    let mut reader = call(2, &[1]);
    reader.options.pins = Some(grid_proto::Pins { any_of: vec!["w11".to_owned()], prefer: false });
    grid.submit(ANN, &[reader], &[key(2)]);
    hear_of(&mut grid, 11, 1);
    let out = grid.finish(11, 2, 0, 1);
    assert!(out.freed().is_empty(), "another reader may come");
    grid.now.0 += 999;
    assert!(grid.settle().freed().is_empty());
    grid.now.0 += 1;
    assert_eq!(grid.machine.poll_timeout(), Some(grid.now));
    assert_eq!(grid.settle().freed().len(), 1);
    assert_eq!(grid.state(1), "memory", "never the last");
}

#[test]
fn copies_that_somebody_asked_for_stay_when_nobody_reads_them() {
    let mut grid = grid(3);
    let out = grid.say(ANN, replicate(&[1], 2, &[]));
    rounds(&mut grid, out);
    let mut reader = call(2, &[1]);
    reader.options.pins = Some(grid_proto::Pins { any_of: vec!["w12".to_owned()], prefer: false });
    grid.submit(ANN, &[reader], &[key(2)]);
    hear_of(&mut grid, 12, 1);
    grid.finish(12, 2, 0, 1);
    grid.now.0 += 1_000;
    assert_eq!(grid.settle().freed().len(), 1, "of three, two were asked for");
}

#[test]
fn bad_requests_for_copies_are_refused_with_a_reason() {
    let mut grid = grid(2);
    let refused = |out: Out| out.refusal().expect("refused");
    assert!(refused(grid.say(ANN, replicate(&[1], 0, &[]))).contains("release its futures"));
    assert!(refused(grid.say(ANN, replicate(&[1, 77], 2, &[]))).contains("not known"));
    let many: Vec<_> = (0..1_001).collect();
    assert!(refused(grid.say(ANN, replicate(&many, 2, &[]))).contains("at most 1000"));
    let rebalance = |keys| FromClient::Rebalance { request: RequestId(9), keys, to: Vec::new() };
    assert!(refused(grid.say(ANN, rebalance(vec![key(77)]))).contains("not known"));
    assert_eq!(answer(&grid.say(ANN, replicate(&[], 2, &[]))), Some(&Answer::Replicated(vec![])));
}

/// Moves what is to be moved; gives the answer and the bytes of each worker then.
fn rebalanced(grid: &mut Grid, keys: Vec<Key>) -> (Answer, Vec<u64>) {
    let request = FromClient::Rebalance { request: RequestId(9), keys, to: Vec::new() };
    let mut out = grid.say(ANN, request);
    loop {
        if let Some(answer) = answer(&out) {
            let workers = grid.machine.worker_infos();
            return (answer.clone(), workers.iter().map(|worker| worker.object_bytes).collect());
        }
        let coming = acquired(&out);
        assert!(!coming.is_empty(), "it does not end");
        for (worker, call, _) in coming {
            grid.machine.handle(grid.now, Event::Worker(WorkerId(worker), holds(grid, call)));
        }
        out = grid.settle();
    }
}

#[test]
fn a_rebalance_moves_objects_until_all_hold_about_the_same() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls: Vec<_> = (1..=100).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (1..=100).map(key).collect();
    grid.submit(ANN, &calls, &keys);
    for n in 1..=100 {
        grid.finish(10, n, 0, 1_000 + n);
    }
    grid.worker(11, 1);
    grid.worker(12, 1);
    grid.worker(13, 1);
    let (answer, bytes) = rebalanced(&mut grid, Vec::new());
    let all: u64 = (1..=100).map(|n| 1_000 + n).sum();
    assert_eq!(bytes.iter().sum::<u64>(), all, "moved, not copied");
    let mean = all / 4;
    assert!(bytes.iter().all(|bytes| bytes.abs_diff(mean) <= mean / 20 + 1_100), "{bytes:?}");
    assert!(matches!(answer, Answer::Rebalanced { objects: 70..=78, .. }), "{answer:?}");
    let (answer, _) = rebalanced(&mut grid, Vec::new());
    assert_eq!(answer, Answer::Rebalanced { objects: 0, bytes: 0 }, "it is balanced");
}

#[test]
fn a_rebalance_leaves_alone_what_is_not_meant_and_what_cannot_be_had() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[]), call(3, &[])], &[key(1), key(2), key(3)]);
    for n in 1..=3 {
        grid.finish(10, n, 0, 1_000);
    }
    grid.worker(11, 1);
    let (answer, _) = rebalanced(&mut grid, vec![key(1), key(2)]);
    assert_eq!(answer, Answer::Rebalanced { objects: 1, bytes: 1_000 });
    let request =
        FromClient::Rebalance { request: RequestId(9), keys: vec![key(2), key(3)], to: Vec::new() };
    let out = grid.say(ANN, request);
    let [(11, object, 10)] = acquired(&out)[..] else { panic!("{:?}", acquired(&out)) };
    let out = grid.hear(11, FromWorker::NotAcquired(vec![key(object)]));
    assert!(out.freed().is_empty(), "it stays where it was");
    let more = acquired(&out);
    let out = match more[..] {
        [] => out,
        _ => grid.tell(Event::WorkerGone(WorkerId(11))),
    };
    assert!(answer_of(&out), "{:?}", out);
}

fn answer_of(out: &Out) -> bool {
    matches!(answer(out), Some(Answer::Rebalanced { objects: 0, .. }))
}

#[test]
fn what_looks_at_all_workers_is_done_a_few_times_a_turn() {
    const WORKERS: u32 = 1_100;
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let calls: Vec<_> = (1..=40).map(|n| call(n, &[])).collect();
    let keys: Vec<_> = (1..=40).map(key).collect();
    grid.submit(ANN, &calls, &keys);
    for n in 1..=40 {
        grid.finish(10, n, 0, 1_000);
    }
    for id in 11..10 + WORKERS {
        let registration = grid.registration(id, &format!("w{id}"), id, 1);
        grid.machine.handle(grid.now, Event::WorkerConnected(WorkerId(id), registration));
    }
    grid.settle();
    let numbers: Vec<_> = (1..=40).collect();
    grid.machine.handle(grid.now, Event::Client(ANN, replicate(&numbers, 2, &[])));
    let mut turns = 0;
    let mut copies = 0;
    while grid.machine.has_leftovers() {
        grid.machine.flush(grid.now);
        let out = Out(std::iter::from_fn(|| grid.machine.poll_action()).collect());
        let begun = acquired(&out).len();
        assert!(begun <= 3, "{begun} objects looked at in one turn");
        copies += begun;
        turns += 1;
        assert!(turns < 1_000, "it does not end");
    }
    assert_eq!(copies, 40);
    // Nor does that keep the calls of others: they start in between.
    assert!(grid.submit(ANN, &[call(50, &[])], &[key(50)]).placed().len() == 1);
}
