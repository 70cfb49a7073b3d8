//! Blocks of an object that are cut at the ends of lines.

use std::ops::Range;

use super::pieces::Pieces;
use super::reader::Reader;
use super::{Error, Object};

/// Cuts an object of this size into blocks, all but the last of `block_bytes` bytes. A block of no bytes
/// is one of one byte.
pub fn blocks(size: u64, block_bytes: u64) -> impl ExactSizeIterator<Item = Range<u64>> {
    let block_bytes = block_bytes.max(1);
    let count = usize::try_from(size.div_ceil(block_bytes)).unwrap_or(usize::MAX);
    (0..count).map(move |number| {
        let start = number as u64 * block_bytes;
        start..size.min(start.saturating_add(block_bytes))
    })
}

/// The lines that begin in a block, each with its end (`\n`, and a `\r` before it) as it is in the object.
///
/// A line belongs to the block that its first byte lies in, however far it reaches. So the blocks of an
/// object together have each of its lines once, whatever their size, and the lines of all blocks behind
/// each other are the object. The last line needs no end.
#[derive(Debug)]
pub struct Lines {
    reader: Reader,
    block: Range<u64>,
    /// It stands at the first line of the block.
    begun: bool,
    ended: bool,
}

impl Lines {
    pub(super) fn new(object: Object, block: Range<u64>) -> Self {
        let bytes = block.end.saturating_sub(block.start);
        let reader = Reader::with_buffer(object, bytes);
        Self { reader, block, begun: false, ended: false }
    }

    /// The bytes of all lines.
    ///
    /// # Errors
    /// See [`super::ErrorKind`].
    pub fn read_to_end(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if self.begun {
            while self.read_line(&mut bytes)? {}
            return Ok(bytes);
        }
        let mut pieces = self.into_pieces();
        bytes.reserve_exact(pieces.bytes_hint());
        while let Some((_, piece)) = pieces.next()? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// The same lines in large pieces, if nobody has begun to read them.
    pub(crate) fn into_pieces(self) -> Pieces {
        Pieces::new(self.reader.into_object(), self.block)
    }

    /// Adds the next line; false at the end.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        if !self.begun {
            self.begin()?;
        }
        if self.reader.position() >= self.block.end {
            return Ok(false);
        }
        self.pass_line(|bytes| line.extend_from_slice(bytes))
    }

    /// Goes to the first line that begins in the block: behind an end of line that lies one byte before
    /// its start, or later.
    fn begin(&mut self) -> Result<(), Error> {
        self.begun = true;
        if let Some(before) = self.block.start.checked_sub(1) {
            self.reader.go_to(before);
            self.pass_line(|_| ())?;
        }
        Ok(())
    }

    /// Goes behind the next end of line; false if there was nothing.
    fn pass_line(&mut self, mut see: impl FnMut(&[u8])) -> Result<bool, Error> {
        let mut any = false;
        loop {
            let bytes = self.reader.look()?;
            if bytes.is_empty() {
                return Ok(any);
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let length = end.map_or(bytes.len(), |end| end + 1);
            see(&bytes[..length]);
            self.reader.pass(length);
            any = true;
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut line = Vec::new();
        match self.read_line(&mut line) {
            Ok(true) => Some(Ok(line)),
            Ok(false) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}
