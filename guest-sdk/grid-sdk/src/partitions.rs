//! Files outside of the grid, cut into partitions: parts of whole lines that calls read beside each other.
//!
//! ```
//! use grid_sdk::partitions::{self, Partition};
//! use grid_sdk::{store, task};
//!
//! #[derive(serde::Deserialize)]
//! struct Flight {
//!     carrier: String,
//!     delay: Option<f64>,
//! }
//!
//! /// What there is to read, in blocks of about 16 MiB.
//! #[task(reads = "memory://flights/", pure = false)]
//! pub fn plan(url: String) -> Result<Vec<Partition>, store::Error> {
//!     partitions::read_csv(&url, 16 << 20)
//! }
//!
//! /// The delays of one carrier in one partition.
//! #[task(reads = "memory://flights/", pure = false)]
//! pub fn delay(part: Partition, carrier: String) -> Result<f64, store::Error> {
//!     let mut sum = 0.0;
//!     for flight in part.rows::<Flight>()? {
//!         let flight = flight?;
//!         if flight.carrier == carrier {
//!             sum += flight.delay.unwrap_or(0.0);
//!         }
//!     }
//!     Ok(sum)
//! }
//!
//! grid_sdk::bundle!(plan, delay);
//! store::put("memory://flights/2013.csv", "carrier,delay\nAA,2\nUA,\nAA,3.5\n").unwrap();
//! let parts = plan("memory://flights/*.csv".to_owned()).unwrap();
//! let delays = parts.into_iter().map(|part| delay(part, "AA".to_owned()).unwrap());
//! assert_eq!(delays.sum::<f64>(), 5.5);
//! ```
//!
//! What calls write lies below one URL: a part for each partition, and a manifest when all of it is there.
//!
//! ```
//! use grid_sdk::partitions::{self, Manifest, Output, Part, Partition};
//! use grid_sdk::{store, task};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Flight {
//!     carrier: String,
//!     delay: Option<f64>,
//! }
//!
//! #[task(reads = "memory://late/", writes = "memory://late/", pure = false)]
//! pub fn begin(url: String) -> Result<Output, store::Error> {
//!     partitions::begin(&url, false)
//! }
//!
//! /// The late flights of a partition, as the part of its number.
//! #[task(reads = "memory://late/", writes = "memory://late/", pure = false, retries = 2)]
//! pub fn write(part: Partition, number: u32, output: Output) -> Result<Part, store::Error> {
//!     let late = |flight: &Result<Flight, _>| {
//!         flight.as_ref().map_or(true, |flight| flight.delay > Some(3.0))
//!     };
//!     output.write_csv(number, part.rows::<Flight>()?.filter(late))
//! }
//!
//! #[task(reads = "memory://late/", writes = "memory://late/", pure = false)]
//! pub fn finish(output: Output, parts: Vec<Part>) -> Result<Manifest, store::Error> {
//!     output.finish(parts)
//! }
//!
//! grid_sdk::bundle!(begin, write, finish);
//! store::put("memory://late/in.csv", "carrier,delay\nAA,2\nUA,\nAA,3.5\n").unwrap();
//! let output = begin("memory://late/out/".to_owned()).unwrap();
//! let parts = partitions::read_csv("memory://late/in.csv", 5).unwrap().into_iter().zip(0..);
//! let parts = parts.map(|(part, number)| write(part, number, output.clone()).unwrap()).collect();
//! let written = finish(output, parts).unwrap();
//! assert_eq!(written.rows(), 1);
//! written.concat("memory://late/one.csv").unwrap();
//! assert_eq!(store::read("memory://late/one.csv").unwrap(), b"carrier,delay\nAA,3.5\n");
//! ```
//!
//! With the feature `parquet` a table is read and written as record batches, too. A partition is some row
//! groups, and of columns that nobody asks for nothing is read:
//!
//! ```
//! # #[cfg(feature = "parquet")] {
//! use std::sync::Arc;
//!
//! use grid_sdk::arrow::array::cast::AsArray;
//! use grid_sdk::arrow::array::types::Float64Type;
//! use grid_sdk::arrow::array::{Float64Array, RecordBatch};
//! use grid_sdk::partitions::{self, Output, Part, Partition};
//! use grid_sdk::{store, task};
//!
//! /// A partition of a CSV as the part of its number.
//! #[task(reads = "memory://copy/", writes = "memory://copy/", pure = false, retries = 2)]
//! pub fn copy(part: Partition, number: u32, output: Output) -> Result<Part, String> {
//!     let rows = part.rows::<(String, Option<f64>)>().map_err(|error| error.to_string())?;
//!     let rows: Vec<_> = rows.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
//!     let delays: Float64Array = rows.iter().map(|row| row.1).collect();
//!     let batch = RecordBatch::try_from_iter_with_nullable([("delay", Arc::new(delays) as _, true)]);
//!     let batch = batch.map_err(|error| error.to_string())?;
//!     output.write_parquet(number, [Ok(batch)]).map_err(|error| error.to_string())
//! }
//!
//! /// The delays in one partition.
//! #[task(reads = "memory://copy/", pure = false)]
//! pub fn delay(part: Partition) -> Result<f64, store::Error> {
//!     let mut sum = 0.0;
//!     for batch in part.columns(["delay"])? {
//!         sum += batch?["delay"].as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
//!     }
//!     Ok(sum)
//! }
//!
//! grid_sdk::bundle!(copy, delay);
//! store::put("memory://copy/in.csv", "carrier,delay\nAA,2\nUA,\nAA,3.5\n").unwrap();
//! let output = partitions::begin("memory://copy/out/", false).unwrap();
//! let parts = partitions::read_csv("memory://copy/in.csv", 8).unwrap().into_iter().zip(0..);
//! let parts = parts.map(|(part, number)| copy(part, number, output.clone()).unwrap()).collect();
//! let table = output.finish(parts).unwrap();
//! let parts = table.read_parquet(16 << 20).unwrap();
//! assert_eq!(parts.into_iter().map(|part| delay(part).unwrap()).sum::<f64>(), 5.5);
//! # }
//! ```

use std::io;

use serde::{Deserialize, Serialize};

use crate::store::{self, Entry, Error, ErrorKind, Lines, Object};

mod manifest;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;
#[cfg(test)]
mod tests;

pub use manifest::Manifest;
pub use output::{Output, Part, begin};
#[cfg(all(feature = "parquet", target_family = "wasm"))]
pub(crate) use parquet::reading;
#[cfg(feature = "parquet")]
pub use parquet::{Batches, read_parquet};
pub use rows::{Records, Rows, optional};

/// Partitions of one plan: more would be more calls than a grid should be given for it.
const PARTITIONS_MAX: usize = 1_000_000;
/// A first line that is longer is none of names.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// What some programs write in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A part of a file: the lines that begin in a range of its bytes, or row groups of Parquet. It is small, an
/// argument for a call.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The file.
    pub url: String,
    /// The first byte of the range.
    pub start: u64,
    /// The byte behind its last.
    pub end: u64,
    /// The file as it was planned: read when it is another, it is an error.
    size: u64,
    /// In seconds: S3 is more precise in listings than of one object.
    modified_s: u64,
    /// The first line, of a table.
    header: Option<String>,
    /// The first row group and the one behind the last, of Parquet.
    #[serde(default)]
    row_groups: Option<(u32, u32)>,
}

/// Cuts files into partitions of lines: the file of a URL, all below one that ends with `/`, or those that
/// a pattern fits (see [`store::list`]). An empty file has none.
///
/// # Errors
/// Nothing is there, there would be more than 1,000,000, or see [`ErrorKind`].
pub fn read_lines(url: &str, block_bytes: u64) -> Result<Vec<Partition>, Error> {
    let mut parts = Vec::new();
    for entry in files(url)? {
        cut(&entry, block_bytes, 0, None, &mut parts)?;
    }
    Ok(parts)
}

/// Cuts CSV files into partitions of rows, each of which knows the header of its file. A file of a header
/// alone has none. Line breaks inside of quotes are read where they lie inside of a partition; a partition
/// that would begin or end in one is an error.
///
/// # Errors
/// Nothing is there, there would be more than 1,000,000, a header that is no text or longer than 1 MiB, or
/// see [`ErrorKind`].
pub fn read_csv(url: &str, block_bytes: u64) -> Result<Vec<Partition>, Error> {
    let mut parts = Vec::new();
    for entry in files(url)? {
        cut_csv(&store::open(&entry.url)?, block_bytes, &mut parts)?;
    }
    Ok(parts)
}

fn cut_csv(object: &Object, block_bytes: u64, parts: &mut Vec<Partition>) -> Result<(), Error> {
    let header = first_line(object)?;
    let rows_start = header.len() as u64;
    let header = rows::header(object.url(), &header)?;
    cut(object.entry(), block_bytes, rows_start, Some(header), parts)
}

/// The first line of a table, with its end.
fn first_line(object: &Object) -> Result<Vec<u8>, Error> {
    // Nearly always the first read holds it.
    for bytes in [4 << 10, 64 << 10, HEADER_BYTES_MAX] {
        let mut line = object.read(0..bytes)?;
        if let Some(end) = line.iter().position(|&byte| byte == b'\n') {
            line.truncate(end + 1);
            return Ok(line);
        }
        if bytes >= object.size() {
            return Ok(line);
        }
    }
    let message = format!(
        "its first line has more than {HEADER_BYTES_MAX} bytes: is it a table with a header?"
    );
    Err(error(ErrorKind::OverLimit, object.url(), Some(0), message))
}

/// The files that a URL stands for.
fn files(url: &str) -> Result<Vec<Entry>, Error> {
    if !url.ends_with('/') && !store::is_pattern(url) {
        return Ok(vec![store::open(url)?.entry().clone()]);
    }
    let found: Vec<_> = store::list(url)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Err(error(ErrorKind::NotFound, url, None, "nothing is there"));
    }
    Ok(found)
}

fn cut(
    entry: &Entry,
    block_bytes: u64,
    from: u64,
    header: Option<String>,
    parts: &mut Vec<Partition>,
) -> Result<(), Error> {
    let blocks = store::blocks(entry.size.saturating_sub(from), block_bytes);
    if blocks.len() > PARTITIONS_MAX - parts.len() {
        let message =
            format!("it would have more than {PARTITIONS_MAX} partitions: make them larger");
        return Err(error(ErrorKind::OverLimit, &entry.url, None, message));
    }
    parts.extend(blocks.map(|block| Partition {
        url: entry.url.clone(),
        start: from + block.start,
        end: from + block.end,
        size: entry.size,
        modified_s: entry.modified_ms / 1_000,
        header: header.clone(),
        row_groups: None,
    }));
    Ok(())
}

fn error(kind: ErrorKind, url: &str, offset: Option<u64>, message: impl Into<String>) -> Error {
    Error { kind, url: url.to_owned(), offset, message: message.into() }
}

/// The store's own error, which came as one of `io`.
fn of_io(url: &str, failed: io::Error) -> Error {
    match failed.downcast::<Error>() {
        Ok(error) => error,
        Err(failed) => error(ErrorKind::Other, url, None, failed.to_string()),
    }
}

impl Partition {
    /// Its lines, as they are in the file.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if the file is not the one that was planned; a partition of Parquet; else see
    /// there.
    pub fn lines(&self) -> Result<Lines, Error> {
        if self.row_groups.is_some() {
            let message = "it was planned as Parquet, which has no lines: read its `batches`";
            return Err(error(ErrorKind::Other, &self.url, None, message));
        }
        Ok(self.open()?.lines(self.start..self.end))
    }

    /// The file, if it is the one that was planned.
    fn open(&self) -> Result<Object, Error> {
        let object = store::open(&self.url)?;
        let now = (object.size(), object.entry().modified_ms / 1_000);
        if now != (self.size, self.modified_s) {
            let message = "it was changed after it was cut into partitions: do that again";
            return Err(error(ErrorKind::Changed, &self.url, None, message));
        }
        Ok(object)
    }

    /// Its rows, by the names in the header. A partition of [`read_lines`] has no header: there a row is a
    /// tuple or a list. A mebibyte is in memory at a time, or all that is left once there are quotes.
    ///
    /// # Errors
    /// As [`Self::lines`], or quotes are broken: one that nothing closes, as where a line break inside of
    /// quotes lies at one of its ends, or text behind a closing one.
    pub fn rows<T: serde::de::DeserializeOwned>(&self) -> Result<Rows<T>, Error> {
        Ok(Rows::new(self.records()?))
    }

    /// As [`Self::rows`], for rows that borrow their texts.
    ///
    /// ```
    /// use grid_sdk::{partitions, store};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Flight<'a> {
    ///     carrier: &'a str,
    ///     delay: Option<f64>,
    /// }
    ///
    /// store::put("memory://lent/in.csv", "carrier,note,delay\nAA,x,2\nUA,y,\n").unwrap();
    /// let parts = partitions::read_csv("memory://lent/in.csv", 16 << 20).unwrap();
    /// let mut records = parts[0].records().unwrap();
    /// let mut late = 0.0;
    /// while let Some(flight) = records.next::<Flight>() {
    ///     let flight = flight.unwrap();
    ///     late += if flight.carrier == "AA" { flight.delay.unwrap_or(0.0) } else { 0.0 };
    /// }
    /// assert_eq!(late, 2.0);
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn records(&self) -> Result<Records, Error> {
        Records::new(&self.url, self.lines()?, self.header.as_deref())
    }
}
