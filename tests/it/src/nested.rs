//! Calls that submit calls: results, bounds, failures, and workers that die meanwhile.

use std::time::{Duration, Instant};

use grid_client::Client;
use grid_proto::{FailureKind, Key, TrapKind};
use grid_sandbox::EngineConfig;
use nested::*;

use crate::support::{Grid, Processes, bundle_bytes, eventually, failure, signal};

async fn one_slot() -> Grid {
    let grid = Grid::start(1, 1).await;
    grid.deploy("nested").await;
    grid
}

/// The grid has these calls and no others.
async fn only_these_are_left(client: &Client, keys: &[Key]) {
    eventually("the children are gone", async || {
        let calls = client.calls("", None, 1_000).await.unwrap();
        calls.iter().all(|call| keys.contains(&call.key))
    })
    .await;
}

async fn executing(client: &Client, count: u32) {
    eventually("they run", async || {
        let workers = client.workers().await.unwrap();
        workers.iter().map(|worker| worker.executing).sum::<u32>() == count
    })
    .await;
}

#[tokio::test]
async fn one_slot_suffices_for_calls_of_calls_of_calls() {
    let grid = one_slot().await;
    let number = grid.client.submit(fibonacci::call(16)).await.unwrap();
    assert_eq!(number.result().await.unwrap(), 987);
    // Equal calls run once while somebody wants them; a program without a grid makes 3,193.
    let calls = grid.counts("fibonacci").await.calls;
    assert!((17..500).contains(&calls), "{calls}");
    only_these_are_left(&grid.client, &[number.key()]).await;
}

#[tokio::test]
async fn only_bundles_that_use_the_grid_import_it() {
    let grid = Grid::start(1, 1).await;
    for (bundle, uses) in [("nested", true), ("noop", false), ("hello", false)] {
        let imports = grid.deploy(bundle).await.description.imports;
        let imported = imports.iter().any(|import| import.starts_with("grid:task/grid@"));
        assert_eq!(imported, uses, "{bundle}: {imports:?}");
    }
}

#[tokio::test]
async fn deep_and_wide_trees_give_the_right_number() {
    let grid = Grid::start(2, 2).await;
    grid.deploy("nested").await;
    let (deep, wide) = (leaves::call(40, 1, 7), leaves::call(3, 8, 1));
    let both = grid.client.map([deep, wide]).await.unwrap();
    assert_eq!(grid.client.gather(&both).await.unwrap(), [1, 512]);
}

#[tokio::test]
async fn many_parents_at_once_do_not_wait_for_each_other_for_ever() {
    let grid = one_slot().await;
    let trees = grid.client.map((0..400).map(|n| leaves::call(2, 2, 1_000 + n))).await.unwrap();
    let sums = grid.client.gather(&trees).await.unwrap();
    assert!(sums.iter().all(|sum| *sum == 4));
}

#[tokio::test]
async fn large_results_of_children_come_from_wherever_they_are() {
    let grid = Grid::start(3, 1).await;
    grid.deploy("nested").await;
    let sum = grid.client.submit(total::call(12, 3 << 20)).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 12 * (3 << 20));
    let lengths = grid.client.submit(chained::call(100_000usize)).await.unwrap();
    assert_eq!(lengths.result().await.unwrap(), [100_000, 100_000]);
}

#[tokio::test]
async fn a_task_may_call_those_of_other_bundles() {
    let grid = one_slot().await;
    grid.deploy("noop").await;
    let sum = grid.client.submit(stranger::call(3, 4)).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 7);
}

#[tokio::test]
async fn a_cancelled_parent_ends_at_once_and_so_do_its_children() {
    let grid = Grid::start(1, 2).await;
    grid.deploy("nested").await;
    let parent = grid.client.submit(patient::call(4)).await.unwrap();
    executing(&grid.client, 2).await;
    let calls = grid.client.calls(&parent.key().to_string(), None, 1).await.unwrap();
    let why = "waits on `worker-0` for calls that it submitted";
    assert_eq!(calls[0].explanation, why);
    let cancelled = Instant::now();
    grid.client.cancel(vec![parent.key()], false).await.unwrap();
    assert_eq!(failure(parent.result().await).kind, FailureKind::Cancelled);
    eventually("nothing is left", async || {
        grid.client.calls("", None, 10).await.unwrap().is_empty()
    })
    .await;
    // Both slots are free again: what runs on them now was submitted after the others.
    let number = grid.client.submit(fibonacci::call(3)).await.unwrap();
    assert_eq!(number.result().await.unwrap(), 2);
    assert!(cancelled.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_parent_that_traps_lets_go_of_its_children() {
    let grid = Grid::start(1, 2).await;
    grid.deploy("nested").await;
    let parent = grid.client.submit(careless::call()).await.unwrap();
    let failure = failure(parent.result().await);
    assert_eq!(failure.kind, FailureKind::Trap { trap: TrapKind::Panic });
    assert!(failure.message.contains("number 1 was first"), "{failure}");
    only_these_are_left(&grid.client, &[parent.key()]).await;
    let race = grid.client.submit(race::call()).await.unwrap();
    assert_eq!(race.result().await.unwrap(), 1);
    only_these_are_left(&grid.client, &[parent.key(), race.key()]).await;
}

#[tokio::test]
async fn a_failed_child_is_a_value_for_its_parent() {
    let grid = one_slot().await;
    let said = grid.client.submit(looks::call()).await.unwrap().result().await.unwrap();
    assert!(said.contains("`nested@0.1.0:fails` failed: user-error: on purpose"), "{said}");
    assert!(said.contains("`nested@0.1.0:crashes` failed: panic"), "{said}");
}

#[tokio::test]
async fn what_a_call_may_not_submit_is_told_in_words() {
    let grid = one_slot().await;
    let client = &grid.client;
    let circle = failure(client.submit(circle::call(1)).await.unwrap().result().await);
    assert!(circle.message.contains("would wait for itself"), "{circle}");
    let (depth, why) = client.submit(deep::call(0)).await.unwrap().result().await.unwrap();
    assert_eq!(depth, 64);
    assert!(why.contains("nested 64 deep"), "{why}");
    let flood_of = async |calls| client.submit(flood::call(calls)).await.unwrap().result().await;
    assert_eq!(flood_of(10_000).await.unwrap(), "10000 were taken");
    assert!(flood_of(10_001).await.unwrap().starts_with("OverLimit(\"a call may have submitted"));
    let said = client.submit(wrong::call()).await.unwrap().result().await.unwrap();
    for (said, what) in said.iter().zip(["nowhere", "no task `f`", "leaves", "5242880 bytes"]) {
        assert!(said.starts_with("Refused(") && said.contains(what), "{said}");
    }
}

#[tokio::test]
async fn more_calls_than_may_wait_are_told_so() {
    let engine = EngineConfig { waiting_max: 4, ..EngineConfig::default() };
    let grid = Grid::start_with(1, 1, engine).await;
    grid.deploy("nested").await;
    let fits = grid.client.submit(leaves::call(4, 1, 1)).await.unwrap();
    assert_eq!(fits.result().await.unwrap(), 1);
    let failure = failure(grid.client.submit(leaves::call(5, 1, 9)).await.unwrap().result().await);
    assert_eq!(failure.kind, FailureKind::User);
    assert!(failure.message.contains("4 calls wait for calls of their own"), "{failure}");
}

#[tokio::test]
async fn waiting_has_a_limit_of_its_own_and_does_not_count_as_time() {
    let waiting_time_max = Duration::from_millis(700);
    let engine = EngineConfig { waiting_time_max, ..EngineConfig::default() };
    let grid = Grid::start_with(1, 1, engine).await;
    grid.deploy("nested").await;
    // It waits for longer than it may compute.
    let quick = patient::call(1).timeout(Duration::from_millis(100));
    let failure = failure(grid.client.submit(quick).await.unwrap().result().await);
    assert_eq!(failure.kind, FailureKind::Deadline { limit_ms: 700 });
    assert!(failure.message.contains("waited longer"), "{failure}");
    assert!(failure.spent.wall_us < 500_000, "{:?}", failure.spent);
}

#[tokio::test]
async fn a_call_that_asks_runs_on_another_worker() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("nested").await;
    for (avoided, other) in [("worker-0", "worker-1"), ("worker-1", "worker-0")] {
        let calls = (0..10).map(|_| avoids::call(avoided));
        let names = grid.client.map(calls).await.unwrap();
        let names = grid.client.gather(&names).await.unwrap();
        assert!(names.iter().all(|name| name == other), "{names:?}");
    }
    let failure = failure(grid.client.submit(restless::call()).await.unwrap().result().await);
    assert_eq!(failure.kind, FailureKind::Rescheduled);
    assert!(failure.message.contains("more than 100 times"), "{failure}");
}

#[tokio::test]
async fn workers_killed_while_calls_wait_cost_time_and_no_result() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("nested"), false).await.unwrap();
    let tree = client.submit(leaves::call(6, 4, 3)).await.unwrap();
    for (count, pid) in [300, 1_500].into_iter().zip(&grid.worker_pids) {
        eventually("some of it is done", async || {
            let counts = crate::support::counts(&client, "leaves").await;
            counts.successes > count
        })
        .await;
        signal("-KILL", *pid);
    }
    assert_eq!(tree.result().await.unwrap(), 4_096);
}
