//! Record batches of some row groups of a file.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;

use super::super::error;
use super::chunks::{Chunks, Place, ratio_max};
use super::footer::{place_of_chunk, said};
use super::{Footer, place};
use crate::store::{Error, ErrorKind, Object};

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;

/// The record batches of a partition, read as they are asked for: of each column a part of a row group at a
/// time. After an error there are none.
pub struct Batches {
    object: Arc<Object>,
    footer: Footer,
    mask: ProjectionMask,
    /// Which columns of those that are read, in the order that was asked for.
    order: Option<Vec<usize>>,
    schema: SchemaRef,
    groups: Range<u32>,
    open: Option<Open>,
}

/// A row group that is being read.
struct Open {
    reader: ParquetRecordBatchReader,
    chunks: Chunks,
    /// Rows that the footer says are still to come.
    left: u64,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = formatter.debug_struct("Batches");
        debug.field("url", &self.object.url()).field("groups", &self.groups).finish_non_exhaustive()
    }
}

impl Batches {
    pub(super) fn new(
        object: Object,
        groups: Range<u32>,
        names: Option<Vec<String>>,
    ) -> Result<Self, Error> {
        let footer = Footer::read(&object)?;
        let all = Arc::clone(footer.metadata.schema());
        let roots = footer.metadata.parquet_schema();
        let wrong = |message| error(ErrorKind::Other, object.url(), None, message);
        let (mask, order, schema) = match names {
            None => (ProjectionMask::all(), None, all),
            Some(names) => {
                let place = |name: &String| {
                    all.fields().iter().position(|field| field.name() == name).ok_or_else(|| {
                        let names: Vec<_> =
                            all.fields().iter().map(|it| it.name().as_str()).collect();
                        wrong(format!(
                            "there is no column `{name}`; there are {}",
                            names.join(", ")
                        ))
                    })
                };
                let places: Vec<_> = names.iter().map(place).collect::<Result<_, _>>()?;
                let schema = all.project(&places).map_err(|failed| wrong(failed.to_string()))?;
                let mask = ProjectionMask::roots(roots, places.iter().copied());
                let mut read = places.clone();
                read.sort_unstable();
                read.dedup();
                let order = places.iter().filter_map(|place| read.binary_search(place).ok());
                (mask, Some(order.collect()), Arc::new(schema))
            }
        };
        let there = footer.groups().count();
        if groups.end as usize > there {
            return Err(wrong(format!("it has {there} row groups, and another plan had more")));
        }
        Ok(Self { object: Arc::new(object), footer, mask, order, schema, groups, open: None })
    }

    /// The columns of each batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn open(&self, number: u32) -> Result<Open, Error> {
        let group = self.footer.metadata.metadata().row_group(number as usize);
        let chunks = Chunks::new(Arc::clone(&self.object), self.places(group)?);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            chunks.clone(),
            self.footer.metadata.clone(),
        );
        let builder = builder.with_projection(self.mask.clone()).with_batch_size(BATCH_ROWS);
        let builder = builder.with_row_groups(vec![number as usize]);
        place::enter(self.object.url(), &chunks);
        let reader = builder.build();
        place::leave();
        let reader = reader.map_err(|failed| self.wrong(&chunks, said(failed)))?;
        // It was looked at when the footer was read.
        let left = u64::try_from(group.num_rows()).unwrap_or(0);
        Ok(Open { reader, chunks, left })
    }

    /// Where the wanted chunks of a row group lie.
    fn places(&self, group: &RowGroupMetaData) -> Result<Vec<Place>, Error> {
        let wanted = group.columns().iter().enumerate();
        let wanted = wanted.filter(|(leaf, _)| self.mask.leaf_included(*leaf));
        let place = |(_, column): (usize, &parquet::file::metadata::ColumnChunkMetaData)| {
            let place = place_of_chunk(column).unwrap_or(0..0);
            match ratio_max(column.compression()) {
                Some(ratio_max) => Ok((place, ratio_max)),
                None => {
                    let (path, codec) =
                        (column.column_path().string(), column.compression().to_string());
                    let codec = codec.split('(').next().unwrap_or_default();
                    let message = format!(
                        "`{path}` is compressed by {codec}; SNAPPY and UNCOMPRESSED are read here: \
                         write it again so"
                    );
                    let url = self.object.url();
                    Err(error(ErrorKind::Other, url, Some(place.start), message))
                }
            }
        };
        wanted.map(place).collect()
    }

    fn wrong(&self, chunks: &Chunks, message: String) -> Error {
        let at = Some(chunks.page());
        let other = || error(ErrorKind::Other, self.object.url(), at, message);
        chunks.take_failed().unwrap_or_else(other)
    }

    /// The next batch of the row group that is open, or an error.
    fn batch(&self, open: &mut Open) -> Result<Option<RecordBatch>, Error> {
        place::enter(self.object.url(), &open.chunks);
        let batch = open.reader.next();
        place::leave();
        let Some(batch) = batch else {
            return match open.left {
                0 => Ok(None),
                left => {
                    let message = format!("its row group ends {left} rows before it should");
                    Err(self.wrong(&open.chunks, message))
                }
            };
        };
        let broken = |failed: ArrowError| {
            let what = match failed {
                ArrowError::ParquetError(what) => what,
                other => other.to_string(),
            };
            self.wrong(&open.chunks, said(parquet::errors::ParquetError::General(what)))
        };
        let batch = batch.map_err(broken)?;
        let Some(left) = open.left.checked_sub(batch.num_rows() as u64) else {
            return Err(
                self.wrong(&open.chunks, "its row group has more rows than it says".to_owned())
            );
        };
        open.left = left;
        match &self.order {
            Some(order) => batch.project(order).map(Some).map_err(broken),
            None => Ok(Some(batch)),
        }
    }

    fn ended(&mut self, failed: Error) -> Option<Result<RecordBatch, Error>> {
        (self.open, self.groups) = (None, 0..0);
        Some(Err(failed))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let number = self.groups.next()?;
                    match self.open(number) {
                        Ok(open) => open,
                        Err(failed) => return self.ended(failed),
                    }
                }
            };
            match self.batch(&mut open) {
                Ok(Some(batch)) => {
                    self.open = Some(open);
                    return Some(Ok(batch));
                }
                Ok(None) => {}
                Err(failed) => return self.ended(failed),
            }
        }
    }
}
