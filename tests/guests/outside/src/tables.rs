//! Tables that are written by parts, and what is made of their partitions.

use std::collections::BTreeMap;

use grid_sdk::partitions::{self, Manifest, Output, Part, Partition};
use grid_sdk::{context, task};
use serde::{Deserialize, Serialize};

use super::told;

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

/// Whether there are any.
#[task]
pub fn any(found: (u64, f64)) -> bool {
    found.0 > 0
}

/// Two together.
#[task]
pub fn both(a: (u64, f64), b: (u64, f64)) -> (u64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

/// Three together.
#[task]
pub fn all_three(a: (u64, f64), b: (u64, f64), c: (u64, f64)) -> (u64, f64) {
    both(both(a, b), c)
}

/// The texts behind each other: for whoever wants to know the order.
#[task]
pub fn joined(a: String, b: String) -> String {
    format!("({a}{b})")
}

/// What is known of the late flights of a carrier: how many, their delays together, the longest.
pub type Late = BTreeMap<String, (u64, f64, f64)>;

/// A row of which little is wanted.
#[derive(Deserialize)]
struct Departure<'a> {
    carrier: &'a str,
    #[serde(deserialize_with = "partitions::optional")]
    dep_delay: Option<f64>,
}

/// The flights by carrier that are delayed by more minutes.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn late_by_carrier(part: Partition, minutes: f64) -> Result<Late, String> {
    let mut found = Late::new();
    let mut records = part.records().map_err(told)?;
    while let Some(row) = records.next::<Departure>() {
        let row = row.map_err(told)?;
        let Some(delay) = row.dep_delay.filter(|delay| *delay > minutes) else { continue };
        match found.get_mut(row.carrier) {
            Some(late) => *late = (late.0 + 1, late.1 + delay, late.2.max(delay)),
            None => drop(found.insert(row.carrier.to_owned(), (1, delay, delay))),
        }
    }
    Ok(found)
}

/// Two of them together.
#[task]
pub fn both_late(mut a: Late, b: Late) -> Late {
    for (carrier, (count, sum, max)) in b {
        let late = a.entry(carrier).or_insert((0, 0.0, f64::NEG_INFINITY));
        *late = (late.0 + count, late.1 + sum, late.2.max(max));
    }
    a
}

/// Begins a table, and fails for once when that is done, if it shall.
#[task(
    reads = ["s3://", "file://", "memory://"],
    writes = ["s3://", "file://", "memory://"],
    pure = false
)]
pub fn begin(url: String, overwrite: bool, fail: bool) -> Result<Output, String> {
    let output = partitions::begin(&url, overwrite).map_err(told)?;
    fail_once(fail)?;
    Ok(output)
}

/// Writes the trips that are delayed by so many minutes, and fails for once when that is done, if it shall.
#[task(
    reads = ["s3://", "file://", "memory://"],
    writes = ["s3://", "file://", "memory://"],
    pure = false
)]
pub fn write_late(
    part: Partition,
    number: u32,
    minutes: f64,
    output: Output,
    fail: bool,
) -> Result<Part, String> {
    let rows = part.rows::<Trip>().map_err(told)?;
    let late = rows.filter(|trip| {
        trip.as_ref().map_or(true, |trip| trip.delay.is_some_and(|delay| delay >= minutes))
    });
    let part = output.write_csv(number, late).map_err(told)?;
    fail_once(fail)?;
    Ok(part)
}

/// Ends a table.
#[task(
    reads = ["s3://", "file://", "memory://"],
    writes = ["s3://", "file://", "memory://"],
    pure = false
)]
pub fn finish(output: Output, parts: Vec<Part>) -> Result<Manifest, String> {
    output.finish(parts).map_err(told)
}

/// Puts the parts of a table together.
#[task(
    reads = ["s3://", "file://", "memory://"],
    writes = ["s3://", "file://", "memory://"],
    pure = false
)]
pub fn concat(url: String, to: String) -> Result<u64, String> {
    Manifest::read(&url).and_then(|manifest| manifest.concat(&to)).map_err(told)
}

/// The partitions of a table that was written.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn parts_of(url: String, block_bytes: u64) -> Result<Vec<Partition>, String> {
    Manifest::read(&url).and_then(|manifest| manifest.read_csv(block_bytes)).map_err(told)
}

/// The rows of a partition.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn trips(part: Partition) -> Result<Vec<Trip>, String> {
    part.rows().map_err(told)?.collect::<Result<_, _>>().map_err(told)
}

fn fail_once(fail: bool) -> Result<(), String> {
    match fail && context::current().attempt == 0 {
        true => Err("once, on purpose".to_owned()),
        false => Ok(()),
    }
}
