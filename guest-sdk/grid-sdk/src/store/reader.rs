//! An object as a stream of bytes.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use super::{Error, Object};

/// Bytes that are fetched at a time: each time costs a request.
const BUFFER_BYTES: u64 = 1 << 20;

/// Reads an object through a buffer; seeking costs nothing until something is read.
#[derive(Debug)]
pub struct Reader {
    object: Object,
    buffer: Vec<u8>,
    /// Where the buffer begins.
    start: u64,
    position: u64,
    buffer_bytes: u64,
}

impl Reader {
    pub(super) fn new(object: Object) -> Self {
        Self::with_buffer(object, BUFFER_BYTES)
    }

    /// With a buffer of this size, within reason.
    pub(super) fn with_buffer(object: Object, bytes: u64) -> Self {
        const LEAST: u64 = 4 << 10;
        let buffer_bytes = bytes.clamp(LEAST, BUFFER_BYTES);
        Self { object, buffer: Vec::new(), start: 0, position: 0, buffer_bytes }
    }

    /// What it reads.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    pub(super) fn into_object(self) -> Object {
        self.object
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn go_to(&mut self, position: u64) {
        self.position = position;
    }

    /// Goes on after bytes that were looked at.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.position += bytes as u64;
    }

    /// The bytes at the position; none at the end.
    pub(super) fn look(&mut self) -> Result<&[u8], Error> {
        let inside = |this: &Self| {
            let skip = usize::try_from(this.position.checked_sub(this.start)?).ok()?;
            (skip < this.buffer.len()).then_some(skip)
        };
        if inside(self).is_none() && self.position < self.object.size() {
            self.buffer = self.object.read_once(self.position, self.buffer_bytes)?;
            self.start = self.position;
        }
        Ok(inside(self).map_or(&[], |skip| &self.buffer[skip..]))
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.look()?.read(into)?;
        self.pass(read);
        Ok(read)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.look()?)
    }

    fn consume(&mut self, bytes: usize) {
        self.pass(bytes);
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.object.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the start");
        self.position = position.ok_or_else(before)?;
        Ok(self.position)
    }
}
