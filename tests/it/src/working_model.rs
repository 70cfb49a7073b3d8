//! Waiting, gathering, persisting, detaching and retrying, as programs write them.

use std::time::{Duration, Instant};

use grid_client::{ClientError, WaitFor};
use grid_proto::FailureKind;
use hello::{inc, parse};
use noop::{add, fresh, sleep_ms, spin};
use odd::user_error::fail;

use crate::support::{Grid, PATIENCE, Processes, bundle_bytes, eventually, failure};

#[tokio::test]
async fn gather_raises_skips_or_gives_each() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let texts = ["1", "x", "3"];
    let futures = grid.client.map(texts.map(parse::call)).await.unwrap();
    assert_eq!(failure(grid.client.gather(&futures).await).kind, FailureKind::User);
    assert_eq!(grid.client.gather_skip(&futures).await.unwrap(), [1, 3]);
    let each = grid.client.gather_each(&futures).await;
    assert!(matches!(&each[..], [Ok(1), Err(ClientError::Failed(_)), Ok(3)]), "{each:?}");
}

#[tokio::test]
async fn gather_ends_at_the_first_failure_in_time_not_in_order() {
    let grid = Grid::start(1, 2).await;
    grid.deploy("noop").await;
    let client = &grid.client;
    let endless = client.submit(spin::call(u64::MAX)).await.unwrap();
    let doomed = client.submit(spin::call(u64::MAX - 1)).await.unwrap();
    let futures = [endless.clone(), doomed.clone(), doomed.clone()];
    let gather = async || tokio::time::timeout(PATIENCE, client.gather(&futures)).await.unwrap();
    // On the way, and when it is known before.
    let (gathered, _) = tokio::join!(biased; gather(), client.cancel(vec![doomed.key()], false));
    assert_eq!(failure(gathered).kind, FailureKind::Cancelled);
    assert_eq!(failure(gather().await).kind, FailureKind::Cancelled);
    assert!(!endless.is_done());
    client.cancel(vec![endless.key()], false).await.unwrap();
}

#[tokio::test]
async fn wait_tells_what_has_ended_and_what_has_not() {
    let grid = Grid::start(1, 2).await;
    grid.deploy("noop").await;
    grid.deploy("hello").await;
    let endless = grid.client.submit(spin::call(u64::MAX)).await.unwrap();
    let short = grid.client.submit(spin::call(1u64)).await.unwrap();
    let both = [endless.clone(), short.clone()];
    let first = grid.client.wait(&both, WaitFor::First, None).await;
    assert_eq!((first.done.len(), first.not_done.len()), (1, 1));
    assert_eq!((first.done[0].key(), first.not_done[0].key()), (short.key(), endless.key()));
    let soon = Some(Duration::from_millis(20));
    let all = grid.client.wait(&both, WaitFor::All, soon).await;
    assert_eq!((all.done.len(), all.not_done.len()), (1, 1), "the time was over");
    grid.client.cancel(vec![endless.key()], false).await.unwrap();
    let all = grid.client.wait(&both, WaitFor::All, None).await;
    assert!(all.not_done.is_empty() && all.done.len() == 2, "without a result, too");
    let none = grid.client.wait::<i64>(&[], WaitFor::First, None).await;
    assert!(none.done.is_empty());
}

#[tokio::test]
async fn futures_come_as_they_complete_and_more_are_added_on_the_way() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("noop").await;
    let slow = grid.client.submit(sleep_ms::call(300u64)).await.unwrap();
    let fast = grid.client.submit(sleep_ms::call(1u64)).await.unwrap();
    let mut completed = grid.client.as_completed([slow.clone(), fast.clone()]);
    assert_eq!(completed.len(), 2);
    assert_eq!(completed.next().await.unwrap().key(), fast.key());
    completed.add(grid.client.submit(sleep_ms::call(2u64)).await.unwrap());
    let mut results = Vec::new();
    while let Some(future) = completed.next().await {
        results.push(future.result().await.unwrap());
    }
    assert_eq!(results, [2, 300]);
    assert!(completed.is_empty() && completed.next_batch().await.is_empty());
    completed.add(slow);
    assert_eq!(completed.next_batch().await.len(), 1, "it can be filled again");
}

#[tokio::test]
async fn thousands_complete_in_batches_each_once() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("noop").await;
    let calls = (0..20_000i64).map(|n| add::call(n, 0));
    let mut completed = grid.client.as_completed(grid.client.map(calls).await.unwrap());
    let mut results = Vec::new();
    while !completed.is_empty() {
        let batch = completed.next_batch().await;
        results.extend(grid.client.gather(&batch).await.unwrap());
        if results.len() < 100 {
            completed.add(grid.client.submit(add::call(-1, 0)).await.unwrap());
        }
    }
    results.sort_unstable();
    results.retain(|result| *result >= 0);
    assert!(results.into_iter().eq(0..20_000));
}

#[tokio::test]
async fn what_is_persisted_is_named_and_not_computed_again() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("noop").await;
    let source = fresh::call(7u64);
    let kept = grid.client.persist([source.clone()]).await.unwrap();
    for _ in 0..3 {
        let reader = grid.client.submit(fresh::call(&source)).await.unwrap();
        assert_eq!(reader.result().await.unwrap(), 7);
    }
    assert_eq!(grid.counts("fresh").await.calls, 4, "the source once, each reader");
    let again = grid.client.submit(source.clone()).await.unwrap();
    assert_eq!(again.key(), kept[0].key());
    drop((kept, again));
    let anew = grid.client.submit(source).await.unwrap();
    assert_eq!(anew.result().await.unwrap(), 7);
    assert_eq!(grid.counts("fresh").await.calls, 5, "its futures are gone, so it runs anew");
}

#[tokio::test]
async fn a_detached_call_runs_though_its_client_left() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("noop").await;
    let other = grid.embedded.client().await.unwrap();
    let key = other.detach(sleep_ms::call(200u64)).await.unwrap();
    other.close().await;
    let state = async || {
        let calls = grid.client.calls(&key.to_string(), None, 1).await.unwrap();
        calls.first().map(|call| call.state.clone())
    };
    assert!(state().await.is_some(), "it is wanted though nobody holds a future");
    eventually("it ends and is forgotten", async || state().await.is_none()).await;
    assert_eq!(grid.counts("sleep_ms").await.successes, 1);
}

#[tokio::test]
async fn failed_calls_run_again_from_the_root_when_asked() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("odd").await;
    grid.deploy("hello").await;
    let root = grid.client.submit(fail::call().retries(1)).await.unwrap();
    let first = failure(root.result().await);
    assert_eq!(grid.counts("fail").await.calls, 2);
    assert_eq!(grid.client.retry(vec![root.key()]).await.unwrap(), [root.key()]);
    let second = failure(root.result().await);
    assert_eq!(grid.counts("fail").await.calls, 4, "with its retries");
    assert!(second.site.unwrap().attempt > first.site.unwrap().attempt);
    let good = grid.client.submit(inc::call(1)).await.unwrap();
    good.result().await.unwrap();
    assert!(grid.client.retry(vec![good.key()]).await.unwrap().is_empty());
    let refused = grid.client.retry(vec![grid_proto::Key([7; 32])]).await.unwrap_err();
    assert!(refused.to_string().contains("is not known"), "{refused}");
}

#[tokio::test]
async fn a_cancelled_call_that_has_a_name_is_retried_and_everybody_is_told() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("hello").await;
    let other = grid.embedded.client().await.unwrap();
    let future = grid.client.submit(inc::call(41)).await.unwrap();
    let dependent = grid.client.submit(inc::call(&future)).await.unwrap();
    dependent.result().await.unwrap();
    let name = grid.client.dataset("answers");
    name.publish(&[future.clone(), dependent.clone()]).await.unwrap();
    grid.client.cancel(vec![future.key()], true).await.unwrap();
    let named = other.dataset("answers").get::<i64>().await.unwrap();
    for future in &named {
        assert_eq!(failure(future.result().await).kind, FailureKind::Cancelled);
    }
    let retried = grid.client.retry(vec![future.key()]).await.unwrap();
    assert_eq!(retried.len(), 2, "and what failed with it");
    eventually("he is told", async || {
        matches!(other.gather(&named).await.as_deref(), Ok([42, 43]))
    })
    .await;
}

#[tokio::test]
async fn a_program_may_compute_as_long_as_it_likes_between_its_calls() {
    let grid = Processes::up(&["--workers=1", "--slots=1"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let future = client.submit(add::call(1, 2)).await.unwrap();
    // Nothing else runs on this runtime meanwhile; the connection lives, and the result arrives.
    let begun = Instant::now();
    while !future.is_done() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens");
        std::thread::yield_now();
    }
    assert_eq!(future.result().await.unwrap(), 3);
}
