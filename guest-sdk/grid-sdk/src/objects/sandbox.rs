//! What a worker keeps, through `wit/objects.wit`.

use super::Error;
use crate::bindings::grid::task::{objects as wit, types};
use crate::value::{Codec, DecodeError, Value};

#[derive(Debug)]
pub(super) enum Source {
    Worker(wit::Reader),
    /// One that the task made itself.
    Own(Value),
}

impl From<Value> for Source {
    fn from(value: Value) -> Self {
        Self::Own(value)
    }
}

impl Source {
    pub(super) fn argument(position: u32, _value: Value) -> Result<Self, DecodeError> {
        match wit::argument(position) {
            Ok(reader) => Ok(Self::Worker(reader)),
            Err(error) => Err(DecodeError::new(Error::from(error).to_string())),
        }
    }

    pub(super) fn codec(&self) -> Codec {
        match self {
            Self::Worker(reader) => match reader.codec() {
                types::Codec::Msgpack => Codec::Msgpack,
                types::Codec::Raw => Codec::Raw,
                types::Codec::Arrow => Codec::Arrow,
            },
            Self::Own(value) => value.codec,
        }
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Worker(reader) => reader.size(),
            Self::Own(value) => value.bytes.len() as u64,
        }
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        match self {
            Self::Worker(reader) => reader.read(offset, u32::try_from(length).unwrap_or(u32::MAX)),
            Self::Own(Value { bytes, .. }) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                bytes[start..][..length.min(bytes.len() - start)].to_vec()
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Sink(wit::Writer);

impl Sink {
    pub(super) fn begin(codec: Codec) -> Result<Self, Error> {
        let codec = match codec {
            Codec::Msgpack => types::Codec::Msgpack,
            Codec::Raw => types::Codec::Raw,
            Codec::Arrow => types::Codec::Arrow,
        };
        Ok(Self(wit::begin(codec)?))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.0.write(bytes)?)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, Error> {
        self.0.finish()?;
        Ok(Vec::new())
    }
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Refused(message) => Self::Refused(message),
            wit::Error::OverLimit(message) => Self::OverLimit(message),
            wit::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
