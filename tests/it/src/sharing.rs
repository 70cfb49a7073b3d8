//! Tasks that share by name: on one slot, over workers, and when a holder ends or its worker dies.

use std::time::Duration;

use grid_client::{Client, Future};
use grid_proto::coordination::{NamedInfo, NamedKind};
use grid_proto::{FailureKind, Key, TrapKind};
use grid_sandbox::EngineConfig;
use sharing::*;

use crate::support::{
    Grid, PATIENCE, Processes, bundle_bytes, bundle_path, eventually, failure, grid as command,
    signal, stdout,
};

async fn grid(workers: usize, slots: usize) -> Grid {
    let grid = Grid::start(workers, slots).await;
    grid.deploy("sharing").await;
    grid
}

async fn named(client: &Client, kind: NamedKind, name: &str) -> Option<NamedInfo> {
    client.named(kind).await.unwrap().into_iter().find(|info| info.name == name)
}

/// So many wait for it.
async fn waiting(client: &Client, kind: NamedKind, name: &str, count: u64) {
    eventually("they wait", async || {
        named(client, kind, name).await.is_some_and(|info| info.waiting == count)
    })
    .await;
}

/// The grid says so of this call.
async fn explained(client: &Client, key: Key, why: &str) {
    eventually(why, async || {
        client.calls(&key.to_string(), None, 1).await.unwrap()[0].explanation == why
    })
    .await;
}

/// No lock and no semaphore has a holder or somebody who waits.
async fn no_lease_is_left(client: &Client) {
    eventually("all leases have ended", async || {
        let locks = client.named(NamedKind::Lock).await.unwrap();
        let semaphores = client.named(NamedKind::Semaphore).await.unwrap();
        locks.is_empty() && semaphores.is_empty()
    })
    .await;
}

/// A call that has the lock `l` in hand.
async fn holder(client: &Client, then: &str) -> Future<u64> {
    let holder = client.submit(hold::call("l", then)).await.unwrap();
    client.event("l").wait().await.unwrap();
    holder
}

#[tokio::test]
async fn producer_and_consumer_get_along_with_one_slot() {
    let grid = grid(1, 1).await;
    let client = &grid.client;
    let consumer = client.submit(consume::call("q", 300u64)).await.unwrap();
    waiting(client, NamedKind::Queue, "q", 1).await;
    explained(client, consumer.key(), "waits on `worker-0` for an item of queue `q`").await;
    client.queue::<u64>("q").delete().await.unwrap();
    let refused = failure(consumer.result().await);
    assert!(refused.message.contains("no queue is named `q`"), "{refused}");
    // Each waits for the other some hundred times.
    let producer = client.submit(produce::call("p", 300u64, 1u32)).await.unwrap();
    waiting(client, NamedKind::Queue, "p", 1).await;
    explained(client, producer.key(), "waits on `worker-0` for room in queue `p`").await;
    let consumer = client.submit(consume::call("p", 300u64)).await.unwrap();
    assert_eq!(consumer.result().await.unwrap(), 299 * 300 / 2);
    producer.result().await.unwrap();
    assert_eq!(client.queue::<u64>("p").size().await.unwrap(), 0);
}

#[tokio::test]
async fn one_at_a_time_is_under_the_lock_over_two_workers() {
    let grid = grid(2, 2).await;
    let client = &grid.client;
    client.variable("n").set(0_u64).await.unwrap();
    let calls = client.map((0..8).map(|_| increment::call("n", 25u64))).await.unwrap();
    client.gather(&calls).await.unwrap();
    let count = client.variable::<u64>("n").get().await.unwrap().result().await.unwrap();
    assert_eq!(count, 200);
    no_lease_is_left(client).await;
}

#[tokio::test]
async fn a_lock_is_free_however_its_holder_ends() {
    let grid = grid(1, 1).await;
    let client = &grid.client;
    for then in ["panic", "fail", "forget", "wait", "compute"] {
        let held = holder(client, then).await;
        if ["wait", "compute"].contains(&then) {
            let lock = client.lock("l");
            let taken = lock.acquire_within(Duration::from_millis(10)).await.unwrap();
            assert!(taken.is_none(), "{then}");
            client.cancel(vec![held.key()], false).await.unwrap();
        }
        let lease = client.lock("l").acquire_within(PATIENCE).await.unwrap();
        lease.expect("the lock is free").release().await.unwrap();
        match then {
            "forget" => assert_eq!(held.result().await.unwrap(), 1),
            "fail" => assert_eq!(failure(held.result().await).kind, FailureKind::User),
            "panic" => {
                let trap = FailureKind::Trap { trap: TrapKind::Panic };
                assert_eq!(failure(held.result().await).kind, trap);
            }
            _ => assert_eq!(failure(held.result().await).kind, FailureKind::Cancelled),
        }
        client.event("l").clear().await.unwrap();
        no_lease_is_left(client).await;
    }
}

#[tokio::test]
async fn a_lock_is_free_when_the_worker_of_its_holder_is_killed() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("sharing"), false).await.unwrap();
    for then in ["wait", "compute"] {
        let held = holder(&client, then).await;
        let lock = client.lock("l");
        let lease = tokio::spawn(async move { lock.acquire().await.unwrap() });
        waiting(&client, NamedKind::Lock, "l", 1).await;
        let workers = client.workers().await.unwrap();
        let busy = workers.iter().find(|worker| worker.in_hand > 0).unwrap();
        signal("-KILL", u64::from(busy.pid));
        let lease = lease.await.unwrap();
        // The holder starts over, and waits behind us.
        waiting(&client, NamedKind::Lock, "l", 1).await;
        client.cancel(vec![held.key()], false).await.unwrap();
        lease.release().await.unwrap();
        client.event("l").clear().await.unwrap();
        no_lease_is_left(&client).await;
    }
}

#[tokio::test]
async fn a_method_gives_its_slot_back_and_holds_nothing_beyond_its_end() {
    let grid = grid(1, 1).await;
    let client = &grid.client;
    let actor = client.actor(square::call(2u64)).await.unwrap();
    for _ in 0..2 {
        // The instance stays, and with it a lease that nobody gave back.
        let forgot = actor.call(hold::call("l", "forget")).await.unwrap();
        assert_eq!(forgot.result().await.unwrap(), 1);
        no_lease_is_left(client).await;
    }
    let wakes = actor.call(wakes::call("e", 7u64)).await.unwrap();
    waiting(client, NamedKind::Event, "e", 1).await;
    let square = client.submit(square::call(3u64)).await.unwrap();
    assert_eq!(square.result().await.unwrap(), 9);
    client.event("e").set().await.unwrap();
    assert_eq!(wakes.result().await.unwrap(), 7);
}

#[tokio::test]
async fn what_does_not_come_about_in_time_is_told_so() {
    let grid = grid(1, 1).await;
    let client = &grid.client;
    let lock = client.lock("x").acquire().await.unwrap();
    let lease = client.semaphore("x", 1).acquire().await.unwrap();
    let late = client.submit(impatient::call("x")).await.unwrap().result().await.unwrap();
    assert_eq!(late, [true; 10]);
    drop((lock, lease));
    no_lease_is_left(client).await;
}

#[tokio::test]
async fn a_semaphore_lets_as_many_in_as_it_has_leases() {
    let grid = grid(2, 2).await;
    let client = &grid.client;
    let calls = client.map((0..7).map(|_| guarded::call("s", 3u32))).await.unwrap();
    waiting(client, NamedKind::Semaphore, "s", 4).await;
    let inside = client.queue::<u64>("s");
    eventually("three are inside", async || inside.size().await.is_ok_and(|size| size == 3)).await;
    assert_eq!(named(client, NamedKind::Semaphore, "s").await.unwrap().size, 3);
    client.event("s").set().await.unwrap();
    client.gather(&calls).await.unwrap();
    assert_eq!(inside.size().await.unwrap(), 7);
    no_lease_is_left(client).await;
}

#[tokio::test]
async fn an_event_wakes_all_that_wait_on_one_slot() {
    let grid = grid(1, 1).await;
    let client = &grid.client;
    let calls = client.map((0..40).map(|n| wakes::call("e", n))).await.unwrap();
    waiting(client, NamedKind::Event, "e", 40).await;
    // Their slot is free meanwhile.
    let square = client.submit(square::call(12u64)).await.unwrap();
    assert_eq!(square.result().await.unwrap(), 144);
    client.event("e").set().await.unwrap();
    let numbers = client.gather(&calls).await.unwrap();
    assert!(numbers.into_iter().eq(0..40));
}

#[tokio::test]
async fn more_calls_than_may_wait_are_told_so() {
    let engine = EngineConfig { waiting_max: 3, ..EngineConfig::default() };
    let grid = Grid::start_with(1, 1, engine).await;
    grid.deploy("sharing").await;
    let client = &grid.client;
    let first = client.map((0..3).map(|n| wakes::call("e", n))).await.unwrap();
    waiting(client, NamedKind::Event, "e", 3).await;
    let fourth = client.submit(wakes::call("e", 3u64)).await.unwrap();
    let refused = failure(fourth.result().await);
    assert!(refused.message.contains("3 calls wait for calls of their own or"), "{refused}");
    client.event("e").set().await.unwrap();
    assert_eq!(client.gather(&first).await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn what_tasks_publish_outlives_them_and_is_an_argument_for_others() {
    let grid = grid(2, 1).await;
    let client = &grid.client;
    let mut news = client.topic::<u64>("d").subscribe().await.unwrap();
    client.submit(publish::call("d", 6u64)).await.unwrap().result().await.unwrap();
    assert_eq!(news.next().await.unwrap().value, 6);
    let squares = client.dataset("d").get::<u64>().await.unwrap();
    assert_eq!(client.gather(&squares).await.unwrap(), [0, 1, 4, 9, 16, 25]);
    drop(squares);
    let sum = client.submit(sum_up::call("d")).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 55 + 36 + 49);
    eventually("nothing of it is left", async || {
        client.calls("", None, 10).await.unwrap().iter().all(|call| call.key == sum.key())
    })
    .await;
    // What is large comes from wherever it is.
    client.submit(shares::call("v", 100_000usize)).await.unwrap().result().await.unwrap();
    let lengths = client.map((0..4).map(|_| reads::call("v"))).await.unwrap();
    assert_eq!(client.gather(&lengths).await.unwrap(), [100_000; 4]);
}

#[tokio::test]
async fn a_task_is_given_no_more_calls_than_it_may_hold() {
    let grid = grid(1, 2).await;
    let client = &grid.client;
    let squares = client.map((0..10_001).map(square::call)).await.unwrap();
    client.dataset("d").publish(&squares).await.unwrap();
    let refused = failure(client.submit(sum_up::call("d")).await.unwrap().result().await);
    assert!(refused.message.contains("may hold 10000 calls at a time"), "{refused}");
    assert_eq!(client.dataset("d").get::<u64>().await.unwrap().len(), squares.len());
}

#[tokio::test]
async fn a_task_that_is_given_its_own_future_does_not_wait_for_it() {
    let grid = grid(1, 1).await;
    let circle = grid.client.submit(reads::call("v")).await.unwrap();
    waiting(&grid.client, NamedKind::Variable, "v", 1).await;
    grid.client.variable("v").set_future(&circle).await.unwrap();
    let refused = failure(circle.result().await);
    assert!(refused.message.contains("waits for the call that asks for its result"), "{refused}");
}

#[tokio::test]
async fn what_breaks_the_rules_is_told_in_words() {
    let grid = grid(1, 1).await;
    let said = grid.client.submit(unruly::call(5_000u64)).await.unwrap().result().await.unwrap();
    let words = [
        "Refused(\"a name has at most 256 bytes",
        "OverLimit(\"a variable needs a name",
        "OverLimit(\"a shared value has at most 65536 bytes",
        "Refused(\"no variable is named `v`",
        "OverLimit(\"a shared value has at most 65536 bytes",
        "Refused(\"no dataset is named `none`",
        "None",
        "OverLimit(\"queue `q` holds at most 2 items, not 3",
        "OverLimit(\"semaphore `s` needs at least one lease",
        "is no call that this call submitted or was given",
        "OverLimit(\"this client waits for, holds or listens to 4096 things",
        "None",
    ];
    assert_eq!(said.len(), words.len());
    for (said, words) in said.iter().zip(words) {
        assert!(said.contains(words), "{said} without {words}");
    }
    no_lease_is_left(&grid.client).await;
}

#[tokio::test]
async fn only_bundles_that_share_import_it() {
    let grid = Grid::start(1, 1).await;
    for (bundle, shares) in [("sharing", true), ("nested", false), ("noop", false)] {
        let imports = grid.deploy(bundle).await.description.imports;
        let imported = imports.iter().any(|import| import.starts_with("grid:task/coordination@"));
        assert_eq!(imported, shares, "{bundle}: {imports:?}");
    }
    let home = tempfile::tempdir().unwrap();
    let path = bundle_path("sharing");
    let inspect = command(home.path(), &["inspect", path.to_str().unwrap()]).output().unwrap();
    let shown = stdout(&inspect);
    assert!(shown.contains("grid:task/coordination@0.1.0"), "{shown}");
}
