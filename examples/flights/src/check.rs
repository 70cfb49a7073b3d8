//! The same table by another way: one pass over the whole file, here and not on the grid, all
//! delays kept, mean and deviation computed from them by their definitions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::summary::{Moments, Summary};

/// How far results of different orders of addition may lie apart, in proportion.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Row {
    carrier: String,
    dep_delay: String,
}

/// Whether a summary says of a CSV what one pass over it says.
///
/// # Errors
/// The first difference, or a file that cannot be read.
pub fn equals_one_pass(summary: &Summary, csv: &Path, late_minutes: f64) -> Result<()> {
    let mut rows = 0;
    let mut delays: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
    let cannot_read = || format!("cannot read `{}`", csv.display());
    for row in csv::Reader::from_path(csv).with_context(cannot_read)?.deserialize() {
        let row: Row = row.with_context(cannot_read)?;
        rows += 1;
        delays.entry(row.carrier).or_default().push(row.dep_delay.parse().ok());
    }
    ensure!(summary.rows == rows, "{} rows on the grid, {rows} in one pass", summary.rows);
    ensure!(summary.carriers.keys().eq(delays.keys()), "the carriers differ");
    for (code, delays) in &delays {
        let carrier = &summary.carriers[code];
        let all: Vec<f64> = delays.iter().copied().flatten().collect();
        let late: Vec<f64> = all.iter().copied().filter(|delay| *delay > late_minutes).collect();
        let same = carrier.missing == (delays.len() - all.len()) as u64
            && is_of(&carrier.all, &all)
            && is_of(&carrier.late, &late);
        ensure!(same, "carrier {code} differs: {carrier:?} on the grid");
    }
    Ok(())
}

fn is_of(moments: &Moments, numbers: &[f64]) -> bool {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count.max(1.0);
    let m2: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0);
    moments.count == numbers.len() as u64
        && moments.max == numbers.iter().copied().reduce(f64::max)
        && near(moments.mean, mean)
        && near(moments.m2, m2)
}
