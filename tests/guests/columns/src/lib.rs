//! Tables by columns: Parquet that is written and read, and tables that are arguments and results.

use std::sync::Arc;

use grid_sdk::arrow::Table;
use grid_sdk::arrow::array::cast::AsArray;
use grid_sdk::arrow::array::types::Float64Type;
use grid_sdk::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array,
};
use grid_sdk::arrow::schema::ArrowError;
use grid_sdk::arrow::select::filter::filter_record_batch;
use grid_sdk::partitions::{self, Manifest, Output, Part, Partition};
use grid_sdk::store::Error;
use grid_sdk::{context, task};
use serde::{Deserialize, Serialize};

/// The kind of an error in front of it.
fn told(error: Error) -> String {
    format!("{:?}: {error}", error.kind)
}

/// A row.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Trip {
    /// Which.
    pub number: u32,
    /// Whose.
    pub carrier: String,
    /// In minutes.
    pub delay: Option<f64>,
    /// Anything.
    pub note: String,
}

/// Rows of a batch that is written.
const BATCH_ROWS: usize = 64;

/// Trips as columns.
///
/// # Errors
/// Arrow's own.
pub fn batch_of(trips: &[Trip]) -> Result<RecordBatch, ArrowError> {
    let numbers: UInt32Array = trips.iter().map(|trip| Some(trip.number)).collect();
    let carriers: StringArray = trips.iter().map(|trip| Some(&trip.carrier)).collect();
    let delays: Float64Array = trips.iter().map(|trip| trip.delay).collect();
    let notes: StringArray = trips.iter().map(|trip| Some(&trip.note)).collect();
    let columns: [(_, ArrayRef, _); 4] = [
        ("number", Arc::new(numbers), false),
        ("carrier", Arc::new(carriers), false),
        ("delay", Arc::new(delays), true),
        ("note", Arc::new(notes), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns)
}

/// The partitions of Parquet files.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn plan(url: String, block_bytes: u64) -> Result<Vec<Partition>, String> {
    partitions::read_parquet(&url, block_bytes).map_err(told)
}

/// The partitions of a table of Parquet that was written.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn parts_of(url: String, block_bytes: u64) -> Result<Vec<Partition>, String> {
    Manifest::read(&url).and_then(|manifest| manifest.read_parquet(block_bytes)).map_err(told)
}

/// Writes a partition of a CSV as Parquet, and fails for once when that is done, if it shall.
#[task(
    reads = ["s3://", "file://", "memory://"],
    writes = ["s3://", "file://", "memory://"],
    pure = false
)]
pub fn copy(part: Partition, number: u32, output: Output, fail: bool) -> Result<Part, String> {
    let trips = part.rows::<Trip>().map_err(told)?;
    let trips: Vec<_> = trips.collect::<Result<_, _>>().map_err(told)?;
    let batches = trips.chunks(BATCH_ROWS).map(batch_of).collect::<Result<Vec<_>, _>>();
    let batches = batches.map_err(|error| error.to_string())?;
    let part = output.write_parquet(number, batches.into_iter().map(Ok)).map_err(told)?;
    match fail && context::current().attempt == 0 {
        true => Err("once, on purpose".to_owned()),
        false => Ok(part),
    }
}

/// How many trips of a carrier are in a partition, and their delays together.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn lateness(part: Partition, carrier: String) -> Result<(u64, f64), String> {
    let mut found = (0, 0.0);
    for batch in part.columns(["carrier", "delay"]).map_err(told)? {
        let batch = batch.map_err(told)?;
        let delays = batch["delay"].as_primitive::<Float64Type>();
        for (code, delay) in batch["carrier"].as_string::<i32>().iter().zip(delays) {
            if code == Some(&carrier) {
                found = (found.0 + 1, found.1 + delay.unwrap_or(0.0));
            }
        }
    }
    Ok(found)
}

/// A partition as a table.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn as_table(part: Partition) -> Result<Table, String> {
    let batches = part.batches().map_err(told)?;
    let schema = batches.schema().clone();
    let batches = batches.collect::<Result<_, _>>().map_err(told)?;
    Table::with_schema(schema, batches).map_err(|error| error.to_string())
}

/// The rows of a table whose delay is known and lies between these.
#[task]
pub fn within(table: Table, least: f64, most: f64) -> Result<Table, ArrowError> {
    let schema = table.schema().clone();
    let choose = |batch: RecordBatch| {
        let delays = batch["delay"].as_primitive::<Float64Type>();
        let wanted =
            |delay: Option<f64>| Some(delay.is_some_and(|delay| (least..=most).contains(&delay)));
        let wanted: BooleanArray = delays.iter().map(wanted).collect();
        filter_record_batch(&batch, &wanted)
    };
    let batches = table.into_batches().into_iter().map(choose);
    Table::with_schema(schema, batches.collect::<Result<_, _>>()?)
}

grid_sdk::bundle!(as_table, copy, lateness, parts_of, plan, within);
