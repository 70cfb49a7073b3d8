//! What calls need of a worker: names, resources, memory.

use grid_proto::message::{Answer, FromWorker, Outcome, Query, Registration};
use grid_proto::{Amount, Attempt, CallSpec, FailureKind, Key, Pins, Spent, WorkerId};

use super::grid::{ANN, Grid, Out, call, key};
use crate::{Config, Event};

fn pinned(spec: CallSpec, name: &str, prefer: bool) -> CallSpec {
    let mut spec = spec;
    spec.options.pins = Some(Pins { any_of: vec![name.to_owned()], prefer });
    spec
}

fn taking(spec: CallSpec, name: &str, units: u64) -> CallSpec {
    let mut spec = spec;
    spec.options.resources.push((name.to_owned(), Amount(units * Amount::PARTS)));
    spec
}

fn worker(grid: &mut Grid, id: u32, change: impl FnOnce(&mut Registration)) -> Out {
    let mut registration = grid.registration(id, &format!("w{id}"), id, 1);
    change(&mut registration);
    grid.tell(Event::WorkerConnected(WorkerId(id), registration))
}

fn gpu(units: u64) -> impl FnOnce(&mut Registration) {
    move |registration| {
        registration.slots = 4;
        registration.resources = vec![("GPU".to_owned(), Amount(units * Amount::PARTS))];
    }
}

fn explanation(grid: &mut Grid, number: u64) -> String {
    let query = Query::Calls { prefix: key(number).to_string(), state: None, count_max: 1 };
    let Answer::Calls(found) = grid.ask(query) else { panic!("no calls") };
    found[0].explanation.clone()
}

#[test]
fn a_pinned_call_waits_for_a_worker_host_or_label_of_that_name() {
    for (n, name) in ["w11", "the-host", "fast"].into_iter().enumerate() {
        let mut grid = Grid::new();
        grid.worker(10, 4);
        let out = grid.submit(ANN, &[pinned(call(1, &[]), name, false)], &[key(1)]);
        assert_eq!(out.placed(), [], "{n}");
        assert_eq!(grid.state(1), "no-worker");
        let text = explanation(&mut grid, 1);
        assert!(text.contains(&format!("a worker, host or label called {name}")), "{text}");
        let out = worker(&mut grid, 11, |worker| {
            worker.host = "the-host".to_owned();
            worker.labels = vec!["slow".to_owned(), "fast".to_owned()];
        });
        assert_eq!(out.placed(), [(11, 1, 0)]);
    }
}

#[test]
fn a_call_stays_pinned_when_its_worker_is_lost_and_its_data_is_elsewhere() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    worker(&mut grid, 11, |worker| worker.labels = vec!["a".to_owned()]);
    worker(&mut grid, 12, |worker| worker.labels = vec!["a".to_owned()]);
    grid.submit(ANN, &[pinned(call(1, &[]), "w10", false)], &[key(1)]);
    grid.finish(10, 1, 0, 1 << 30);
    let out = grid.submit(ANN, &[pinned(call(2, &[1]), "a", false)], &[key(2)]);
    assert_eq!(out.placed(), [(11, 2, 0)]);
    assert_eq!(grid.tell(Event::WorkerGone(WorkerId(11))).placed(), [(12, 2, 1)]);
    assert_eq!(grid.tell(Event::WorkerGone(WorkerId(12))).placed(), []);
    assert_eq!(grid.state(2), "no-worker");
}

#[test]
fn a_preference_is_followed_while_it_can_be() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let out = grid.submit(ANN, &[pinned(call(1, &[]), "w11", true)], &[key(1)]);
    assert_eq!(out.placed(), [(10, 1, 0)]);
    grid.worker(11, 1);
    let calls = [pinned(call(2, &[]), "w11", true), pinned(call(3, &[]), "w11", true)];
    let out = grid.submit(ANN, &calls, &[key(2), key(3)]);
    assert!(out.placed().iter().all(|(worker, ..)| *worker == 11), "{:?}", out.placed());
}

#[test]
fn resources_are_never_given_twice_and_hold_up_nobody_else() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, gpu(2));
    let calls: Vec<_> = (0..5).map(|n| taking(call(n, &[]), "GPU", 1)).collect();
    let wanted: Vec<Key> = (0..5).map(key).collect();
    assert_eq!(grid.submit(ANN, &calls, &wanted).placed(), [(10, 0, 0), (10, 1, 0)]);
    let text = explanation(&mut grid, 2);
    assert!(text.contains("has not enough of its resources free"), "{text}");
    let free = grid.submit(ANN, &[call(9, &[])], &[key(9)]);
    assert_eq!(free.placed(), [(10, 9, 0)], "it takes none");
    assert_eq!(grid.finish(10, 0, 0, 1).placed(), [(10, 2, 0)]);
    assert_eq!(grid.fail(10, 1, 0, FailureKind::User).placed(), [(10, 3, 0)]);
    assert_eq!(grid.say(ANN, cancel(3)).placed(), [(10, 4, 0)], "a cancelled call gives it back");
    let Answer::Workers(workers) = grid.ask(Query::Workers) else { panic!("no workers") };
    assert_eq!(workers[0].resources["GPU"].taken, Amount(2 * Amount::PARTS));
}

fn cancel(number: u64) -> grid_proto::message::FromClient {
    grid_proto::message::FromClient::Cancel { keys: vec![key(number)], force: false }
}

#[test]
fn what_a_worker_offers_can_change_while_it_runs() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, gpu(1));
    let calls: Vec<_> = (0..3).map(|n| taking(call(n, &[]), "GPU", 1)).collect();
    grid.submit(ANN, &calls, &[key(0), key(1), key(2)]);
    let set = |grid: &mut Grid, units: u64| {
        let resources = vec![("GPU".to_owned(), Amount(units * Amount::PARTS))];
        let query = Query::SetResources { worker: "w10".to_owned(), resources };
        let request = grid_proto::RequestId(0);
        grid.say(ANN, grid_proto::message::FromClient::Query { request, query }).placed()
    };
    assert_eq!(set(&mut grid, 2), [(10, 1, 0)]);
    assert_eq!(set(&mut grid, 0), []);
    assert_eq!(grid.state(2), "no-worker");
    assert_eq!(set(&mut grid, 3), [(10, 2, 0)]);
    let query = Query::SetResources { worker: "nobody".to_owned(), resources: Vec::new() };
    assert!(matches!(grid.ask(query), Answer::Refused(_)));
}

#[test]
fn inputs_that_fit_no_worker_are_refused_with_both_numbers() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, |worker| worker.memory_bytes = 100);
    worker(&mut grid, 11, |worker| worker.memory_bytes = 200);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 70);
    let out = grid.finish(11, 2, 0, 80);
    assert!(out.failed(ANN).is_empty());
    let out = grid.submit(ANN, &[call(3, &[1, 2])], &[key(3)]);
    assert_eq!(out.placed(), [(11, 3, 0)], "150 bytes fit one of them");
    grid.submit(ANN, &[pinned(call(4, &[]), "w11", false)], &[key(4)]);
    grid.finish(11, 3, 0, 1);
    grid.finish(11, 4, 0, 190);
    let out = grid.submit(ANN, &[call(5, &[1, 4])], &[key(5)]);
    let failed = out.failed(ANN);
    let (_, failure) = failed[0];
    let expected = FailureKind::OutOfMemory { limit_bytes: 200, asked_bytes: 260 };
    assert_eq!(failure.kind, expected);
    assert!(failure.message.contains("260") && failure.message.contains("200"), "{failure}");
}

#[test]
fn inputs_that_fit_no_worker_of_the_name_are_refused_though_others_are_larger() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, |worker| worker.memory_bytes = 100);
    worker(&mut grid, 11, |worker| worker.memory_bytes = 1_000);
    grid.submit(ANN, &[pinned(call(1, &[]), "w11", false)], &[key(1)]);
    grid.finish(11, 1, 0, 150);
    let out = grid.submit(ANN, &[pinned(call(2, &[1]), "w10", false)], &[key(2)]);
    let (_, failure) = out.failed(ANN)[0];
    let expected = FailureKind::OutOfMemory { limit_bytes: 100, asked_bytes: 150 };
    assert_eq!(failure.kind, expected);
    assert!(failure.message.contains("of those it may run on"), "{failure}");
    let out = grid.submit(ANN, &[pinned(call(3, &[1]), "w10", true)], &[key(3)]);
    assert_eq!(out.placed(), [(11, 3, 0)], "a preference is none");
}

#[test]
fn inputs_that_are_read_piece_by_piece_need_no_memory_but_a_place() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, |worker| {
        worker.memory_bytes = 100;
        worker.object_bytes = 1_000;
    });
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 900);
    grid.finish(10, 2, 0, 90);
    let reads = |number, inputs: &[u64]| CallSpec { task: 5, ..call(number, inputs) };
    let out = grid.submit(ANN, &[reads(3, &[1, 2])], &[key(3)]);
    assert_eq!(out.placed(), [(10, 3, 0)]);
    grid.finish(10, 3, 0, 1);
    let out = grid.submit(ANN, &[reads(4, &[2, 1])], &[key(4)]);
    let expected = FailureKind::OutOfMemory { limit_bytes: 100, asked_bytes: 900 };
    assert_eq!(out.failed(ANN)[0].1.kind, expected, "it is given the large one");
    let out = grid.submit(ANN, &[reads(5, &[1, 1])], &[key(5)]);
    assert_eq!(out.failed(ANN)[0].1.kind, expected, "both");
    worker(&mut grid, 11, |worker| {
        worker.labels = vec!["small".to_owned()];
        worker.object_bytes = 800;
    });
    let out = grid.submit(ANN, &[pinned(reads(6, &[1, 2]), "small", false)], &[key(6)]);
    let (_, failure) = out.failed(ANN)[0];
    assert_eq!(failure.kind, FailureKind::OutOfMemory { limit_bytes: 800, asked_bytes: 900 });
    assert!(failure.message.contains("an input that it reads has 900 bytes"), "{failure}");
}

#[test]
fn inputs_wait_for_a_worker_of_the_name_though_those_that_are_there_are_too_small() {
    let mut grid = Grid::new();
    worker(&mut grid, 10, |worker| worker.memory_bytes = 100);
    worker(&mut grid, 11, |worker| worker.memory_bytes = 100);
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    grid.finish(10, 1, 0, 90);
    grid.finish(11, 2, 0, 80);
    let out = grid.submit(ANN, &[pinned(call(3, &[1, 2]), "big", false)], &[key(3)]);
    assert!(out.failed(ANN).is_empty(), "{out:?}");
    let text = explanation(&mut grid, 3);
    assert!(text.contains("called big, and memory for 170 bytes of inputs"), "{text}");
    let out = worker(&mut grid, 12, |worker| {
        worker.memory_bytes = 1_000;
        worker.labels = vec!["big".to_owned()];
    });
    assert_eq!(out.placed(), [(12, 3, 0)]);
}

#[test]
fn a_preference_keeps_no_call_where_it_asked_to_leave() {
    let reschedule = |grid: &mut Grid| {
        grid.hear(
            10,
            FromWorker::Finished {
                key: key(1),
                attempt: Attempt(0),
                outcome: Outcome::Reschedule,
                spent: Spent::default(),
            },
        )
    };
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[pinned(call(1, &[]), "w10", true)], &[key(1)]);
    grid.worker(11, 1);
    assert_eq!(reschedule(&mut grid).placed(), [(11, 1, 1)], "only the one to avoid has the name");
    let mut grid = Grid::new();
    worker(&mut grid, 10, |worker| worker.labels = vec!["a".to_owned()]);
    grid.submit(ANN, &[pinned(call(1, &[]), "a", true)], &[key(1)]);
    grid.worker(11, 1);
    worker(&mut grid, 12, |worker| worker.labels = vec!["a".to_owned()]);
    assert_eq!(reschedule(&mut grid).placed(), [(12, 1, 1)], "another one has it");
}

#[test]
fn needs_that_make_no_sense_are_refused() {
    let mut grid = Grid::with(Config::default());
    let mut nowhere = call(1, &[]);
    nowhere.options.pins = Some(Pins { any_of: Vec::new(), prefer: false });
    let text = grid.submit(ANN, &[nowhere], &[key(1)]).refusal().unwrap();
    assert!(text.contains("pinned to no worker"), "{text}");
    let twice = taking(taking(call(1, &[]), "GPU", 1), "GPU", 2);
    let text = grid.submit(ANN, &[twice], &[key(1)]).refusal().unwrap();
    assert!(text.contains("`GPU` twice"), "{text}");
    let mut many = call(1, &[]);
    many.options.pins = Some(Pins { any_of: vec![String::new(); 33], prefer: true });
    assert!(grid.submit(ANN, &[many], &[key(1)]).refusal().is_some());
    assert!(Amount::from_units(-1.0).is_none() && Amount::from_units(f64::NAN).is_none());
}
