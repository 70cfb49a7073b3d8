//! A block of lines in large pieces, each of whole lines.

use std::ops::Range;

use super::{Error, Object};

/// What is read at a time. So much is in memory, and the longest line.
const PIECE_BYTES: u64 = 1 << 20;
/// What is read beyond a block, so that its last line is nearly always there at once.
const EDGE_BYTES: u64 = 16 << 10;

/// The lines that begin in a block, behind each other.
#[derive(Debug)]
pub(crate) struct Pieces {
    object: Object,
    block: Range<u64>,
    /// Where the next line begins; it is not known before the first piece.
    start: Option<u64>,
    /// What is read next.
    at: u64,
    /// What was read from `start` on.
    rest: Vec<u8>,
}

impl Pieces {
    pub(super) fn new(object: Object, block: Range<u64>) -> Self {
        let block = block.start..block.end.min(object.size());
        // The first line begins behind an end of line, which may lie one byte before the block.
        let at = block.start.saturating_sub(1);
        let start = (block.start == 0).then_some(0);
        Self { object, block, start, at, rest: Vec::new() }
    }

    /// Bytes that all pieces have, nearly.
    pub(super) fn bytes_hint(&self) -> usize {
        let bytes = self.block.end.saturating_sub(self.block.start) + EDGE_BYTES;
        usize::try_from(bytes).unwrap_or(0)
    }

    /// The next lines, at least one, and where they begin; `None` at the end.
    ///
    /// # Errors
    /// See [`super::ErrorKind`]; then there is nothing more.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        let piece = self.read();
        if piece.is_err() {
            self.end();
        }
        piece
    }

    fn read(&mut self) -> Result<Option<(u64, Vec<u8>)>, Error> {
        loop {
            if self.start.unwrap_or(self.at) >= self.block.end {
                return Ok(None);
            }
            let left = self.block.end.saturating_sub(self.at) + EDGE_BYTES;
            let piece = self.object.read_once(self.at, left.min(PIECE_BYTES))?;
            self.at += piece.len() as u64;
            let is_end = piece.is_empty();
            match self.rest.is_empty() {
                true => self.rest = piece,
                false => self.rest.extend_from_slice(&piece),
            }
            match self.begin() {
                Some(start) => {
                    if let Some(lines) = self.take_lines(start, is_end) {
                        return Ok(Some((start, lines)));
                    }
                }
                None if is_end => self.end(),
                None => {}
            }
        }
    }

    /// Where the first line begins, if that is known: behind the first end of line.
    fn begin(&mut self) -> Option<u64> {
        if self.start.is_none() {
            match end_of_line(&self.rest, 0) {
                Some(end) => {
                    self.start = Some(self.at - (self.rest.len() - end) as u64);
                    self.rest.drain(..end);
                }
                None => self.rest.clear(),
            }
        }
        self.start
    }

    /// Takes the whole lines of what was read from there on, if there are any.
    fn take_lines(&mut self, start: u64, is_end: bool) -> Option<Vec<u8>> {
        if start >= self.block.end {
            return None;
        }
        let in_block = usize::try_from(self.block.end - start).unwrap_or(usize::MAX);
        let whole = if is_end {
            self.rest.len()
        } else if self.rest.len() >= in_block {
            // The last line is the one that the block's last byte lies in.
            end_of_line(&self.rest, in_block - 1)?
        } else {
            self.rest.iter().rposition(|&byte| byte == b'\n')? + 1
        };
        let is_last = is_end || self.rest.len() >= in_block;
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        self.start = Some(start + whole as u64);
        if is_last {
            self.end();
        }
        (!lines.is_empty()).then_some(lines)
    }

    fn end(&mut self) {
        self.start = Some(self.block.end);
        self.rest = Vec::new();
    }
}

/// Behind the first end of line from there on.
fn end_of_line(bytes: &[u8], from: usize) -> Option<usize> {
    let end = bytes[from..].iter().position(|&byte| byte == b'\n')?;
    Some(from + end + 1)
}
