//! Calls that depend on each other, typed as programs write them: keys, sharing, failure, release.

use std::time::Duration;

use grid_proto::FailureKind;
use grid_sdk::{Call, Raw};
use hello::{Person, add, greet, inc, parse};
use noop::{chunk, echo, fresh, spin, sum};
use odd::user_error::fail;

use crate::support::{Grid, PATIENCE, Processes, bundle_bytes, eventually, failure};

#[tokio::test]
async fn values_futures_and_calls_are_arguments() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let x = grid.client.submit(inc::call(10)).await.unwrap();
    let sum = grid.client.submit(add::call(inc::call(1), &x)).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 13);
    assert_eq!(x.result().await.unwrap(), 11);
    let person = Person { name: "Ada".into(), age: Some(36) };
    let greeting = grid.client.submit(greet::call(person)).await.unwrap().result().await.unwrap();
    assert_eq!(greeting.letters, 3);
}

#[tokio::test]
async fn a_tree_over_two_workers_moves_results_between_them() {
    let grid = Grid::start(2, 2).await;
    grid.deploy("hello").await;
    let mut level: Vec<Call<i64>> = (0..256).map(inc::call).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| add::call(&pair[0], &pair[1])).collect();
    }
    let root = grid.client.submit(level.remove(0)).await.unwrap();
    assert_eq!(root.result().await.unwrap(), (1..=256).sum::<i64>());
    let workers = grid.client.workers().await.unwrap();
    assert!(workers.iter().all(|worker| worker.in_hand == 0));
}

/// The sum of so many numbers from this one on, as one graph.
fn tree(from: i64, count: i64) -> Call<i64> {
    let mut level: Vec<Call<i64>> = (from..from + count).map(inc::call).collect();
    while level.len() > 1 {
        let pair = |pair: &[Call<i64>]| match pair {
            [one, other] => add::call(one, other),
            _ => pair[0].clone(),
        };
        level = level.chunks(2).map(pair).collect();
    }
    level.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_tasks_of_a_program_submit_large_graphs_at_the_same_time_and_some_give_up() {
    let grid = Processes::up(&["--workers=1", "--slots=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6 {
        let client = client.clone();
        tasks.spawn(async move {
            for round in 0..4 {
                let from = (task * 10 + round) * 10_000;
                let count = if task % 2 == 0 { 2_000 } else { 1 };
                let sum = client.submit(tree(from, count));
                if task == 0 && round % 2 == 0 {
                    // Nobody waits for the rest of its pieces.
                    let _ = tokio::time::timeout(Duration::from_micros(300), sum).await;
                    continue;
                }
                let expected = (from + 1..=from + count).sum::<i64>();
                assert_eq!(sum.await.unwrap().result().await.unwrap(), expected);
            }
        });
    }
    while let Some(done) = tokio::time::timeout(PATIENCE, tasks.join_next()).await.unwrap() {
        done.unwrap();
    }
}

#[tokio::test]
async fn large_bytes_travel_as_they_are() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("noop").await;
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let there = grid.client.submit(echo::call(Raw(bytes.clone()))).await.unwrap();
    let back = grid.client.submit(echo::call(echo::call(&there))).await.unwrap();
    assert!(back.result().await.unwrap().0 == bytes);
    let made = grid.client.submit(chunk::call(20_000_000usize)).await.unwrap();
    assert_eq!(made.result().await.unwrap().0.len(), 20_000_000);
}

#[tokio::test]
async fn equal_pure_work_of_two_clients_runs_once_and_impure_work_each_time() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("noop").await;
    let other = grid.embedded.client().await.unwrap();
    let first = grid.client.submit(spin::call(1_000u64)).await.unwrap();
    let second = other.submit(spin::call(1_000u64)).await.unwrap();
    assert_eq!(first.key(), second.key());
    assert_eq!(first.result().await.unwrap(), second.result().await.unwrap());
    assert_eq!(grid.counts("spin").await.calls, 1);
    for _ in 0..3 {
        grid.client.submit(fresh::call(7u64)).await.unwrap().result().await.unwrap();
    }
    assert_eq!(grid.counts("fresh").await.calls, 3);
    let once_more = grid.client.submit(spin::call(1_000u64).impure()).await.unwrap();
    once_more.result().await.unwrap();
    assert_eq!(grid.counts("spin").await.calls, 2);
}

#[tokio::test]
async fn a_failed_input_fails_what_depends_on_it_with_the_cause() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let bad = parse::call("seven");
    let root = grid.client.submit(bad.clone()).await.unwrap();
    let dependent = grid.client.submit(add::call(inc::call(bad), 1)).await.unwrap();
    let failed = failure(dependent.result().await);
    assert_eq!(failed.kind, FailureKind::User);
    assert!(failed.message.contains("seven"), "{failed}");
    assert_eq!(failed.causes.len(), 1, "{failed}");
    let site = failed.site.unwrap();
    assert_eq!(site.key, root.key());
    assert_eq!(site.task, "hello@0.1.0:parse");
    // A late dependent fails at once, and nothing of it runs.
    let late = grid.client.submit(inc::call(&root)).await.unwrap();
    assert_eq!(failure(late.result().await).site.unwrap().key, root.key());
    assert_eq!(grid.counts("inc").await.calls, 0);
}

#[tokio::test]
async fn retries_are_exact() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("odd").await;
    let ended = grid.client.submit(fail::call().retries(3)).await.unwrap();
    let failed = failure(ended.result().await);
    assert_eq!(failed.site.unwrap().attempt.0, 3);
    assert_eq!(grid.counts("fail").await.calls, 4);
    assert_eq!(grid.counts("fail").await.failures["user-error"], 4);
}

#[tokio::test]
async fn results_live_as_long_as_their_futures() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let futures = grid.client.map((0..500).map(inc::call)).await.unwrap();
    let kept = futures[7].clone();
    grid.client.gather(&futures).await.unwrap();
    drop(futures);
    eventually("all but one are freed", async || {
        let status = grid.client.status().await.unwrap();
        let objects: u64 = grid.client.workers().await.unwrap().iter().map(|w| w.objects).sum();
        status.calls.values().sum::<u64>() == 1 && objects == 1
    })
    .await;
    assert_eq!(kept.result().await.unwrap(), 8);
    // A key that was let go can be taken up again at once.
    let key = kept.key();
    drop(kept);
    let again = grid.client.submit(inc::call(7)).await.unwrap();
    assert_eq!(again.key(), key);
    assert_eq!(again.result().await.unwrap(), 8);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_interest_along_and_nothing_else() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("noop").await;
    let other = grid.embedded.client().await.unwrap();
    let shared = grid.client.submit(spin::call(1_000u64)).await.unwrap();
    let theirs = other.map([spin::call(1_000u64), spin::call(1u64)]).await.unwrap();
    other.gather(&theirs).await.unwrap();
    drop(theirs);
    drop(other);
    eventually("only the shared call is left", async || {
        grid.client.status().await.unwrap().calls.values().sum::<u64>() == 1
    })
    .await;
    shared.result().await.unwrap();
}

#[tokio::test]
async fn cancel_stops_a_running_loop_and_gives_the_slot_back() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("noop").await;
    let endless = grid.client.submit(spin::call(u64::MAX)).await.unwrap();
    let dependent = grid.client.submit(spin::call(&endless)).await.unwrap();
    eventually("it executes", async || grid.client.workers().await.unwrap()[0].executing == 1)
        .await;
    let asked = std::time::Instant::now();
    grid.client.cancel(vec![endless.key()], false).await.unwrap();
    assert_eq!(failure(endless.result().await).kind, FailureKind::Cancelled);
    assert_eq!(failure(dependent.result().await).kind, FailureKind::Cancelled);
    let next = grid.client.submit(sum::call(vec![1, 2, 3])).await.unwrap();
    assert_eq!(next.result().await.unwrap(), 6);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_long_chain_and_many_calls_at_once() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let chain = (0..2_000).fold(inc::call(0), |call, _| inc::call(call));
    let end = grid.client.submit(chain).await.unwrap();
    assert_eq!(end.result().await.unwrap(), 2_001);
    let futures = grid.client.map((0..20_000).map(|n| add::call(n, n))).await.unwrap();
    let results = grid.client.gather(&futures).await.unwrap();
    assert!(results.into_iter().eq((0..20_000).map(|n| 2 * n)));
}
