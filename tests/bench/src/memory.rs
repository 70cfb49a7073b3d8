//! Resident memory: idle processes, and what a held call costs the scheduler.

use noop::fresh;

use crate::grid::{Grid, resident_bytes};
use crate::report;

const HELD: u64 = 100_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    let grid = Grid::up(2, 2)?;
    let (client, _) = grid.with("noop").await?;
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let worker = grid.worker_pids.iter().map(|pid| resident_bytes(*pid)).max().unwrap_or(0);
    report("resident: idle scheduler", &mb(resident_bytes(grid.scheduler_pid)), "at most 40 MB");
    report("resident: idle worker with 2 slots", &mb(worker), "at most 80 MB");

    // Warm: buffers and tables of the first calls are not those calls' cost.
    let warm = client.map((0..5_000).map(|n| fresh::call(u64::MAX - n))).await?;
    client.gather(&warm).await?;
    let before = resident_bytes(grid.scheduler_pid);
    let futures = client.map((0..HELD).map(fresh::call)).await?;
    client.gather(&futures).await?;
    let after = resident_bytes(grid.scheduler_pid);
    let each = (after.saturating_sub(before)) / HELD;
    report("resident: scheduler per call held", &format!("{each} B"), "at most 1 kB");
    Ok(())
}
