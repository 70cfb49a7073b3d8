//! Graphs whose calls wait for each other, beside Dask in the same form: futures as arguments; and
//! what others feel of a very large submission.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::time::Instant;

use grid_client::{Client, Future};
use noop::{add, fresh};

use crate::grid::Grid;
use crate::{dask, median, report};

const LEAVES: u64 = 4_096;
const CHAIN: i64 = 2_000;
const ROUNDS: usize = 5;
const LARGE: u64 = 1_000_000;

pub(crate) async fn run(peer: bool) -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    tree(&client, 64).await?;
    let (mut trees, mut chains) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        trees.push(tree(&client, LEAVES).await?);
        chains.push(chain(&client, CHAIN).await?);
    }
    let dask = if peer { Some(dask::measure()?) } else { None };
    let tell = |what: &str, rate: f64, theirs: Option<f64>, target: &str| {
        let measured = match theirs {
            Some(theirs) => format!("{rate:.0}/s, Dask {theirs:.0}/s: {:.1}x", rate / theirs),
            None => format!("{rate:.0}/s"),
        };
        report(what, &measured, target);
    };
    let what = format!("tree over {LEAVES} leaves, {} calls", 2 * LEAVES - 1);
    tell(&what, median(trees), dask.map(|dask| dask.tree_calls_per_s), "at least 30x");
    let what = format!("chain of {CHAIN} calls");
    tell(&what, median(chains), dask.map(|dask| dask.chain_calls_per_s), "at least 15x");
    Ok(())
}

/// Calls per second of a sum of pairs of sums.
async fn tree(client: &Client, leaves: u64) -> anyhow::Result<f64> {
    let started = Instant::now();
    // Not those of another round: what is known is not computed again.
    let first = random();
    let numbers = (0..leaves).map(|leaf| first.wrapping_add(leaf.cast_signed()));
    let mut level = client.map(numbers.clone().map(|leaf| add::call(leaf, 0))).await?;
    while level.len() > 1 {
        level = client.map(level.chunks(2).map(|pair| add::call(&pair[0], &pair[1]))).await?;
    }
    let sum = level[0].result().await?;
    anyhow::ensure!(sum == numbers.fold(0, i64::wrapping_add), "wrong sum");
    Ok((2 * leaves - 1) as f64 / started.elapsed().as_secs_f64())
}

/// Calls per second of calls each of which reads the one before.
async fn chain(client: &Client, calls: i64) -> anyhow::Result<f64> {
    let first = random();
    let started = Instant::now();
    let mut last: Future<i64> = client.submit(add::call(first, 1)).await?;
    for _ in 1..calls {
        last = client.submit(add::call(&last, 1)).await?;
    }
    anyhow::ensure!(last.result().await? == first.wrapping_add(calls), "wrong end");
    Ok(calls as f64 / started.elapsed().as_secs_f64())
}

fn random() -> i64 {
    RandomState::new().hash_one(0).cast_signed()
}

/// One client, in a process of its own, submits a graph of a million calls; another's single calls, of
/// higher priority, are timed from then until the first result of the graph is there.
pub(crate) async fn neighbour() -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    let begun = Instant::now();
    let mut large = Command::new(std::env::current_exe()?)
        .args(["--submit-large", &grid.address])
        .env("GRID_IDENTITY", grid.home.path().join("identity"))
        .spawn()?;
    let mut samples = Vec::new();
    let ended = loop {
        if let Some(ended) = large.try_wait()? {
            break ended;
        }
        let asked = Instant::now();
        let number = samples.len() as u64;
        let answer = client.submit(fresh::call(number).priority(1)).await?.result().await?;
        anyhow::ensure!(answer == number, "wrong result");
        samples.push(asked.elapsed().as_secs_f64() * 1e3);
    };
    anyhow::ensure!(ended.success(), "the submission failed");
    let took = begun.elapsed().as_secs_f64();
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100];
    let measured = format!("{:.2} / {:.1} / {:.1} ms ({took:.1} s)", at(50), at(99), at(100));
    let what = format!("a call while {LARGE} are submitted, p50/p99/most");
    report(&what, &measured, "within 20 ms");
    Ok(())
}

/// The neighbour: ends with the first result.
pub(crate) async fn submit_large(scheduler: &str) -> anyhow::Result<()> {
    let first = random();
    let client = Client::connect(scheduler).await?;
    client.bundle("noop").await?;
    // Pairs, so that it is one submission and not many.
    let pairs = (0..LARGE / 2).map(|n| add::call(add::call(first, n.cast_signed()), 1));
    let futures = client.map(pairs).await?;
    anyhow::ensure!(futures[0].result().await? == first.wrapping_add(1), "wrong result");
    client.close().await;
    Ok(())
}
