//! Data in and out, beside Dask in its default and in its best mode (`direct`, an array of numpy).

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use grid_client::Client;
use grid_sdk::Raw;
use noop::length;

use crate::grid::Grid;
use crate::{dask, median, report};

const LARGE: usize = 256 << 20;
const SHARED: usize = 64 << 20;
const ROUNDS: usize = 5;

pub(crate) async fn run(peer: bool) -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    let names: Vec<_> = client.workers().await?.into_iter().map(|worker| worker.name).collect();
    round_trip(&client, 1 << 20).await?;
    let distant = grid.client_that(false).await?;
    round_trip(&distant, 1 << 20).await?;
    let (mut trips, mut uses, mut over_network) = (Vec::new(), Vec::new(), Vec::new());
    let mut in_place = Vec::new();
    for _ in 0..ROUNDS {
        trips.push(round_trip(&client, LARGE).await?);
        in_place.push(round_trip_in_place(&client, LARGE).await?);
        uses.push(used_by_two(&client, &names).await?);
        over_network.push(round_trip(&distant, LARGE).await?);
    }
    let dask = if peer { Some(dask::measure()?) } else { None };
    let tell = |what: &str, seconds: f64, theirs: Option<(f64, f64)>, target: &str| {
        let measured = match theirs {
            Some((default, best)) => format!(
                "{seconds:.2} s, Dask {default:.2} / {best:.2} s: 1/{:.1}, 1/{:.1}",
                default / seconds,
                best / seconds
            ),
            None => format!("{seconds:.2} s"),
        };
        report(what, &measured, target);
    };
    let theirs = dask.map(|dask| (dask.round_trip_s, dask.round_trip_best_s));
    tell("scatter and gather of 256 MiB", median(trips), theirs, "1/30 and 1/2");
    tell("the same, and read where it is", median(in_place), theirs, "1/30 and 1/2");
    tell("the same over the network", median(over_network), None, "");
    let theirs = dask.map(|dask| (dask.used_by_two_s, dask.used_by_two_best_s));
    tell("64 MiB scattered, then read on both workers", median(uses), theirs, "1/2 of the best");
    Ok(())
}

/// Bytes that were never scattered before.
fn fresh(size: usize) -> Raw {
    let mut bytes = vec![1; size];
    bytes[..8].copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    Raw(bytes)
}

async fn round_trip(client: &Client, size: usize) -> anyhow::Result<f64> {
    let value = fresh(size);
    let started = Instant::now();
    let future = client.scatter(value).await?;
    let back = future.result().await?;
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(back.0.len() == size, "another value came back");
    Ok(took)
}

async fn round_trip_in_place(client: &Client, size: usize) -> anyhow::Result<f64> {
    let value = fresh(size);
    let started = Instant::now();
    let future = client.scatter(value).await?;
    let back = future.bytes().await?;
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(back.len() == size, "another value came back");
    Ok(took)
}

async fn used_by_two(client: &Client, names: &[String]) -> anyhow::Result<f64> {
    let value = fresh(SHARED);
    let started = Instant::now();
    let future = client.scatter(value).await?;
    let calls = names.iter().map(|name| length::call(&future).impure().on(name.as_str()));
    let lengths = client.gather(&client.map(calls).await?).await?;
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(lengths.iter().all(|length| *length == SHARED), "another value was read");
    Ok(took)
}
