//! A table in a CSV, filtered and summed up by carrier on two slots, beside Dask DataFrame. `GRID_FLIGHTS_CSV`
//! names the table of flights, plain or `.gz`; without it a month is repeated until it is as large.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use grid_client::Client;
use grid_sdk::partitions::Partition;
use outside::plan;
use outside::tables::{Late, both_late, late_by_carrier};

use crate::grid::Grid;
use crate::{dask, median, report};

const ROUNDS: usize = 9;
/// Two calls for each slot: the second are read while the first are put together.
const PARTITIONS: u64 = 4;
const LATE_MINUTES: f64 = 15.0;
const MONTH: &str = "../../examples/flights/data/flights-2013-01.csv";
const REPEATED: usize = 12;

pub(crate) async fn run(peer: bool) -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let path = home.path().join("flights.csv");
    lay_out(&path)?;
    let bytes = fs::metadata(&path)?.len();
    let grant = format!("--grant-store=outside:read:file://{}/", home.path().display());
    let grid = Grid::up_with(std::rc::Rc::new(tempfile::tempdir()?), 1, 2, &[&grant])?;
    let (client, _) = grid.with("outside").await?;
    let url = format!("file://{}", path.display());
    let mut samples = Vec::new();
    let mut found = scan(&client, &url, bytes).await?;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        found = scan(&client, &url, bytes).await?;
        samples.push(started.elapsed().as_secs_f64());
    }
    let seconds = median(samples);
    let what = format!("scan of a CSV of {:.1} MB, late flights by carrier", bytes as f64 / 1e6);
    let measured = if peer {
        let dask = dask::scan_csv(&path, LATE_MINUTES)?;
        same(&found, &dask.late)?;
        format!(
            "{seconds:.3} s, Dask {:.3} / {:.3} s: 1/{:.1}, 1/{:.1}",
            dask.default_s,
            dask.best_s,
            dask.default_s / seconds,
            dask.best_s / seconds
        )
    } else {
        format!("{seconds:.3} s")
    };
    report(&what, &measured, "1/5 of Dask's");
    Ok(())
}

/// The table as a plain file.
fn lay_out(to: &Path) -> anyhow::Result<()> {
    let Some(named) = std::env::var_os("GRID_FLIGHTS_CSV") else {
        let month = Path::new(env!("CARGO_MANIFEST_DIR")).join(MONTH);
        let month = fs::read_to_string(&month).context("the month of flights")?;
        let (header, rows) = month.split_once('\n').context("no header")?;
        return Ok(fs::write(to, format!("{header}\n{}", rows.repeat(REPEATED)))?);
    };
    let file = File::open(&named).with_context(|| format!("cannot read `{}`", named.display()))?;
    let file = BufReader::new(file);
    let mut reader: Box<dyn Read> = match Path::new(&named).extension() {
        Some(gz) if gz == "gz" => Box::new(flate2::bufread::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    std::io::copy(&mut reader, &mut File::create(to)?)?;
    Ok(())
}

/// From the first look at the file to the result.
async fn scan(client: &Client, url: &str, bytes: u64) -> anyhow::Result<Late> {
    let planned = plan::call(url, bytes.div_ceil(PARTITIONS));
    let parts: Vec<Partition> = client.submit(planned).await?.result().await?;
    let late = client.partitions(parts).map(|part| late_by_carrier::call(part, LATE_MINUTES));
    let all = late.reduce(2, |pair| both_late::call(&pair[0], &pair[1])).await?;
    Ok(all.result().await?)
}

/// Whether both found the same.
fn same(ours: &Late, theirs: &Late) -> anyhow::Result<()> {
    ensure!(ours.keys().eq(theirs.keys()), "the carriers differ: {ours:?}, Dask {theirs:?}");
    for (carrier, late) in ours {
        // Delays are whole minutes, so their sums are exact.
        ensure!(
            theirs[carrier] == *late,
            "{carrier} differs: {late:?}, Dask {:?}",
            theirs[carrier]
        );
    }
    Ok(())
}
