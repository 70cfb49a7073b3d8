//! One block: its rows counted and summed up, those of late flights written to a part.

use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result};
use csv::ByteRecord;
use serde::{Deserialize, Serialize};

use crate::block::{Block, Lines};
use crate::columns::{Columns, open};
use crate::parts;
use crate::summary::Summary;

/// What is read of the file at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What all blocks of one run share.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Job {
    /// The CSV, below the directory of flights.
    pub file: String,
    /// The directory of the parts, below that of all parts.
    pub run: String,
    /// A departure is late when it is delayed by more minutes.
    pub late_minutes: f64,
}

impl Job {
    /// Scans a block of the file below `flights`; its part goes below `parts`.
    ///
    /// # Errors
    /// What cannot be read or written, and the first row that is none.
    pub fn scan(
        &self,
        flights: &Path,
        parts: &Path,
        block: &Block,
        attempt: u32,
    ) -> Result<Summary> {
        let path = flights.join(&self.file);
        let columns = Columns::read(&path)?;
        let file = BufReader::with_capacity(BUFFER_BYTES, open(&path)?);
        let mut rows = csv::ReaderBuilder::new()
            .has_headers(block.start == 0)
            .flexible(true)
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(Lines::new(file, block)?);
        let mut summary = Summary::default();
        let part = parts::write(parts, &self.run, block.number, attempt, |part| {
            let mut late_rows = csv::Writer::from_writer(part);
            late_rows.write_byte_record(&columns.header)?;
            let mut row = ByteRecord::new();
            while rows.read_byte_record(&mut row)? {
                let (code, delay) = columns.carrier_and_delay(&row).with_context(|| {
                    let line = row.position().map_or(0, csv::Position::line);
                    let start = block.start;
                    format!("line {line} of the block that begins at byte {start} is no flight")
                })?;
                if summary.add(code, delay, self.late_minutes) {
                    late_rows.write_byte_record(&row)?;
                }
            }
            late_rows.flush()?;
            Ok(summary.late())
        })?;
        summary.parts.push(part);
        Ok(summary)
    }
}
