//! Parts of Parquet.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::super::{error, of_io};
use super::{Form, Output, Part};
use crate::store::{Error, ErrorKind};

/// A row group ends when it has so many bytes: they are in memory until then.
const ROW_GROUP_BYTES: usize = 8 << 20;

impl Output {
    /// Writes record batches as the part of a partition's number: a Parquet file, compressed by Snappy, in row
    /// groups of about 8 MiB, or an empty object if there are no batches. As with [`Self::write_csv`], it is
    /// there as a whole or not at all, and an attempt that is made again replaces the part by itself.
    ///
    /// One row group is in memory at a time. The first batch that is an error ends it, so batches that are
    /// read can be handed on; any others are given by `map(Ok)`.
    ///
    /// # Errors
    /// That of a batch; a batch of another schema than the first; types that Parquet has not; a number of
    /// 1,000,000 or more; see [`ErrorKind`].
    pub fn write_parquet(
        &self,
        number: u32,
        batches: impl IntoIterator<Item = Result<RecordBatch, Error>>,
    ) -> Result<Part, Error> {
        let (url, object) = self.create(number, Form::Parquet)?;
        let mut batches = batches.into_iter();
        let Some(first) = batches.next().transpose()? else {
            object.writer.finish()?;
            return Ok(Part { url, number, rows: 0, bytes: 0 });
        };
        let failed = |failed: ParquetError| unwritten(&url, failed);
        let schema = first.schema();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut table = ArrowWriter::try_new(object, SchemaRef::clone(&schema), Some(properties))
            .map_err(failed)?;
        let mut rows = 0;
        for (place, batch) in std::iter::once(Ok(first)).chain(batches).enumerate() {
            let batch: RecordBatch = batch?;
            if batch.schema_ref() != &schema {
                let message = format!("batch {place} has another schema than those before it");
                return Err(error(ErrorKind::Other, &url, None, message));
            }
            table.write(&batch).map_err(failed)?;
            rows += batch.num_rows() as u64;
            if table.in_progress_size() >= ROW_GROUP_BYTES {
                table.flush().map_err(failed)?;
            }
        }
        let object = table.into_inner().map_err(failed)?;
        let bytes = object.bytes;
        object.writer.finish()?;
        Ok(Part { url, number, rows, bytes })
    }
}

/// The store's own error, where it is one.
fn unwritten(url: &str, failed: ParquetError) -> Error {
    match failed {
        ParquetError::External(failed) => match failed.downcast() {
            Ok(failed) => of_io(url, *failed),
            Err(failed) => error(ErrorKind::Other, url, None, failed.to_string()),
        },
        failed => error(ErrorKind::Other, url, None, format!("it cannot be written: {failed}")),
    }
}
