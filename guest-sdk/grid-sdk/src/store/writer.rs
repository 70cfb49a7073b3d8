//! An object that is written in pieces.

use std::io::{self, Write};

use super::{Error, WRITE_BYTES_MAX, inside};

/// An object that is being written. It is there when it is [finished](Writer::finish), as a whole; dropped
/// before, nothing of it is left.
#[derive(Debug)]
pub struct Writer {
    inner: inside::Writer,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn create(url: &str, if_absent: bool) -> Result<Self, Error> {
        Ok(Self { inner: inside::create(url, if_absent)?, buffer: Vec::new() })
    }

    pub(super) fn add(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = WRITE_BYTES_MAX - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == WRITE_BYTES_MAX {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.inner.write(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Makes it an object.
    ///
    /// # Errors
    /// See [`super::ErrorKind`]; then there is none, or the one that was there before.
    pub fn finish(mut self) -> Result<(), Error> {
        self.send()?;
        self.inner.finish()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes)?;
        Ok(bytes.len())
    }

    /// Hands on what is buffered; the object is not there before it is finished.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send()?)
    }
}
