//! A shuffle: 32 parts of 1 MiB, each cut in 32, and the cuts of one number joined; as one graph, beside
//! Dask's.

use std::time::Instant;

use grid_client::Client;
use grid_sdk::{Call, Raw};
use noop::{chunk, cut, join, length};

use crate::grid::Grid;
use crate::{dask, median, report};

const PARTS: usize = 32;
const PART_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;

pub(crate) async fn run(peer: bool) -> anyhow::Result<()> {
    let grid = Grid::up(2, 1)?;
    let (client, _) = grid.with("noop").await?;
    shuffle(&client).await?;
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        took.push(shuffle(&client).await?);
    }
    let seconds = median(took);
    let measured = match peer {
        true => {
            let theirs = dask::measure()?.shuffle_s;
            format!("{seconds:.2} s, Dask {theirs:.2} s: 1/{:.1}", theirs / seconds)
        }
        false => format!("{seconds:.2} s"),
    };
    report("shuffle of 32 x 1 MiB in 32 x 32 cuts, one graph", &measured, "1/5");
    Ok(())
}

/// Impure parts: nothing is known from another round.
async fn shuffle(client: &Client) -> anyhow::Result<f64> {
    let started = Instant::now();
    let parts: Vec<Call<Raw>> = (0..PARTS).map(|_| chunk::call(PART_BYTES).impure()).collect();
    let lengths = (0..PARTS).map(|number| {
        let cuts: Vec<_> = parts.iter().map(|part| cut::call(part, number, PARTS)).collect();
        length::call(joined(&cuts))
    });
    let lengths = client.gather(&client.map(lengths.collect::<Vec<_>>()).await?).await?;
    anyhow::ensure!(lengths == [PART_BYTES; PARTS], "bytes are missing");
    Ok(started.elapsed().as_secs_f64())
}

fn joined(cuts: &[Call<Raw>]) -> Call<Raw> {
    join::call(
        &cuts[0], &cuts[1], &cuts[2], &cuts[3], &cuts[4], &cuts[5], &cuts[6], &cuts[7], &cuts[8],
        &cuts[9], &cuts[10], &cuts[11], &cuts[12], &cuts[13], &cuts[14], &cuts[15], &cuts[16],
        &cuts[17], &cuts[18], &cuts[19], &cuts[20], &cuts[21], &cuts[22], &cuts[23], &cuts[24],
        &cuts[25], &cuts[26], &cuts[27], &cuts[28], &cuts[29], &cuts[30], &cuts[31],
    )
}
