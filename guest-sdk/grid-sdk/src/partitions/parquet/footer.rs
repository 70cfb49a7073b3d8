//! The end of a file, which says what is in it; looked at before anything is believed.

use std::ops::Range;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader, RowGroupMetaData};

use super::super::error;
use crate::store::{Error, ErrorKind, Object};

/// What each file begins and ends with.
const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";
/// The length of the footer and the magic, behind it.
const TAIL_BYTES: u64 = 8;
/// Read at once: nearly always the footer is in it.
const FIRST_READ_BYTES: u64 = 64 << 10;
/// In memory a footer is some ten times as large, and a sandbox is not.
const FOOTER_BYTES_MAX: u64 = 16 << 20;

/// What a file says of itself, as far as it is possible.
pub(crate) struct Footer {
    pub(super) metadata: ArrowReaderMetadata,
    /// Where each row group lies.
    groups: Vec<Range<u64>>,
}

impl Footer {
    pub(crate) fn read(object: &Object) -> Result<Self, Error> {
        let (start, bytes) = read_bytes(object)?;
        let broken = |failed: ParquetError| wrong(object, start, said(failed));
        let metadata = ParquetMetaDataReader::decode_metadata(&bytes).map_err(broken)?;
        let place = |(number, group): (usize, &RowGroupMetaData)| {
            place_of_group(group, start).map_err(|what| {
                wrong(object, start, format!("row group {number} cannot be: {what}"))
            })
        };
        let groups = metadata.row_groups().iter().enumerate().map(place);
        let groups = groups.collect::<Result<_, _>>()?;
        let metadata = std::sync::Arc::new(metadata);
        let metadata =
            ArrowReaderMetadata::try_new(metadata, ArrowReaderOptions::new()).map_err(broken)?;
        Ok(Self { metadata, groups })
    }

    /// Where the row groups lie.
    pub(super) fn groups(&self) -> impl Iterator<Item = Range<u64>> {
        self.groups.iter().cloned()
    }
}

/// Where a footer begins, and its bytes.
fn read_bytes(object: &Object) -> Result<(u64, Vec<u8>), Error> {
    let size = object.size();
    let first = size.saturating_sub(FIRST_READ_BYTES);
    let mut last = object.read(first..size)?;
    let Some(tail) = last.last_chunk::<8>() else { return Err(no_end(object, 0)) };
    let ([a, b, c, d, ..], magic) = (tail, &tail[4..]);
    if magic == MAGIC_ENCRYPTED {
        return Err(wrong(object, size - 4, "it is encrypted, and nothing here has keys"));
    }
    if magic != MAGIC {
        return Err(no_end(object, size - 4));
    }
    let length = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let Some(start) = (size - TAIL_BYTES).checked_sub(length).filter(|start| *start >= 4) else {
        let message = format!("its footer has {length} bytes, it says, and the file has {size}");
        return Err(wrong(object, size - TAIL_BYTES, message));
    };
    if length > FOOTER_BYTES_MAX {
        let message = format!("its footer has {length} bytes; {FOOTER_BYTES_MAX} are read at most");
        return Err(Error { kind: ErrorKind::OverLimit, ..wrong(object, start, message) });
    }
    let end = size - TAIL_BYTES;
    if start < first {
        return Ok((start, object.read(start..end)?));
    }
    last.truncate(last.len() - 8);
    // Both lie in what was read, which is small.
    last.drain(..usize::try_from(start - first).unwrap_or(0));
    Ok((start, last))
}

/// The error of a file that does not end as it should.
fn no_end(object: &Object, at: u64) -> Error {
    let message = match object.read(0..4) {
        Ok(begin) if begin == MAGIC => "it begins as Parquet and does not end so: it was cut off",
        Ok(_) => "it is no Parquet",
        Err(failed) => return failed,
    };
    wrong(object, at, message)
}

/// Where a row group lies in a file whose footer begins there, or why that cannot be.
fn place_of_group(group: &RowGroupMetaData, footer_start: u64) -> Result<Range<u64>, String> {
    let mut place: Option<Range<u64>> = None;
    for column in group.columns() {
        let chunk = place_of_chunk(column).filter(|chunk| chunk.end <= footer_start);
        let Some(chunk) = chunk else {
            let (path, bytes) = (column.column_path().string(), column.compressed_size());
            return Err(format!("the {bytes} bytes of `{path}` do not lie in the file"));
        };
        place = Some(match place {
            Some(place) => place.start.min(chunk.start)..place.end.max(chunk.end),
            None => chunk,
        });
    }
    if group.num_rows() < 0 {
        return Err(format!("it has {} rows", group.num_rows()));
    }
    Ok(place.unwrap_or(footer_start..footer_start))
}

/// Where a column's bytes of a row group lie: behind the magic. The crate's own function panics where this
/// gives none.
pub(super) fn place_of_chunk(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).ok().filter(|start| *start >= 4)?;
    let bytes = u64::try_from(column.compressed_size()).ok()?;
    Some(start..start.checked_add(bytes)?)
}

fn wrong(object: &Object, at: u64, message: impl Into<String>) -> Error {
    error(ErrorKind::Other, object.url(), Some(at), message)
}

/// An error of the crate in words of the file.
pub(super) fn said(failed: ParquetError) -> String {
    let what = match failed {
        ParquetError::General(what)
        | ParquetError::NYI(what)
        | ParquetError::EOF(what)
        | ParquetError::ArrowError(what) => what,
        other => other.to_string(),
    };
    format!("it is broken, or of a kind that is not read here: {what}")
}
