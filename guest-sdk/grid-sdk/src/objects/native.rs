//! The twin in memory.

use super::Error;
use crate::value::{Codec, DecodeError, Value};

#[derive(Debug)]
pub(super) struct Source(Value);

impl From<Value> for Source {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Source {
    #[expect(clippy::unnecessary_wraps, reason = "in a sandbox it may be refused")]
    pub(super) fn argument(_position: u32, value: Value) -> Result<Self, DecodeError> {
        Ok(Self(value))
    }

    pub(super) fn codec(&self) -> Codec {
        self.0.codec
    }

    pub(super) fn size(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let bytes = &self.0.bytes;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes[start..][..length.min(bytes.len() - start)].to_vec()
    }
}

#[derive(Debug)]
pub(super) struct Sink(Vec<u8>);

#[expect(clippy::unnecessary_wraps, reason = "in a sandbox it may be refused")]
impl Sink {
    pub(super) fn begin(_codec: Codec) -> Result<Self, Error> {
        Ok(Self(Vec::new()))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Error> {
        Ok(self.0)
    }
}
