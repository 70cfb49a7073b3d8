//! Blocks of an object that are cut at the ends of lines.

use std::ops::Range;

use super::reader::Reader;
use super::{CHUNK_BYTES, Error, Object};

/// What is read at a time to find the end of a line at an edge of a block.
const EDGE_BYTES: u64 = 16 << 10;

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
    pub fn read_to_end(self) -> Result<Vec<u8>, Error> {
        Ok(self.take_all()?.1)
    }

    /// Where the first line begins, and the bytes of all.
    pub(crate) fn take_all(mut self) -> Result<(u64, Vec<u8>), Error> {
        if !self.begun {
            return take_block(self.reader.object(), self.block);
        }
        let start = self.reader.position();
        let mut bytes = Vec::new();
        while self.read_line(&mut bytes)? {}
        Ok((start, bytes))
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

/// The same of a block that nobody has begun to read, in large pieces that are not copied line by line.
fn take_block(object: &Object, block: Range<u64>) -> Result<(u64, Vec<u8>), Error> {
    let end = block.end.min(object.size());
    // The first line begins behind an end of line, which may lie one byte before the block.
    let mut start = block.start;
    if let Some(before) = start.checked_sub(1) {
        start = before;
        while start < end {
            let piece = object.read_once(start, EDGE_BYTES)?;
            let line_end = end_of_line(&piece);
            start += line_end.unwrap_or(piece.len()) as u64;
            if line_end.is_some() || piece.is_empty() {
                break;
            }
        }
    }
    if start >= end {
        return Ok((start, Vec::new()));
    }
    let room = usize::try_from(end - start + EDGE_BYTES).unwrap_or(0);
    let mut bytes = Vec::with_capacity(room);
    let mut at = start;
    while at < end || bytes.last() != Some(&b'\n') {
        // Behind the block only the rest of a line is wanted.
        let in_block = end.saturating_sub(at).min(CHUNK_BYTES);
        let piece = object.read_once(at, if in_block > 0 { in_block } else { EDGE_BYTES })?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        let rest = if in_block > 0 { None } else { end_of_line(&piece) };
        bytes.extend_from_slice(&piece[..rest.unwrap_or(piece.len())]);
    }
    Ok((start, bytes))
}

/// How long the first line is, if it ends here.
fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n').map(|end| end + 1)
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
