use crate::support::{Grid, call, submit, value};

#[tokio::test]
async fn a_call_gives_its_result() {
    let grid = Grid::start(2, 1).await;
    let noop = grid.deploy("noop").await;
    let sum = submit(&grid.client, call(&noop, "add", vec![value(1), value(2)])).await;
    let sum: i64 = rmp_serde::from_slice(&sum.value().await.unwrap().bytes).unwrap();
    assert_eq!(sum, 3);
}

#[tokio::test]
async fn many() {
    let grid = Grid::start(2, 1).await;
    let noop = grid.deploy("noop").await;
    for n in [10_000i64, 50_000] {
        let started = std::time::Instant::now();
        let calls: Vec<_> = (0..n).map(|i| call(&noop, "add", vec![value(n), value(i)])).collect();
        let futures = grid.client.submit_raw(calls).await.unwrap();
        for (i, future) in futures.iter().enumerate() {
            let sum: i64 = rmp_serde::from_slice(&future.value().await.unwrap().bytes).unwrap();
            assert_eq!(sum, n + i as i64);
        }
        println!(
            "{n}: {:?} {:.0}/s",
            started.elapsed(),
            n as f64 / started.elapsed().as_secs_f64()
        );
    }
}
