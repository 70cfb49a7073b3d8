//! Tables as arguments and results of tasks: Arrow record batches, which travel as an Arrow IPC stream.
//!
//! ```
//! use std::sync::Arc;
//!
//! use grid_sdk::arrow::Table;
//! use grid_sdk::arrow::array::cast::AsArray;
//! use grid_sdk::arrow::array::types::Float64Type;
//! use grid_sdk::arrow::array::{Float64Array, RecordBatch};
//! use grid_sdk::arrow::schema::ArrowError;
//! use grid_sdk::task;
//!
//! /// The numbers that there are of the column `delay`, doubled.
//! #[task]
//! pub fn double(table: Table) -> Result<Table, ArrowError> {
//!     let double = |batch: RecordBatch| {
//!         let delays = batch["delay"].as_primitive::<Float64Type>();
//!         let doubled: Float64Array = delays.iter().flatten().map(|delay| 2.0 * delay).collect();
//!         RecordBatch::try_from_iter([("delay", Arc::new(doubled) as _)])
//!     };
//!     let batches: Vec<_> = table.into_batches().into_iter().map(double).collect::<Result<_, _>>()?;
//!     Table::of(batches)
//! }
//!
//! grid_sdk::bundle!(double);
//! let delays = Float64Array::from(vec![Some(1.5), None]);
//! let batch = RecordBatch::try_from_iter([("delay", Arc::new(delays) as _)]).unwrap();
//! let doubled = double(Table::from(batch)).unwrap();
//! assert_eq!(doubled.rows(), 1);
//! assert_eq!(doubled.batches()[0]["delay"].as_primitive::<Float64Type>().value(0), 3.0);
//! ```
//!
//! A program that has this crate with the feature `arrow` passes and reads tables as its tasks do; any other
//! gets the bytes of the stream, with the codec [`Codec::Arrow`], and any Arrow library reads those.
//!
//! The crates of Arrow that this one was built with are here under short names, so that a task needs no
//! version of its own: [`mod@array`], [`schema`] and [`select`], which filters and concatenates.

use std::sync::Arc;

pub use arrow_array as array;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
pub use arrow_schema as schema;
use arrow_schema::{ArrowError, Schema, SchemaRef};
pub use arrow_select as select;

use crate::{Codec, DecodeError, EncodeError, FromValue, IntoValue, Value};

#[cfg(test)]
mod tests;

/// Record batches of one schema, as a parameter or a result of a task.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    /// A table of batches; without any it has no columns.
    ///
    /// # Errors
    /// A batch has another schema than the first.
    pub fn of(batches: Vec<RecordBatch>) -> Result<Self, ArrowError> {
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        Self::with_schema(schema, batches)
    }

    /// A table of batches, which may be none.
    ///
    /// # Errors
    /// A batch has another schema.
    pub fn with_schema(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, ArrowError> {
        if let Some(number) = batches.iter().position(|batch| batch.schema_ref() != &schema) {
            let message = format!("batch {number} has another schema than the table");
            return Err(ArrowError::SchemaError(message));
        }
        Ok(Self { schema, batches })
    }

    /// The schema of all batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches.
    #[must_use]
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The batches, taken out.
    #[must_use]
    pub fn into_batches(self) -> Vec<RecordBatch> {
        self.batches
    }

    /// The rows of all batches.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

impl From<RecordBatch> for Table {
    fn from(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }
}

impl IntoValue for Table {
    fn into_value(self) -> Result<Value, EncodeError> {
        let write = || {
            let mut stream = StreamWriter::try_new(Vec::new(), &self.schema)?;
            self.batches.iter().try_for_each(|batch| stream.write(batch))?;
            stream.into_inner()
        };
        let failed = |failed: ArrowError| EncodeError::new(format!("it is no table: {failed}"));
        Ok(Value { codec: Codec::Arrow, bytes: write().map_err(failed)? })
    }
}

impl FromValue for Table {
    fn from_value(value: Value) -> Result<Self, DecodeError> {
        match value.codec {
            Codec::Arrow => {}
            Codec::Msgpack => {
                return Err(DecodeError::new("it is a MessagePack value, not an Arrow table"));
            }
            Codec::Raw => return Err(DecodeError::new("it is raw bytes, not an Arrow table")),
        }
        let failed =
            |failed: ArrowError| DecodeError::new(format!("it is no Arrow table: {failed}"));
        // Arrays lie in the value's own bytes, where those are aligned.
        let mut bytes = Buffer::from_vec(value.bytes);
        let mut stream = StreamDecoder::new();
        let mut batches = Vec::new();
        while let Some(batch) = stream.decode(&mut bytes).map_err(failed)? {
            batches.push(batch);
        }
        stream.finish().map_err(failed)?;
        let schema = stream.schema().ok_or_else(|| DecodeError::new("it has no schema"))?;
        Ok(Self { schema, batches })
    }
}
