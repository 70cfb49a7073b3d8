//! What clients and workers can send that makes no sense: refused in words, counted, or cut off.

use grid_proto::message::{FromWorker, Outcome, Query, Registration};
use grid_proto::{Amount, Arg, Attempt, BundleHash, ObjectMeta, Pins, Spent, TaskRef, WorkerId};

use super::grid::{ANN, BUNDLE, Grid, Out, call, description, key, meta, tasks};
use crate::task::Tasks;
use crate::{Action, Event};

fn refused(grid: &mut Grid, calls: &[grid_proto::CallSpec], wanted: u64) -> String {
    let refusal = grid.submit(ANN, calls, &[key(wanted)]).refusal().unwrap();
    assert!(grid.calls().is_empty(), "nothing is left of it");
    refusal
}

#[test]
fn a_cyclic_graph_is_refused_with_the_reason() {
    let mut grid = Grid::new();
    for calls in [&[call(1, &[2]), call(2, &[1])][..], &[call(1, &[1])]] {
        let text = refused(&mut grid, calls, 1);
        assert!(text.contains("does not come before it in the submission"), "{text}");
        assert!(text.contains("in a circle"), "{text}");
    }
    let text = refused(&mut grid, &[call(1, &[3])], 1);
    assert!(text.contains("not known to the grid"), "{text}");
}

#[test]
fn a_fan_in_of_a_million_is_refused_in_words() {
    let mut grid = Grid::new();
    grid.worker(1, 1);
    let mut wide = call(2, &[]);
    wide.args = vec![Arg::Key(key(1)); 1_000_000];
    let submission = grid_proto::message::Submission {
        request: grid_proto::RequestId(9),
        tasks: tasks(),
        calls: vec![call(1, &[]), wide],
        wanted: vec![key(2)],
        ..Default::default()
    };
    let message = grid_proto::message::FromClient::Submit(submission);
    let out = grid.say(ANN, message);
    let text = out.refusal().unwrap();
    assert!(text.contains("has 1000000 arguments; at most 4096"), "{text}");
    assert!(text.contains("reduce in a tree"), "{text}");
    assert!(grid.calls().is_empty());
}

#[test]
fn arguments_and_names_over_their_bounds_are_refused() {
    let mut grid = Grid::new();
    let mut large = super::grid::typed(1, &[0; (4 << 20) + 1]);
    assert!(refused(&mut grid, &[large.clone()], 1).contains("4194305 bytes; at most 4194304"));
    large.args.clear();
    let mut named = call(1, &[]);
    named.options.pins = Some(Pins { any_of: vec!["x".repeat(513)], prefer: false });
    assert!(refused(&mut grid, &[named], 1).contains("a name of 513 bytes"));
    let mut many = call(1, &[]);
    many.options.resources = (0..33).map(|n| (n.to_string(), Amount(1))).collect();
    assert!(refused(&mut grid, &[many], 1).contains("32 resources may be listed, not 33"));
}

#[test]
fn absurd_priorities_retries_and_resources_are_taken_and_harm_nobody() {
    let mut grid = Grid::new();
    grid.worker(1, 1);
    for (number, priority) in [i32::MIN, -1, i32::MAX].into_iter().enumerate() {
        let mut spec = call(number as u64 + 1, &[]);
        spec.options.priority = priority;
        spec.options.retries = Some(u32::MAX);
        spec.options.limits.memory_bytes = Some(u64::MAX);
        spec.options.limits.timeout_ms = Some(0);
        assert!(grid.submit(ANN, &[spec], &[key(number as u64 + 1)]).is_accepted());
    }
    let mut all = call(9, &[]);
    all.options.resources = vec![("GPU".to_owned(), Amount(u64::MAX))];
    assert!(grid.submit(ANN, &[all], &[key(9)]).is_accepted());
    assert_eq!(grid.state(9), "no-worker");
    let offer = |amount| Query::SetResources {
        worker: "w1".to_owned(),
        resources: vec![("GPU".to_owned(), Amount(amount))],
    };
    grid.ask(offer(u64::MAX));
    grid.finish(1, 3, 0, 1);
    grid.finish(1, 2, 0, 1);
    grid.finish(1, 1, 0, 1);
    assert_eq!(grid.state(9), "processing");
    grid.ask(offer(1));
    grid.finish(1, 9, 0, 1);
    assert_eq!(grid.state(9), "memory");
}

#[test]
fn a_call_of_a_bundle_that_is_gone_is_refused() {
    let mut grid = Grid::new();
    let gone = TaskRef { bundle: BundleHash([3; 32]), task: "none".to_owned() };
    let submission = grid_proto::message::Submission {
        tasks: vec![gone],
        calls: vec![call(1, &[])],
        wanted: vec![key(1)],
        ..Default::default()
    };
    let text = grid.say(ANN, grid_proto::message::FromClient::Submit(submission)).refusal();
    assert!(text.unwrap().contains("is not on this grid"));
    assert_ne!(BundleHash([3; 32]), BUNDLE);
}

fn closed(out: &Out) -> Option<&str> {
    out.0.iter().find_map(|action| match action {
        Action::CloseWorker(WorkerId(1), reason) => Some(reason.as_str()),
        _ => None,
    })
}

#[test]
fn a_worker_that_reports_what_cannot_be_is_cut_off_and_its_calls_run_elsewhere() {
    let absurd = ObjectMeta { size: u64::MAX, ..meta(1) };
    let ended = |meta, wall_us| FromWorker::Finished {
        key: key(1),
        attempt: Attempt(0),
        outcome: Outcome::Memory { meta, inline: None },
        spent: Spent { wall_us, ..Spent::default() },
    };
    let heartbeat = FromWorker::Heartbeat {
        resident_bytes: u64::MAX,
        descriptors: u32::MAX,
        fetched_bytes: u64::MAX,
        fetching_us: 1,
        memory: grid_proto::report::MemoryUse::default(),
    };
    for message in [ended(absurd, 1), ended(meta(1), u64::MAX), heartbeat] {
        let mut grid = Grid::new();
        grid.worker(1, 1);
        grid.submit(ANN, &[call(1, &[])], &[key(1)]);
        let out = grid.hear(1, message);
        assert!(closed(&out).unwrap().contains("it reports 18446744073709551615"), "{out:?}");
        let out = grid.worker(2, 1);
        assert_eq!(out.placed(), [(2, 1, 1)], "as another attempt");
        grid.finish(2, 1, 1, 1);
        assert_eq!(grid.state(1), "memory");
    }
}

#[test]
fn a_worker_that_offers_what_cannot_be_is_not_let_in() {
    let mut grid = Grid::new();
    let plain = grid.registration(1, "w1", 1, 1);
    let twice = vec![("GPU".to_owned(), Amount(1)), ("GPU".to_owned(), Amount(2))];
    let absurd = ObjectMeta { size: u64::MAX, ..meta(1) };
    let wrong = [
        Registration { slots: u32::MAX, ..plain.clone() },
        Registration { resources: twice, ..plain.clone() },
        Registration { holds: vec![(key(1), absurd)], ..plain.clone() },
        Registration { name: "w\u{1b}[2J".to_owned(), ..plain.clone() },
        Registration { labels: vec!["two\nlines".to_owned()], ..plain.clone() },
    ];
    for registration in wrong {
        let out = grid.tell(Event::WorkerConnected(WorkerId(1), registration));
        assert!(closed(&out).is_some(), "{out:?}");
        assert_eq!(grid.machine.status().workers, 0);
    }
    assert!(closed(&grid.tell(Event::WorkerConnected(WorkerId(1), plain))).is_none());
}

/// Both wait for a worker of a name. When one comes, and the inputs of the first are too large for
/// all that are left, the first fails, with it what reads both, and then nobody wants the second.
#[test]
fn a_call_that_waits_for_a_worker_may_go_with_another_that_cannot_have_one() {
    let mut grid = Grid::new();
    let join = |grid: &mut Grid, id: u32, label: &str, memory_bytes| {
        let registration = grid.registration(id, &format!("w{id}"), id, 1);
        let labels = vec![label.to_owned()];
        let registration = Registration { memory_bytes, labels, ..registration };
        grid.tell(Event::WorkerConnected(WorkerId(id), registration))
    };
    join(&mut grid, 1, "earth", 10);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.finish(1, 1, 0, 1 << 20);
    join(&mut grid, 2, "earth", 1 << 30);
    let pinned = |number, inputs: &[u64]| {
        let mut spec = call(number, inputs);
        spec.options.pins = Some(Pins { any_of: vec!["moon".to_owned()], prefer: false });
        spec
    };
    grid.submit(ANN, &[pinned(2, &[1]), pinned(3, &[]), call(4, &[2, 3])], &[key(4)]);
    assert_eq!((&*grid.state(2), &*grid.state(3)), ("no-worker", "no-worker"));
    grid.tell(Event::WorkerGone(WorkerId(2)));
    let out = join(&mut grid, 3, "moon", 10);
    assert_eq!(out.failed(ANN).iter().map(|(call, _)| *call).collect::<Vec<_>>(), [4]);
    assert_eq!(grid.state(3), "released", "known for its reader only");
}

#[test]
fn no_number_of_long_attempts_breaks_a_sum() {
    let mut tasks = Tasks::default();
    let described = &description("sums", "1").tasks[0];
    let id = tasks.intern(BundleHash([1; 32]), "sums", "sums@1", 0, described);
    let ten_years = Spent { wall_us: 10 * 365 * 24 * 3_600 * 1_000_000, ..Spent::default() };
    let calls = 100_000_u64;
    (0..calls).for_each(|_| tasks.of_mut(id).count(None, &ten_years));
    assert_eq!(tasks.of(id).counts().calls, calls);
    let expected_us = tasks.of(id).expected_us();
    assert!(expected_us.checked_mul(1 << 31).is_some(), "{expected_us} for each call held");
}
