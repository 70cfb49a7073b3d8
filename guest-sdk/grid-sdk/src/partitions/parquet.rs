//! Parquet: planned by the footer, read by row groups and columns.

use std::ops::Range;

use super::{PARTITIONS_MAX, Partition, error, files, output};
use crate::store::{self, Entry, Error, ErrorKind, Object};

mod batches;
mod chunks;
mod footer;
mod place;
#[cfg(test)]
mod tests;

pub use batches::Batches;
pub(super) use footer::Footer;
#[cfg(target_family = "wasm")]
pub(crate) use place::current as reading;

/// Cuts Parquet files into partitions of whole row groups: as many as have at most `block_bytes` in the file
/// together, and at least one. Of a file, its end alone is read. Parts of no bytes, as an earlier, larger
/// table leaves them, have no partitions.
///
/// # Errors
/// Nothing is there, there would be more than 1,000,000, a file that is no Parquet, is cut off, encrypted, or
/// says of itself what cannot be; else see [`ErrorKind`].
pub fn read_parquet(url: &str, block_bytes: u64) -> Result<Vec<Partition>, Error> {
    let mut parts = Vec::new();
    for entry in files(url)? {
        if entry.size > 0 || !output::is_part(&entry.url) {
            cut_parquet(&store::open(&entry.url)?, block_bytes, &mut parts)?;
        }
    }
    Ok(parts)
}

pub(super) fn cut_parquet(
    object: &Object,
    block_bytes: u64,
    parts: &mut Vec<Partition>,
) -> Result<(), Error> {
    let footer = Footer::read(object)?;
    let mut open: Option<(Range<u32>, Range<u64>)> = None;
    let mut close = |closed: Option<(Range<u32>, Range<u64>)>| {
        let Some((groups, bytes)) = closed else { return Ok(()) };
        if parts.len() == PARTITIONS_MAX {
            let message =
                format!("it would have more than {PARTITIONS_MAX} partitions: make them larger");
            return Err(error(ErrorKind::OverLimit, object.url(), None, message));
        }
        parts.push(partition(object.entry(), groups, bytes));
        Ok(())
    };
    for (number, bytes) in (0..).zip(footer.groups()) {
        open = match open {
            Some((groups, before)) if bytes.end.max(before.end) - before.start <= block_bytes => {
                Some((groups.start..number + 1, before.start..bytes.end.max(before.end)))
            }
            full => {
                close(full)?;
                Some((number..number + 1, bytes))
            }
        };
    }
    close(open)
}

fn partition(entry: &Entry, groups: Range<u32>, bytes: Range<u64>) -> Partition {
    Partition {
        url: entry.url.clone(),
        start: bytes.start,
        end: bytes.end,
        size: entry.size,
        modified_s: entry.modified_ms / 1_000,
        header: None,
        row_groups: Some((groups.start, groups.end)),
    }
}

impl Partition {
    /// Its record batches, of at most 8,192 rows each, with all columns.
    ///
    /// # Errors
    /// [`ErrorKind::Changed`] if the file is not the one that was planned; a partition that is none of
    /// [`read_parquet`]; as there.
    pub fn batches(&self) -> Result<Batches, Error> {
        let (object, groups) = self.parquet()?;
        Batches::new(object, groups, None)
    }

    /// As [`Self::batches`], with these columns in this order. Of no others is anything read, but for the
    /// footer.
    ///
    /// # Errors
    /// As there, or there is no such column.
    pub fn columns<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Batches, Error> {
        let (object, groups) = self.parquet()?;
        Batches::new(object, groups, Some(names.into_iter().map(str::to_owned).collect()))
    }

    fn parquet(&self) -> Result<(Object, Range<u32>), Error> {
        let Some((first, end)) = self.row_groups else {
            let message = "it was planned as text: read its `rows`, or plan it by `read_parquet`";
            return Err(error(ErrorKind::Other, &self.url, None, message));
        };
        Ok((self.open()?, first..end))
    }
}
