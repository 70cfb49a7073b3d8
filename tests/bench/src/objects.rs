//! A million small objects on one worker: what each costs its process, the scheduler and the client
//! beside its bytes, and how long it takes to bring, to find and to let go of all.

use std::time::Instant;

use grid_client::{Client, Future};
use grid_sdk::Raw;

use crate::grid::{Grid, resident_bytes};
use crate::report;

const OBJECTS: u64 = 1_000_000;
const OBJECT_BYTES: usize = 100;
/// Brought before anything is measured: buffers and tables of the first are not those objects' cost.
const WARM: u64 = 2_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    let grid = Grid::up(1, 1)?;
    let client = grid.client().await?;
    let warm = bring(&client, OBJECTS..OBJECTS + WARM).await?;
    let (worker, scheduler, own) = (grid.worker_pids[0], grid.scheduler_pid, std::process::id());
    let before = [worker, scheduler, own].map(resident_bytes);
    let started = Instant::now();
    let held = bring(&client, 0..OBJECTS).await?;
    let took = started.elapsed().as_secs_f64();
    let tenth = took / 10.0;
    report("a million objects of 100 B brought", &format!("{took:.1} s"), "");
    let after = [worker, scheduler, own].map(resident_bytes);
    let each = |place: usize| after[place].saturating_sub(before[place]) / OBJECTS;
    let beside = each(0).saturating_sub(OBJECT_BYTES as u64);
    report("each costs its worker beside its bytes", &format!("{beside} B"), "at most 250 B");
    report("each costs the scheduler", &format!("{} B", each(1)), "at most 400 B");
    report("each costs the client", &format!("{} B", each(2)), "");
    // The last tenth as fast as a tenth of all: nothing goes through what there is already.
    let started = Instant::now();
    let more = bring(&client, OBJECTS + WARM..OBJECTS + WARM + OBJECTS / 10).await?;
    let measured = format!("{:.2} of the first", started.elapsed().as_secs_f64() / tenth);
    report("a further 100,000, over a tenth of that", &measured, "1");
    let started = Instant::now();
    let last = &held[held.len() - 1];
    anyhow::ensure!(last.result().await?.0 == bytes(OBJECTS - 1), "another value came back");
    let measured = format!("{:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    report("one of them read", &measured, "");
    let started = Instant::now();
    drop((warm, held, more));
    while client.workers().await?.iter().any(|worker| worker.objects > 0) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let same = client.workers().await?.iter().any(|known| known.pid == worker);
    anyhow::ensure!(same, "the worker was lost when all its objects were let go of at once");
    let measured = format!("{:.1} s", started.elapsed().as_secs_f64());
    report("all of them let go of", &measured, "");
    Ok(())
}

fn bytes(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; OBJECT_BYTES];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

async fn bring(client: &Client, numbers: std::ops::Range<u64>) -> anyhow::Result<Vec<Future<Raw>>> {
    Ok(client.scatter_all(numbers.map(|number| Raw(bytes(number)))).await?)
}
