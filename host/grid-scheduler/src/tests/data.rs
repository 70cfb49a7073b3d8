//! Data that clients bring: where it goes, who waits for it, what becomes of it.

use grid_proto::data::{Home, Scattering};
use grid_proto::message::{Answer, FromClient, FromWorker, Query, Registration, ToClient};
use grid_proto::{
    Arg, CallOptions, CallSpec, ClientId, FailureKind, Key, ObjectMeta, RequestId, WorkerId,
};

use super::grid::{ANN, BOB, Grid, Out, call, key, meta};
use crate::{Action, Event};

fn named(bytes: u64) -> (Key, ObjectMeta) {
    (Key::of_data(&meta(bytes)), meta(bytes))
}

fn scatter(items: &[u64], to: &[&str], failed: &[u32]) -> FromClient {
    FromClient::Scatter(Scattering {
        request: RequestId(1),
        items: items.iter().map(|bytes| named(*bytes)).collect(),
        to: to.iter().map(|name| (*name).to_owned()).collect(),
        failed: failed.iter().map(|id| WorkerId(*id)).collect(),
    })
}

/// The workers that the values go to; 0 where the grid has it.
fn homes(out: &Out) -> Vec<u32> {
    let homes = out.0.iter().find_map(|action| match action {
        Action::ToClient(_, ToClient::Answer { answer: Answer::Scattered(homes), .. }) => {
            Some(homes)
        }
        _ => None,
    });
    let home = |home: &Home| home.as_ref().map_or(0, |home| home.worker.0);
    homes.expect("an answer").iter().map(home).collect()
}

fn bring(grid: &mut Grid, client: ClientId, items: &[u64]) -> Vec<u32> {
    homes(&grid.say(client, scatter(items, &[], &[])))
}

fn holds(bytes: u64) -> FromWorker {
    let (key, meta) = named(bytes);
    FromWorker::Holds(vec![(key, meta.version())])
}

/// A call that reads a value.
fn reader(number: u64, bytes: u64) -> CallSpec {
    CallSpec {
        key: key(number),
        task: 1,
        args: vec![Arg::Key(named(bytes).0)],
        options: CallOptions::default(),
    }
}

fn state(grid: &mut Grid, bytes: u64) -> String {
    let prefix = named(bytes).0.to_string();
    let Answer::Calls(found) = grid.ask(Query::Calls { prefix, state: None, count_max: 1 }) else {
        panic!("no calls");
    };
    found.first().map_or_else(|| "unknown".to_owned(), |info| info.state.clone())
}

fn failures(out: &Out, client: ClientId) -> Vec<(Key, FailureKind)> {
    let failed = |action: &Action| match action {
        Action::ToClient(id, ToClient::Failed { key, failure }) if *id == client => {
            Some((*key, failure.kind.clone()))
        }
        _ => None,
    };
    out.0.iter().filter_map(failed).collect()
}

#[test]
fn values_go_to_workers_in_proportion_to_slots_and_go_on_where_the_last_call_stopped() {
    let mut grid = Grid::new();
    grid.worker(10, 3);
    grid.worker(11, 1);
    assert_eq!(bring(&mut grid, ANN, &[1, 2, 3, 4, 5, 6, 7, 8]), [10, 10, 11, 10, 10, 10, 11, 10]);
    // One at a time gives the same shares.
    let one_by_one: Vec<_> = (11..15).flat_map(|n| bring(&mut grid, ANN, &[n])).collect();
    assert_eq!(one_by_one.iter().filter(|home| **home == 10).count(), 3);
    let out = grid.say(ANN, scatter(&[21, 22], &["w11"], &[]));
    assert_eq!(homes(&out), [11, 11], "named");
    let out = grid.say(ANN, scatter(&[23, 24], &[], &[10]));
    assert_eq!(homes(&out), [11, 11], "the other did not take it");
    grid.hear(10, FromWorker::Paused(true));
    assert_eq!(bring(&mut grid, ANN, &[31, 32]), [11, 11], "paused workers are avoided");
}

#[test]
fn equal_values_are_stored_once_and_the_second_client_waits_for_the_first() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    let home = bring(&mut grid, ANN, &[1])[0];
    assert_eq!(
        (state(&mut grid, 1), bring(&mut grid, BOB, &[1])),
        ("arriving".to_owned(), vec![home])
    );
    let out = grid.hear(home, holds(1));
    let told = |client| {
        let ready = |action: &Action| matches!(action, Action::ToClient(id, ToClient::Ready { .. }) if *id == client);
        out.0.iter().any(ready)
    };
    assert!(told(ANN) && told(BOB));
    assert_eq!(bring(&mut grid, BOB, &[1, 1]), [0, 0], "the grid has it");
    // Ann lets go: it is Bob's still. Bob lets go: it is freed.
    let release = || FromClient::Release(vec![named(1).0]);
    assert!(grid.say(ANN, release()).freed().is_empty());
    assert_eq!(grid.say(BOB, release()).freed().len(), 1);
    assert_eq!(state(&mut grid, 1), "unknown");
}

#[test]
fn readers_wait_until_a_worker_has_it_and_run_there() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    let home = bring(&mut grid, ANN, &[100_000_000])[0];
    assert_eq!(grid.submit(ANN, &[reader(1, 100_000_000)], &[key(1)]).placed(), []);
    assert_eq!(grid.state(1), "waiting");
    assert_eq!(grid.hear(home, holds(100_000_000)).placed(), [(home, 1, 0)]);
    // A client that wants it later is told.
    let out = grid.submit(BOB, &[], &[named(100_000_000).0]);
    assert!(out.is_accepted() && out.0.len() > 1);
}

#[test]
fn data_whose_last_copy_is_gone_is_lost_and_its_readers_fail() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    let home = bring(&mut grid, ANN, &[1])[0];
    grid.hear(home, holds(1));
    let other = 21 - home;
    grid.submit(ANN, &[reader(1, 1), call(2, &[])], &[key(1), key(2)]);
    grid.hear(other, holds(1));
    let out = grid.tell(Event::WorkerGone(WorkerId(home)));
    assert!(failures(&out, ANN).is_empty(), "there is a copy");
    let out = grid.tell(Event::WorkerGone(WorkerId(other)));
    let lost = failures(&out, ANN);
    assert!(lost.contains(&(named(1).0, FailureKind::LostData)), "{lost:?}");
    assert!(lost.contains(&(key(1), FailureKind::LostData)), "{lost:?}");
    assert_eq!(grid.state(2), "no-worker", "nobody else's");
    let out = grid.submit(ANN, &[reader(3, 1)], &[key(3)]);
    assert_eq!(failures(&out, ANN), [(key(3), FailureKind::LostData)], "late ones at once");
    // Brought again, it is there again; what failed with it may be tried again.
    grid.worker(12, 1);
    assert_eq!(bring(&mut grid, ANN, &[1]), [12]);
    grid.hear(12, holds(1));
    assert_eq!(state(&mut grid, 1), "memory");
    let out = grid.say(ANN, FromClient::Retry { request: RequestId(2), keys: vec![key(3)] });
    let again = out.placed();
    assert!(again.iter().any(|(worker, call, _)| (*worker, *call) == (12, 3)), "{again:?}");
}

#[test]
fn a_retry_does_not_bring_data_back() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    bring(&mut grid, ANN, &[1]);
    grid.hear(10, holds(1));
    grid.tell(Event::WorkerGone(WorkerId(10)));
    let keys = vec![named(1).0];
    let out = grid.say(ANN, FromClient::Retry { request: RequestId(2), keys });
    assert_eq!(failures(&out, ANN), [(named(1).0, FailureKind::LostData)]);
}

#[test]
fn what_nobody_brings_any_more_is_lost_for_those_that_wait() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    bring(&mut grid, ANN, &[1, 2]);
    bring(&mut grid, BOB, &[2]);
    grid.submit(BOB, &[reader(1, 1), reader(2, 2)], &[key(1), key(2)]);
    let out = grid.tell(Event::ClientGone(ANN));
    assert_eq!(failures(&out, BOB), [(key(1), FailureKind::LostData)]);
    assert_eq!(state(&mut grid, 2), "arriving", "Bob brings it too");
    // It comes nevertheless, too late.
    assert_eq!(grid.hear(10, holds(1)).freed().len(), 1);
    assert_eq!(grid.hear(10, holds(2)).placed(), [(10, 2, 0)]);
}

#[test]
fn what_was_on_its_way_to_a_worker_that_is_gone_is_lost_and_may_be_brought_again() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    bring(&mut grid, ANN, &[1]);
    grid.submit(BOB, &[reader(1, 1)], &[key(1)]);
    let out = grid.tell(Event::WorkerGone(WorkerId(10)));
    assert_eq!(
        failures(&out, ANN),
        [(named(1).0, FailureKind::LostData)],
        "the worker may have had it"
    );
    assert_eq!(failures(&out, BOB), [(key(1), FailureKind::LostData)]);
    grid.worker(11, 1);
    assert_eq!(bring(&mut grid, ANN, &[1]), [11]);
    grid.hear(11, holds(1));
    assert_eq!(state(&mut grid, 1), "memory");
}

#[test]
fn what_nobody_wants_any_more_is_forgotten_on_its_way() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    bring(&mut grid, ANN, &[1]);
    let keys = vec![named(1).0];
    grid.say(ANN, FromClient::Cancel { keys, force: false });
    assert_eq!(state(&mut grid, 1), "unknown");
    assert_eq!(grid.hear(10, holds(1)).freed().len(), 1);
}

#[test]
fn a_worker_that_comes_back_brings_data_along() {
    let mut grid = Grid::new();
    grid.register(10, "w", 7, 1, Vec::new());
    bring(&mut grid, ANN, &[1, 2]);
    grid.hear(10, holds(1));
    // It had taken the second too, and could not say so.
    let holds = vec![named(1), named(2)];
    let out = grid.register(11, "w", 7, 1, holds);
    assert!(failures(&out, ANN).is_empty(), "{:?}", failures(&out, ANN));
    assert_eq!((state(&mut grid, 1), state(&mut grid, 2)), ("memory".into(), "memory".into()));
}

#[test]
fn bad_scatters_are_refused_with_a_reason() {
    let mut grid = Grid::new();
    let refused = |out: Out| out.refusal().expect("refused");
    assert!(refused(grid.say(ANN, scatter(&[1], &[], &[]))).contains("no worker is connected"));
    let small = Registration {
        memory_bytes: 1_000,
        object_bytes: 1_000,
        ..grid.registration(10, "w10", 1, 1)
    };
    grid.tell(Event::WorkerConnected(WorkerId(10), small));
    let large = refused(grid.say(ANN, scatter(&[1_001], &[], &[])));
    assert!(large.contains("1001 bytes") && large.contains("1000 bytes"), "{large}");
    assert!(refused(grid.say(ANN, scatter(&[1], &["mars"], &[]))).contains("mars"));
    let many: Vec<_> = (0..1_001).collect();
    assert!(refused(grid.say(ANN, scatter(&many, &[], &[]))).contains("at most 1000"));
    let other = Scattering {
        request: RequestId(1),
        items: vec![(key(1), meta(1))],
        to: Vec::new(),
        failed: Vec::new(),
    };
    assert!(refused(grid.say(ANN, FromClient::Scatter(other))).contains("not the key"));
    // Somebody submitted a call under a value's key.
    let clash = CallSpec { key: named(5).0, ..call(1, &[]) };
    grid.submit(BOB, &[clash], &[named(5).0]);
    assert!(refused(grid.say(ANN, scatter(&[4, 5], &[], &[]))).contains("another recipe"));
    assert_eq!(state(&mut grid, 4), "unknown", "accepted whole or not at all");
    grid.hear(10, FromWorker::Paused(true));
    assert!(refused(grid.say(ANN, scatter(&[1], &[], &[]))).contains("paused"));
}

#[test]
fn a_worker_that_failed_is_asked_again_where_no_other_has_room() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let small = Registration {
        memory_bytes: 1_000,
        object_bytes: 1_000,
        ..grid.registration(11, "w11", 11, 1)
    };
    grid.tell(Event::WorkerConnected(WorkerId(11), small));
    assert_eq!(homes(&grid.say(ANN, scatter(&[5_000], &[], &[10]))), [10]);
    assert_eq!(homes(&grid.say(ANN, scatter(&[500], &[], &[10]))), [11]);
}

#[test]
fn where_objects_are_and_what_workers_have() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let home = bring(&mut grid, ANN, &[7])[0];
    grid.hear(home, holds(7));
    grid.hear(21 - home, holds(7));
    let Answer::WhoHas(found) = grid.ask(Query::WhoHas(vec![named(7).0, key(1), key(9)])) else {
        panic!("no answer");
    };
    assert_eq!(found[0].size_bytes, Some(7));
    assert_eq!(found[0].workers.len(), 2);
    assert!(found[1..].iter().all(|one| one.size_bytes.is_none() && one.workers.is_empty()));
    let Answer::HasWhat(has) = grid.ask(Query::HasWhat { worker: None, count_max: 5 }) else {
        panic!("no answer");
    };
    let names: Vec<_> =
        has.iter().map(|one| (one.worker.as_str(), one.objects, one.bytes)).collect();
    assert_eq!(names, [("w10", 1, 7), ("w11", 1, 7)]);
    assert_eq!((has[0].listed[0].key, has[0].listed[0].task.as_str()), (named(7).0, "data"));
    let nobody = Query::HasWhat { worker: Some("mars".to_owned()), count_max: 5 };
    assert!(matches!(grid.ask(nobody), Answer::Refused(_)));
}
