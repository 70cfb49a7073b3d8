//! The same over any store: the CSV by partitions, late flights as parts below a URL, and a copy in Parquet for
//! many queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use grid_sdk::arrow::array::cast::AsArray;
use grid_sdk::arrow::array::types::Float64Type;
use grid_sdk::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt16Array};
use grid_sdk::arrow::schema::ArrowError;
use grid_sdk::partitions::{self, Manifest, Output, Part, Partition};
use grid_sdk::{store, task};
use serde::{Deserialize, Serialize};

use crate::description::Description;
use crate::summary::Summary;

/// Rows of a record batch that is written.
const BATCH_ROWS: usize = 8_192;

/// A row of the CSV, as far as it matters here: other columns are not looked at.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Flight {
    /// The day.
    pub month: u16,
    /// Of the month.
    pub day: u16,
    /// The carrier's code.
    pub carrier: String,
    /// The flight's number.
    pub flight: u16,
    /// From where.
    pub origin: String,
    /// To where.
    pub dest: String,
    /// In minutes; none of a flight that never departed.
    #[serde(deserialize_with = "partitions::optional")]
    pub dep_delay: Option<f64>,
}

/// A summary of some partitions, and the parts of their late flights.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Scanned {
    /// Of all flights.
    pub summary: Summary,
    /// Of the late ones.
    pub parts: Vec<Part>,
}

/// The partitions of the CSV at a URL, of all below one that ends with `/`, or of those that a pattern fits.
#[task(reads = ["s3://", "file://"], pure = false)]
pub fn plan_table(url: String, block_bytes: u64) -> Result<Vec<Partition>, store::Error> {
    partitions::read_csv(&url, block_bytes)
}

/// Begins to write parts below a URL, where nothing may be.
#[task(reads = ["s3://", "file://"], writes = ["s3://", "file://"], pure = false)]
pub fn begin_table(url: String) -> Result<Output, store::Error> {
    partitions::begin(&url, false)
}

/// Says that all parts are there.
#[task(reads = ["s3://", "file://"], writes = ["s3://", "file://"], pure = false)]
pub fn finish_table(output: Output, parts: Vec<Part>) -> Result<Manifest, store::Error> {
    output.finish(parts)
}

/// Sums up a partition of the CSV, and writes its late flights as the part of its number.
#[task(reads = ["s3://", "file://"], writes = ["s3://", "file://"], pure = false, retries = 2)]
pub fn scan_table(
    part: Partition,
    number: u32,
    output: Output,
    late_minutes: f64,
) -> Result<Scanned, store::Error> {
    let mut summary = Summary::default();
    let late = part.rows::<Flight>()?.filter(|flight| match flight {
        Ok(flight) => summary.add(&flight.carrier, flight.dep_delay, late_minutes),
        // It ends the call.
        Err(_) => true,
    });
    let written = output.write_csv(number, late)?;
    Ok(Scanned { summary, parts: vec![written] })
}

/// Puts two together.
#[task]
pub fn merge_scanned(a: Scanned, b: Scanned) -> Scanned {
    let parts = [a.parts, b.parts].concat();
    Scanned { summary: a.summary.merge(b.summary), parts }
}

/// Reads the parts of a table back and describes the delays in them.
#[task(reads = ["s3://", "file://"], pure = false)]
pub fn describe_table(url: String) -> Result<Description, store::Error> {
    let mut delays = Vec::new();
    for part in Manifest::read(&url)?.read_csv(16 << 20)? {
        for flight in part.rows::<Flight>()? {
            delays.extend(flight?.dep_delay);
        }
    }
    Ok(Description::of(delays))
}

/// Writes a partition of the CSV in Parquet, as the part of its number.
#[task(
    reads = ["s3://", "file://"],
    writes = ["s3://", "file://"],
    pure = false,
    retries = 2,
    memory = "256MiB"
)]
pub fn copy_table(part: Partition, number: u32, output: Output) -> Result<Part> {
    let mut rows = part.rows::<Flight>()?;
    let batches = std::iter::from_fn(|| {
        let flights: Result<Vec<_>, _> = rows.by_ref().take(BATCH_ROWS).collect();
        match flights {
            Ok(flights) if flights.is_empty() => None,
            Ok(flights) => Some(Ok(batch_of(&flights).expect("its columns have its length"))),
            Err(failed) => Some(Err(failed)),
        }
    });
    Ok(output.write_parquet(number, batches)?)
}

fn batch_of(flights: &[Flight]) -> Result<RecordBatch, ArrowError> {
    let texts = |text: fn(&Flight) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(flights.iter().map(text)))
    };
    let numbers = |number: fn(&Flight) -> u16| -> ArrayRef {
        Arc::new(UInt16Array::from_iter_values(flights.iter().map(number)))
    };
    let delays: Float64Array = flights.iter().map(|flight| flight.dep_delay).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("month", numbers(|flight| flight.month), false),
        ("day", numbers(|flight| flight.day), false),
        ("carrier", texts(|flight| &flight.carrier), false),
        ("flight", numbers(|flight| flight.flight), false),
        ("origin", texts(|flight| &flight.origin), false),
        ("dest", texts(|flight| &flight.dest), false),
        ("dep_delay", Arc::new(delays), true),
    ])
}

/// The partitions of a table in Parquet.
#[task(reads = ["s3://", "file://"], pure = false)]
pub fn plan_copy(url: String, block_bytes: u64) -> Result<Vec<Partition>, store::Error> {
    Manifest::read(&url)?.read_parquet(block_bytes)
}

/// Sums up a partition in Parquet. Two of its columns are read.
#[task(reads = ["s3://", "file://"], pure = false)]
pub fn summarize_copy(part: Partition, late_minutes: f64) -> Result<Summary, store::Error> {
    let mut summary = Summary::default();
    for batch in part.columns(["carrier", "dep_delay"])? {
        let batch = batch?;
        let delays = batch["dep_delay"].as_primitive::<Float64Type>();
        for (carrier, delay) in batch["carrier"].as_string::<i32>().iter().zip(delays) {
            summary.add(carrier.unwrap_or_default(), delay, late_minutes);
        }
    }
    Ok(summary)
}

/// Flights by the airport that they left, of a partition in Parquet. One of its columns is read.
#[task(reads = ["s3://", "file://"], pure = false)]
pub fn count_origins(part: Partition) -> Result<BTreeMap<String, u64>, store::Error> {
    let mut counts = BTreeMap::<String, u64>::new();
    for batch in part.columns(["origin"])? {
        for origin in batch?["origin"].as_string::<i32>().iter().flatten() {
            match counts.get_mut(origin) {
                Some(count) => *count += 1,
                None => drop(counts.insert(origin.to_owned(), 1)),
            }
        }
    }
    Ok(counts)
}

/// Puts two counts together.
#[task]
pub fn add_counts(mut a: BTreeMap<String, u64>, b: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for (name, count) in b {
        *a.entry(name).or_default() += count;
    }
    a
}
