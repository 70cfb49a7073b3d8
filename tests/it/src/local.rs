//! What stays on a worker: values of a bundle, and instances of resident tasks.

use grid_client::Client;
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_proto::report::{BundleInfo, WorkerInfo};
use grid_proto::{Arg, FailureKind, TrapKind};
use grid_sandbox::EngineConfig;
use grid_worker::MemoryConfig;
use keeping::*;
use serde::de::DeserializeOwned;

use crate::support::{
    Grid, Processes, bundle_bytes, eventually, failure, raw_call, signal, stdout, value,
};

async fn keeping(workers: usize, slots: usize, engine: EngineConfig) -> Grid {
    let grid = Grid::start_with(workers, slots, engine).await;
    grid.deploy("keeping").await;
    grid
}

async fn worker(client: &Client) -> WorkerInfo {
    client.workers().await.unwrap().remove(0)
}

async fn makes(client: &Client, key: &str, size: usize) -> bool {
    client.submit(make::call(key.to_owned(), size)).await.unwrap().result().await.unwrap()
}

/// The same code as another bundle: a section that means nothing more.
fn another(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    bytes
}

/// Calls a task of exactly this bundle.
async fn run_of<T: DeserializeOwned>(
    client: &Client,
    bundle: &BundleInfo,
    task: &str,
    args: Vec<Arg>,
) -> T {
    let future = client.submit_raw([raw_call(bundle, task, args)]).await.unwrap().remove(0);
    rmp_serde::from_slice(&future.result().await.unwrap().bytes).unwrap()
}

#[tokio::test]
async fn what_one_call_made_the_next_need_not_make() {
    let grid = keeping(1, 2, EngineConfig::default()).await;
    assert!(makes(&grid.client, "table", 1_000).await);
    assert!(!makes(&grid.client, "table", 1_000).await);
    assert!(makes(&grid.client, "another", 10).await);
    let other = grid.embedded.client().await.unwrap();
    assert!(!makes(&other, "table", 1_000).await, "all who use the bundle share");
    eventually("the worker says what it keeps", async || {
        let memory = worker(&grid.client).await.memory;
        memory.local_values == 2 && (1_010..2_000).contains(&memory.local_bytes)
    })
    .await;
    let there = grid.client.submit(forget::call("table".to_owned())).await.unwrap();
    assert!(there.result().await.unwrap());
    assert!(makes(&grid.client, "table", 1_000).await);
}

#[tokio::test]
async fn each_worker_keeps_its_own() {
    let grid = keeping(2, 1, EngineConfig::default()).await;
    for (worker, made) in [("worker-0", true), ("worker-1", true), ("worker-0", false)] {
        let call = make::call("table".to_owned(), 10).on(worker);
        assert_eq!(grid.client.submit(call).await.unwrap().result().await.unwrap(), made);
    }
}

#[tokio::test]
async fn another_bundle_sees_nothing_of_it() {
    let grid = keeping(1, 1, EngineConfig::default()).await;
    let ours = grid.client.bundle("keeping").await.unwrap();
    let bytes = another(bundle_bytes("keeping"));
    let other = grid.client.deploy(&bytes, true).await.unwrap().info;
    assert_ne!(ours.hash, other.hash);
    let table = || vec![value("table"), value(10)];
    assert!(run_of::<bool>(&grid.client, &ours, "make", table()).await);
    let key = || vec![value("table")];
    assert_eq!(run_of::<Option<usize>>(&grid.client, &other, "kept", key()).await, None);
    assert!(!run_of::<bool>(&grid.client, &other, "forget", key()).await);
    assert!(run_of::<bool>(&grid.client, &other, "make", table()).await);
    assert_eq!(run_of::<Option<usize>>(&grid.client, &ours, "kept", key()).await, Some(11));
    // An instance neither.
    let visit = || vec![value(0)];
    assert_eq!(run_of::<u32>(&grid.client, &ours, "visit", visit()).await, 1);
    assert_eq!(run_of::<u32>(&grid.client, &ours, "visit", visit()).await, 2);
    assert_eq!(run_of::<u32>(&grid.client, &other, "visit", visit()).await, 1);
}

/// A worker that may hold 64 MiB: 16 of them may be local, 8 a bundle's.
async fn limited() -> Grid {
    let state = tempfile::tempdir().unwrap();
    let embedded = Embedded::start(EmbeddedConfig {
        workers: 1,
        slots: 1,
        state_dir: state.path().to_owned(),
        memory: MemoryConfig { limit_bytes: 64 << 20, ..MemoryConfig::unlimited() },
        ..EmbeddedConfig::default()
    })
    .unwrap();
    let client = embedded.client().await.unwrap();
    Grid { client, embedded, state }
}

#[tokio::test]
async fn a_guest_that_fills_it_costs_only_itself() {
    let grid = limited().await;
    let greedy = grid.deploy("keeping").await;
    let other = grid.client.deploy(&another(bundle_bytes("keeping")), true).await.unwrap().info;
    let table = || vec![value("table"), value(1_000)];
    assert!(run_of::<bool>(&grid.client, &other, "make", table()).await);
    assert!(run_of::<bool>(&grid.client, &greedy, "make", table()).await);
    // More than all of it, in a million keys and in pieces; and one that is too large for any bundle.
    let many = [(1_000_000_u32, 0_usize), (40, 1 << 20), (1, 9 << 20)];
    for (count, size) in many {
        let accepted =
            run_of::<u32>(&grid.client, &greedy, "fill", vec![value(count), value(size)]).await;
        assert_eq!(accepted, if size > 8 << 20 { 0 } else { count });
    }
    assert!(!run_of::<bool>(&grid.client, &other, "make", table()).await, "nobody else lost any");
    assert!(run_of::<bool>(&grid.client, &greedy, "make", table()).await, "its own has gone");
    eventually("it is bounded", async || {
        let memory = worker(&grid.client).await.memory;
        (1 << 20..=8 << 20).contains(&memory.local_bytes) && memory.local_values < 40_000
    })
    .await;
    assert!(!worker(&grid.client).await.paused);
}

#[tokio::test]
async fn a_worker_that_starts_anew_has_forgotten_and_the_command_line_shows_what_is_kept() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("keeping"), false).await.unwrap();
    assert!(makes(&client, "table", 3_000).await);
    assert!(!makes(&client, "table", 3_000).await);
    eventually("it is listed", async || {
        let listed = stdout(&grid.run(&["workers"]));
        listed.contains("LOCAL") && listed.contains("1 (3.2 KiB)")
    })
    .await;
    let listed = stdout(&grid.run(&["workers", "--json"]));
    assert!(listed.contains("\"local_values\": 1"), "{listed}");
    let pid = worker(&client).await.pid;
    signal("-KILL", pid.into());
    eventually("another one is there", async || {
        let workers = client.workers().await.unwrap();
        workers.first().is_some_and(|worker| worker.pid != pid)
    })
    .await;
    assert!(makes(&client, "table", 3_000).await);
}

/// Visits one after the other.
async fn visits(client: &Client, count: u32) -> Vec<u32> {
    let mut visits = Vec::new();
    for _ in 0..count {
        visits.push(client.submit(visit::call(0)).await.unwrap().result().await.unwrap());
    }
    visits
}

#[tokio::test]
async fn a_resident_task_finds_its_instance_as_it_left_it() {
    let grid = keeping(1, 2, EngineConfig::default()).await;
    assert_eq!(visits(&grid.client, 3).await, [1, 2, 3]);
    let again = grid.client.submit(visit_again::call()).await.unwrap();
    assert_eq!(again.result().await.unwrap(), 4, "resident tasks of a bundle share");
    let fresh = grid.client.submit(visit_fresh::call()).await.unwrap();
    assert_eq!(fresh.result().await.unwrap(), 1, "others have their own");
    // What only another call reads is run for whoever wants that.
    let both = grid.client.submit(visit_after::call(visit_again::call())).await.unwrap();
    assert_eq!(both.result().await.unwrap(), 5_006);
}

#[tokio::test]
async fn another_client_never_meets_it_and_a_nested_call_counts_as_its_root_s() {
    let grid = keeping(1, 2, EngineConfig::default()).await;
    let other = grid.embedded.client().await.unwrap();
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    assert_eq!(visits(&other, 2).await, [1, 2]);
    let below = |client: Client| async move {
        client.submit(visit_below::call(0)).await.unwrap().result().await.unwrap()
    };
    assert_eq!(below(grid.client.clone()).await, 3);
    assert_eq!(below(other.clone()).await, 3);
    // Nor does it when the first is gone.
    other.close().await;
    let third = grid.embedded.client().await.unwrap();
    assert_eq!(visits(&third, 1).await, [1]);
    assert_eq!(visits(&grid.client, 1).await, [4]);
}

#[tokio::test]
async fn one_call_at_a_time_is_in_an_instance() {
    let grid = keeping(1, 2, EngineConfig::default()).await;
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    let endless = grid.client.submit(visit_for_ever::call()).await.unwrap();
    eventually("it runs", async || worker(&grid.client).await.executing == 1).await;
    assert_eq!(visits(&grid.client, 2).await, [1, 2], "a fresh one, which stays too");
    grid.client.cancel(vec![endless.key()], false).await.unwrap();
    assert_eq!(failure(endless.result().await).kind, FailureKind::Cancelled);
    assert_eq!(visits(&grid.client, 1).await, [3]);
}

#[tokio::test]
async fn a_trap_a_failure_and_a_cancel_retire_it() {
    let grid = keeping(1, 1, EngineConfig::default()).await;
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    let broke = grid.client.submit(visit_and_panic::call()).await.unwrap();
    let broke = failure(broke.result().await);
    assert_eq!(broke.kind, FailureKind::Trap { trap: TrapKind::Panic });
    assert!(broke.message.contains("visit 3 broke"), "{broke}");
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    let failed = failure(grid.client.submit(visit_and_fail::call()).await.unwrap().result().await);
    assert_eq!(failed.message, "visit 3 failed");
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    let endless = grid.client.submit(visit_for_ever::call()).await.unwrap();
    eventually("it runs", async || worker(&grid.client).await.executing == 1).await;
    grid.client.cancel(vec![endless.key()], false).await.unwrap();
    assert_eq!(failure(endless.result().await).kind, FailureKind::Cancelled);
    assert_eq!(visits(&grid.client, 1).await, [1]);
}

#[tokio::test]
async fn limits_belong_to_the_call_and_uses_are_bounded() {
    let engine = EngineConfig { resident_uses_max: 3, ..EngineConfig::default() };
    let grid = keeping(1, 1, engine).await;
    assert_eq!(visits(&grid.client, 2).await, [1, 2]);
    let larger = visit::call(0).memory_bytes(300 << 20);
    assert_eq!(grid.client.submit(larger).await.unwrap().result().await.unwrap(), 1);
    assert_eq!(visits(&grid.client, 5).await, [3, 1, 2, 3, 1]);
}

#[tokio::test]
async fn instances_are_kept_for_those_that_came_last() {
    let engine = EngineConfig { residents_max: 2, ..EngineConfig::default() };
    let grid = keeping(1, 1, engine).await;
    let (one, two) = (&grid.client, &grid.embedded.client().await.unwrap());
    assert_eq!((visits(one, 1).await, visits(two, 1).await), (vec![1], vec![1]));
    assert_eq!(visits(one, 1).await, [2]);
    let three = grid.embedded.client().await.unwrap();
    assert_eq!(visits(&three, 1).await, [1]);
    eventually("the worker says what stays on it", async || {
        let memory = worker(&grid.client).await.memory;
        let each = memory.resident_instances_bytes / 2;
        let all = each * 2 <= memory.sandboxes_bytes;
        memory.residents == 2 && each >= 64 << 10 && all && memory.code_bytes > 100 << 10
    })
    .await;
    // The second's was used longest ago.
    assert_eq!((visits(one, 1).await, visits(two, 1).await), (vec![3], vec![1]));
}

#[tokio::test]
async fn a_worker_told_to_keep_no_instance_keeps_none() {
    let engine = EngineConfig { residents_max: 0, ..EngineConfig::default() };
    let grid = keeping(1, 1, engine).await;
    assert_eq!(visits(&grid.client, 3).await, [1, 1, 1]);
}
