//! Reads parts back and describes what is in them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use crate::columns::{Columns, open};
use crate::parts::Part;

/// Numbers as pandas' `describe` shows them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Description {
    /// How many; with none, the rest is `None`.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// The sample's standard deviation; `None` of a single one.
    pub std: Option<f64>,
    /// The smallest, the quartiles, the largest.
    pub quartiles: Option<[f64; 5]>,
}

impl Description {
    /// Describes the delays in these parts, which lie below the directory `root`.
    ///
    /// # Errors
    /// A part that cannot be read, or has other rows than were written.
    pub fn of_parts(root: &Path, parts: &[Part]) -> Result<Self> {
        let mut delays = Vec::new();
        for part in parts {
            let before = delays.len();
            read(&root.join(&part.name), &mut delays)?;
            let (found, written) = ((delays.len() - before) as u64, part.rows);
            ensure!(found == written, "`{}` has {found} rows of {written}", part.name);
        }
        Ok(Self::of(delays))
    }

    pub(crate) fn of(mut numbers: Vec<f64>) -> Self {
        if numbers.is_empty() {
            return Self { count: 0, mean: None, std: None, quartiles: None };
        }
        numbers.sort_by(f64::total_cmp);
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        let m2: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        Self {
            count: numbers.len() as u64,
            mean: Some(mean),
            std: (numbers.len() > 1).then(|| (m2 / (count - 1.0)).sqrt()),
            quartiles: Some([0.0, 0.25, 0.5, 0.75, 1.0].map(|share| quantile(&numbers, share))),
        }
    }
}

fn read(path: &Path, delays: &mut Vec<f64>) -> Result<()> {
    let mut rows = csv::Reader::from_reader(open(path)?);
    let columns = Columns::of(rows.byte_headers()?.clone())?;
    let mut row = ByteRecord::new();
    while rows.read_byte_record(&mut row)? {
        let (_, delay) = columns.carrier_and_delay(&row)?;
        let missing = || format!("`{}` has a flight without a delay", path.display());
        delays.push(delay.with_context(missing)?);
    }
    Ok(())
}

/// Between the two nearest numbers, as numpy does by default: type 7 of R. J. Hyndman and Y. Fan,
/// "Sample quantiles in statistical packages", The American Statistician 50 (1996).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}
