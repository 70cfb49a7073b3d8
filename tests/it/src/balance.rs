//! Work that moves to where there is room, and the order in which it runs.

use std::collections::BTreeMap;

use grid_client::Future;
use noop::{fresh, sleep_ms};

use crate::parts::Parts;
use crate::support::{counts, eventually};

async fn by_worker(grid: &Parts, futures: &[Future<u64>]) -> BTreeMap<String, usize> {
    let mut by_worker = BTreeMap::new();
    for future in futures {
        for worker in grid.call(future.key()).await.workers {
            *by_worker.entry(worker).or_default() += 1;
        }
    }
    by_worker
}

/// Their input is where they are queued; what runs elsewhere was given to a newcomer.
#[tokio::test]
async fn a_newcomer_gets_of_what_is_queued_elsewhere_and_nothing_runs_twice() {
    let mut grid = Parts::start(&[]).await;
    grid.worker("old", &[]).await;
    grid.deploy(&["noop"]).await;
    let time = grid.client.submit(fresh::call(100)).await.unwrap();
    time.result().await.unwrap();
    let futures = grid.client.map((0..40).map(|_| sleep_ms::call(&time))).await.unwrap();
    eventually("some are done and most are held back for it", async || {
        let old = &grid.client.workers().await.unwrap()[0];
        old.held_back > 30 && counts(&grid.client, "sleep_ms").await.successes > 0
    })
    .await;
    grid.worker("new", &[]).await;
    let results = grid.client.gather(&futures).await.unwrap();
    assert!(results.iter().all(|result| *result == 100));
    let by_worker = by_worker(&grid, &futures).await;
    assert!(by_worker["old"] > 3 && by_worker["new"] > 3, "{by_worker:?}");
    let counts = counts(&grid.client, "sleep_ms").await;
    assert_eq!((counts.calls, counts.successes), (40, 40), "{counts:?}");
    assert_eq!(grid.client.status().await.unwrap().stale_messages, 0);
}

#[tokio::test]
async fn higher_priority_runs_first_though_it_came_last() {
    let mut grid = Parts::start(&["--saturation=1"]).await;
    grid.worker("w", &[]).await;
    grid.deploy(&["noop"]).await;
    let client = &grid.client;
    let busy = client.submit(sleep_ms::call(1_500)).await.unwrap();
    eventually("the slot is taken", async || client.workers().await.unwrap()[0].executing == 1)
        .await;
    let low = client.map((0..4).map(|_| sleep_ms::call(30).priority(-1))).await.unwrap();
    let plain = client.map((0..4).map(|_| sleep_ms::call(30))).await.unwrap();
    let high = client.map((0..4).map(|_| sleep_ms::call(30).priority(7))).await.unwrap();
    assert!(!busy.is_done(), "all of them were submitted while the slot was taken");
    let mut completed = client.as_completed(low.iter().chain(&plain).chain(&high).cloned());
    let mut order = Vec::new();
    while let Some(future) = completed.next().await {
        order.push(future.key());
    }
    let expected = high.iter().chain(&plain).chain(&low).map(Future::key);
    assert!(order.iter().copied().eq(expected), "{order:?}");
}
