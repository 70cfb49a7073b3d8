//! Tasks that read and write objects outside of the grid, and say what kind of thing went wrong.

use std::io::{BufRead, Seek, SeekFrom, Write};

use grid_sdk::coordination::Event;
use grid_sdk::partitions::{self, Partition};
use grid_sdk::store::{self, Error, Lines};
use grid_sdk::{Raw, task};

pub mod tables;

/// The kind of an error in front of it.
fn told(error: Error) -> String {
    format!("{:?}: {error}", error.kind)
}

/// The bytes of a range.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn read(url: String, start: u64, end: u64) -> Result<Raw, String> {
    let object = store::open(&url).map_err(told)?;
    Ok(Raw(object.read(start..end).map_err(told)?))
}

/// The same, asked for by a task that wants less.
#[task(reads = "s3://grid/in/", pure = false)]
pub fn read_modestly(url: String, start: u64, end: u64) -> Result<Raw, String> {
    read(url, start, end)
}

/// Reads a byte, says so, and reads the rest when it is told to.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn read_twice(url: String, said: String, told_to: String) -> Result<Raw, String> {
    let object = store::open(&url).map_err(told)?;
    let mut bytes = object.read(0..1).map_err(told)?;
    Event::new(said).set().map_err(|error| error.to_string())?;
    Event::new(told_to).wait().map_err(|error| error.to_string())?;
    bytes.extend(object.read(1..object.size()).map_err(told)?);
    Ok(Raw(bytes))
}

/// URLs and sizes of what a pattern fits.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn list(pattern: String) -> Result<Vec<(String, u64)>, String> {
    let listing = store::list(&pattern).map_err(told)?;
    listing.map(|entry| entry.map(|it| (it.url, it.size)).map_err(told)).collect()
}

/// Writes a small object.
#[task(writes = ["s3://", "file://", "memory://"], pure = false)]
pub fn put(url: String, text: String, if_absent: bool) -> Result<(), String> {
    let put = if if_absent { store::put_if_absent(&url, text) } else { store::put(&url, text) };
    put.map_err(told)
}

/// Writes so many bytes, piece by piece; unless it finishes, nothing of it shall be left.
#[task(writes = ["s3://", "file://", "memory://"], pure = false)]
pub fn write(url: String, bytes: u64, finish: bool) -> Result<(), String> {
    let mut writer = store::create(&url).map_err(told)?;
    for start in (0..bytes).step_by(1 << 16) {
        let piece: Vec<u8> = (start..bytes.min(start + (1 << 16))).map(pattern).collect();
        writer.write_all(&piece).map_err(|error| error.to_string())?;
    }
    if finish { writer.finish().map_err(told) } else { Ok(()) }
}

/// Begins a large object, says so, and waits until it is stopped.
#[task(writes = ["s3://", "file://", "memory://"], pure = false)]
pub fn write_for_ever(url: String, said: String) -> Result<(), String> {
    let mut writer = store::create(&url).map_err(told)?;
    writer.write_all(&vec![7; 20 << 20]).map_err(|error| error.to_string())?;
    Event::new(said).set().map_err(|error| error.to_string())?;
    Event::new("never").wait().map_err(|error| error.to_string())
}

/// The byte at an offset of what [`write`] writes.
#[must_use]
pub fn pattern(offset: u64) -> u8 {
    (offset % 251) as u8
}

/// How many lines begin in a block, and how many bytes they have.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn count(url: String, start: u64, end: u64) -> Result<(u64, u64), String> {
    let (mut lines, mut bytes) = (0, 0);
    let found: Lines = store::lines(&url, start..end).map_err(told)?;
    for line in found {
        lines += 1;
        bytes += line.map_err(told)?.len() as u64;
    }
    Ok((lines, bytes))
}

/// The last line, found from the end.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn last_line(url: String, within: u64) -> Result<String, String> {
    let object = store::open(&url).map_err(told)?;
    let start = object.size().saturating_sub(within);
    let mut reader = object.reader();
    reader.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
    let last = reader.lines().last().ok_or("there is none")?;
    last.map_err(|error| error.to_string())
}

/// The partitions of CSV files.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn plan(url: String, block_bytes: u64) -> Result<Vec<Partition>, String> {
    partitions::read_csv(&url, block_bytes).map_err(told)
}

#[derive(serde::Deserialize)]
struct Trip {
    carrier: String,
    delay: Option<f64>,
}

/// How many trips of a carrier are in a partition, and their delays together.
#[task(reads = ["s3://", "file://", "memory://"], pure = false)]
pub fn delays(part: Partition, carrier: String) -> Result<(u64, f64), String> {
    let mut found = (0, 0.0);
    for trip in part.rows::<Trip>().map_err(told)? {
        let trip = trip.map_err(told)?;
        if trip.carrier == carrier {
            found = (found.0 + 1, found.1 + trip.delay.unwrap_or(0.0));
        }
    }
    Ok(found)
}

/// Holds more listings at a time than there may be.
#[task(reads = "memory://", pure = false)]
pub fn hold_listings(url: String, count: u64) -> Result<u64, String> {
    let listings: Result<Vec<_>, _> = (0..count).map(|_| store::list(&url)).collect();
    Ok(listings.map_err(told)?.len() as u64)
}

grid_sdk::bundle!(
    count,
    delays,
    hold_listings,
    last_line,
    list,
    plan,
    put,
    read,
    read_modestly,
    read_twice,
    tables::all_three,
    tables::any,
    tables::begin,
    tables::both,
    tables::both_late,
    tables::concat,
    tables::finish,
    tables::joined,
    tables::late_by_carrier,
    tables::parts_of,
    tables::trips,
    tables::write_late,
    write,
    write_for_ever,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn natively_it_works_without_a_grid() {
        let url = "memory://native/x".to_owned();
        write(url.clone(), 100_000, true).unwrap();
        assert_eq!(read(url.clone(), 300, 302).unwrap().0, [pattern(300), pattern(301)]);
        let error = put(url, String::new(), true).unwrap_err();
        assert!(error.starts_with("Exists: `memory://native/x`"), "{error}");
    }
}
