//! No-op calls through the whole grid: many at once, and one at a time.

use std::time::Instant;

use grid_client::Client;
use noop::fresh;

use crate::grid::Grid;
use crate::{dask, median, report};

const CALLS: u64 = 50_000;
const ROUNDS: usize = 5;
const PINGS: usize = 1_000;

/// 50,000 calls with distinct keys, all results gathered.
pub(crate) async fn throughput(peer: bool) -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    many(&client, 2_000).await?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(many(&client, CALLS).await?);
    }
    let rate = median(rates);
    let what = format!("no-op calls through the grid, {CALLS}, 2 workers");
    if peer {
        let dask = dask::measure()?;
        let ratio = rate / dask.calls_per_s;
        let measured = format!("{rate:.0}/s, Dask {:.0}/s: {ratio:.1}x", dask.calls_per_s);
        report(&what, &measured, "at least 25,000/s and 40x");
    } else {
        report(&what, &format!("{rate:.0}/s"), "at least 25,000/s");
    }
    Ok(())
}

async fn many(client: &Client, calls: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let futures = client.map((0..calls).map(fresh::call)).await?;
    let results = client.gather(&futures).await?;
    let elapsed = started.elapsed().as_secs_f64();
    anyhow::ensure!(results.into_iter().eq(0..calls), "wrong results");
    Ok(calls as f64 / elapsed)
}

/// One call at a time, from submit to result.
pub(crate) async fn latency(peer: bool) -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    let mut samples = Vec::with_capacity(PINGS);
    for number in 0..PINGS as u64 {
        let started = Instant::now();
        let result = client.submit(fresh::call(number)).await?.result().await?;
        samples.push(started.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(result == number, "wrong result");
    }
    samples.sort_by(f64::total_cmp);
    let p99 = samples[samples.len() * 99 / 100];
    let p50 = median(samples);
    if peer {
        let dask = dask::measure()?;
        let ratio = dask.latency_ms / p50;
        let measured = format!("{p50:.3} ms, Dask {:.1} ms: 1/{ratio:.0}", dask.latency_ms);
        report("one call at a time, median", &measured, "at most 0.5 ms and 1/20");
    } else {
        report("one call at a time, median", &format!("{p50:.3} ms"), "at most 0.5 ms");
    }
    report("one call at a time, 99th percentile", &format!("{p99:.3} ms"), "");
    Ok(())
}
