//! Real data: the flights that left New York City, read from a CSV in blocks, in parallel.
//!
//! The tasks see two directories and nothing else: `/flights`, which they read, and `/parts`, which
//! they write. An operator grants both when workers start. Those of [`tables`] read and write URLs instead,
//! which an operator grants as well.

pub mod block;
#[cfg(not(target_family = "wasm"))]
pub mod check;
mod columns;
mod description;
mod job;
mod parts;
mod summary;
pub mod tables;

use std::path::Path;

use anyhow::{Context, Result};
use grid_sdk::{context, task};

pub use block::Block;
pub use description::Description;
pub use job::Job;
pub use parts::Part;
pub use summary::{Carrier, Moments, Summary};

/// Where the tasks find the CSV.
pub const FLIGHTS: &str = "/flights";
/// Where the tasks write.
pub const PARTS: &str = "/parts";

/// The length of a file in bytes.
#[task(reads = "/flights", pure = false)]
pub fn size(file: String) -> Result<u64> {
    let path = Path::new(FLIGHTS).join(file);
    let metadata = path.metadata().with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(metadata.len())
}

/// Sums up the rows that begin in a block, and writes those of late flights to a part.
#[task(reads = "/flights", writes = "/parts", pure = false)]
pub fn scan(job: Job, block: Block) -> Result<Summary> {
    let attempt = context::current().attempt;
    job.scan(Path::new(FLIGHTS), Path::new(PARTS), &block, attempt)
}

/// Puts two summaries together.
#[task]
pub fn merge(a: Summary, b: Summary) -> Summary {
    a.merge(b)
}

/// Reads the parts back and describes the delays in them.
#[task(reads = "/parts", pure = false)]
pub fn describe(parts: Vec<Part>) -> Result<Description> {
    Description::of_parts(Path::new(PARTS), &parts)
}

grid_sdk::bundle!(
    size,
    scan,
    merge,
    describe,
    tables::plan_table,
    tables::begin_table,
    tables::finish_table,
    tables::scan_table,
    tables::merge_scanned,
    tables::describe_table,
    tables::copy_table,
    tables::plan_copy,
    tables::summarize_copy,
    tables::count_origins,
    tables::add_counts,
);

#[cfg(test)]
mod tests;
