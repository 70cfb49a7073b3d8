//! Trapping calls beside good ones: their rate, and what they leave behind.

use std::time::Instant;

use grid_client::{Client, ClientError};
use noop::fresh;
use odd::crash::unreachable;

use crate::grid::{Grid, resident_bytes};
use crate::report;

const CALLS: u64 = 10_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    client.deploy(&crate::grid::bundle("odd")?, false).await?;
    good(&client, 2_000).await?;
    trapping(&client, 500).await?;
    let before: Vec<_> = grid.worker_pids.iter().map(|pid| resident_bytes(*pid)).collect();
    let good = good(&client, CALLS).await?;
    let bad = trapping(&client, CALLS).await?;
    let grown = grid
        .worker_pids
        .iter()
        .zip(before)
        .map(|(pid, before)| resident_bytes(*pid) as i64 - before as i64)
        .max()
        .unwrap_or(0);
    let measured = format!("{bad:.0}/s, good {good:.0}/s: {:.2}", bad / good);
    report("10,000 trapping calls (`unreachable`)", &measured, "at least 0.33 of the good rate");
    report("a worker's memory after them", &format!("{:+.1} MB", grown as f64 / 1e6), "no growth");
    Ok(())
}

async fn good(client: &Client, calls: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let futures = client.map((0..calls).map(|n| fresh::call(n).impure())).await?;
    client.gather(&futures).await?;
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}

async fn trapping(client: &Client, calls: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    let futures = client.map((0..calls).map(|_| unreachable::call().impure())).await?;
    for future in futures {
        let ended = future.value().await;
        anyhow::ensure!(matches!(ended, Err(ClientError::Failed(_))), "it did not trap");
    }
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}
