//! Cancelling what runs, on worker processes.

use std::time::{Duration, Instant};

use grid_proto::FailureKind;
use noop::{add, spin};

use crate::parts::Parts;
use crate::support::{eventually, failure};

/// What is promised. Tests share their machine, so it is asked of the best of some rounds.
const LIMIT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_running_loop_stops_at_once_and_its_slot_and_key_are_free() {
    let mut grid = Parts::start(&[]).await;
    grid.worker("w", &["--slots=2"]).await;
    grid.deploy(&["noop"]).await;
    let client = &grid.client;
    let executing = async |count| {
        eventually("they execute", async || client.workers().await.unwrap()[0].executing == count)
            .await;
    };
    let mut best = Duration::MAX;
    for round in 0..5 {
        let loops = client.map((0..2).map(|n| spin::call(u64::MAX - n))).await.unwrap();
        executing(2).await;
        let asked = Instant::now();
        client.cancel(loops.iter().map(|future| future.key()).collect(), false).await.unwrap();
        for future in &loops {
            assert_eq!(failure(future.result().await).kind, FailureKind::Cancelled);
        }
        // Both slots are there for others.
        let sum = client.submit(add::call(round, 1)).await.unwrap();
        assert_eq!(sum.result().await.unwrap(), round + 1);
        let took = asked.elapsed();
        println!("round {round}: cancelled, and the slot used again, in {took:?}");
        best = best.min(took);
        executing(0).await;
        // The same keys again at once, while the worker may still be at the old attempts.
        let again = client.map((0..2).map(|n| spin::call(u64::MAX - n))).await.unwrap();
        executing(2).await;
        client.cancel(again.iter().map(|future| future.key()).collect(), false).await.unwrap();
        let last = client.submit(spin::call(u64::MAX)).await.unwrap();
        executing(1).await;
        assert!(grid.call(last.key()).await.attempt.0 > 0, "no attempt has an old number");
        let key = last.key().to_string();
        assert!(grid.run(&["cancel", &key[..10]]).status.success());
        assert_eq!(failure(last.result().await).kind, FailureKind::Cancelled);
        executing(0).await;
    }
    assert!(best < LIMIT, "{best:?}");
}
