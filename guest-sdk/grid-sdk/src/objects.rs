//! Values that are larger than a sandbox: an argument that is read where the worker keeps it, a result that
//! is written piece by piece.
//!
//! ```
//! use std::io::{BufRead, Write};
//!
//! use grid_sdk::objects::{self, Reader, Writer, Written};
//! use grid_sdk::{Raw, task};
//!
//! /// The lines that hold a word, of a text of any size.
//! #[task(memory = "16MiB")]
//! pub fn grep(text: Reader, word: String) -> Result<Written, objects::Error> {
//!     let mut found = Writer::raw()?;
//!     for line in text.split(b'\n') {
//!         let line = line?;
//!         if line.windows(word.len().max(1)).any(|part| part == word.as_bytes()) {
//!             found.write_all(&line)?;
//!             found.write_all(b"\n")?;
//!         }
//!     }
//!     found.finish()
//! }
//!
//! grid_sdk::bundle!(grep);
//! let text = Reader::from(b"one\ntwo\nbone\n".to_vec());
//! assert_eq!(grep(text, "one".to_owned()).unwrap().into_bytes(), b"one\nbone\n");
//! // What a text comes from may itself have been written so.
//! let twice = grep::call(grep::call(Raw(b"one".to_vec()), "o".to_owned()), "n".to_owned());
//! assert_eq!(twice.node().task, "grep");
//! ```
//!
//! A parameter of the type [`Reader`] takes raw bytes ([`Raw`]), a [`Value`] of any codec, or what another
//! task has [`Written`]. Its bytes count towards no memory but the worker's: of a worker that keeps it on disk
//! they come from there as they are read.
//!
//! Natively both are bytes in memory.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod sandbox;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};

#[cfg(not(target_family = "wasm"))]
use native as inside;
#[cfg(target_family = "wasm")]
use sandbox as inside;

use crate::call::{ArgNode, Call, IntoArg};
use crate::value::{Codec, DecodeError, EncodeError, FromValue, IntoValue, Raw, Value};

/// Bytes that are read at a time through the buffer, and that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a result was not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// A call writes one result, once.
    Refused(String),
    /// It is larger than the worker allows; what the bound is.
    OverLimit(String),
    /// The worker cannot keep it, or there are no objects here, for instance while a bundle is described.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::OverLimit(message) | Self::Unavailable(message) => {
                formatter.write_str(message)
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Refused(_) => io::ErrorKind::InvalidInput,
            Error::OverLimit(_) => io::ErrorKind::FileTooLarge,
            Error::Unavailable(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(other) => Self::Unavailable(other.to_string()),
        }
    }
}

/// An argument that is read where the worker keeps it: any part of it at any time, or from its first byte
/// to its last through [`Read`] and [`BufRead`]. Seeking costs nothing until something is read.
///
/// Reading does not fail: where the bytes turn out to be gone or changed, the attempt ends and the call
/// runs again.
#[derive(Debug)]
pub struct Reader {
    source: inside::Source,
    position: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins.
    start: u64,
}

impl Reader {
    fn new(source: inside::Source) -> Self {
        Self { source, position: 0, buffer: Vec::new(), start: 0 }
    }

    /// How the bytes are to be read.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.source.codec()
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.source.size()
    }

    /// The bytes from `offset` on: `length` of them, or fewer where the argument ends. Past the
    /// buffer, and without moving on.
    #[must_use]
    pub fn read_at(&self, offset: u64, length: usize) -> Vec<u8> {
        let rest = usize::try_from(self.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(rest);
        let mut bytes = self.source.read(offset, length);
        while bytes.len() < length {
            let more = self.source.read(offset + bytes.len() as u64, length - bytes.len());
            assert!(!more.is_empty(), "an argument ends before its size");
            bytes.extend_from_slice(&more);
        }
        bytes
    }
}

impl From<Value> for Reader {
    /// For tests, and for calls without a grid.
    fn from(value: Value) -> Self {
        Self::new(inside::Source::from(value))
    }
}

impl From<Vec<u8>> for Reader {
    /// Raw bytes, for tests and for calls without a grid.
    fn from(bytes: Vec<u8>) -> Self {
        Value { codec: Codec::Raw, bytes }.into()
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let inside = |this: &Self| {
            let skip = usize::try_from(this.position.checked_sub(this.start)?).ok()?;
            (skip < this.buffer.len()).then_some(skip)
        };
        if inside(self).is_none() && self.position < self.size() {
            self.buffer = self.source.read(self.position, BUFFER_BYTES);
            self.start = self.position;
        }
        Ok(inside(self).map_or(&[], |skip| &self.buffer[skip..]))
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}

impl FromValue for Reader {
    const LAZY: bool = true;

    fn from_value(value: Value) -> Result<Self, DecodeError> {
        Ok(value.into())
    }

    fn from_argument(position: u32, value: Value) -> Result<Self, DecodeError> {
        inside::Source::argument(position, value).map(Self::new)
    }
}

/// A result while it is written, through [`Write`]. A call writes one; dropped before it is finished,
/// nothing of it is left.
#[derive(Debug)]
pub struct Writer {
    sink: inside::Sink,
    codec: Codec,
    buffer: Vec<u8>,
}

impl Writer {
    /// Begins a result of raw bytes.
    ///
    /// # Errors
    /// One was begun before, or there are no objects here.
    pub fn raw() -> Result<Self, Error> {
        Self::begin(Codec::Raw)
    }

    /// Begins a result of any codec: whoever takes it will read its bytes so.
    ///
    /// # Errors
    /// One was begun before, or there are no objects here.
    pub fn begin(codec: Codec) -> Result<Self, Error> {
        Ok(Self { sink: inside::Sink::begin(codec)?, codec, buffer: Vec::new() })
    }

    /// All of it is written: give what this gives as the task's result.
    ///
    /// # Errors
    /// The worker cannot keep it.
    pub fn finish(mut self) -> Result<Written, Error> {
        self.pass_on()?;
        Ok(Written { codec: self.codec, bytes: self.sink.finish()? })
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.sink.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.pass_on()?;
        }
        match bytes.len() >= BUFFER_BYTES {
            true => bytes.chunks(BUFFER_BYTES).try_for_each(|piece| self.sink.write(piece))?,
            false => self.buffer.extend_from_slice(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.pass_on()?)
    }
}

/// A result that was written piece by piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    codec: Codec,
    /// Where they are at hand.
    bytes: Vec<u8>,
}

impl Written {
    /// How the bytes are to be read.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes, for a client that has fetched them, and natively. In the sandbox of the call that has
    /// written them there are none: the worker has them.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl IntoValue for Written {
    fn into_value(self) -> Result<Value, EncodeError> {
        Ok(Value { codec: self.codec, bytes: self.bytes })
    }
}

impl FromValue for Written {
    fn from_value(Value { codec, bytes }: Value) -> Result<Self, DecodeError> {
        Ok(Self { codec, bytes })
    }
}

macro_rules! reads {
    ($($given:ty),+) => {$(
        impl IntoArg<Reader> for $given {
            fn into_arg(self) -> ArgNode {
                IntoArg::<$given>::into_arg(self)
            }
        }

        impl IntoArg<Reader> for Call<$given> {
            fn into_arg(self) -> ArgNode {
                IntoArg::<$given>::into_arg(self)
            }
        }

        impl IntoArg<Reader> for &Call<$given> {
            fn into_arg(self) -> ArgNode {
                IntoArg::<$given>::into_arg(self)
            }
        }
    )+};
}

reads!(Raw, Value, Written);

impl IntoArg<Raw> for Call<Written> {
    fn into_arg(self) -> ArgNode {
        IntoArg::<Written>::into_arg(self)
    }
}

impl IntoArg<Raw> for &Call<Written> {
    fn into_arg(self) -> ArgNode {
        IntoArg::<Written>::into_arg(self)
    }
}
