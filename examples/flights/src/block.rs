//! Blocks of a file, aligned to lines: a line belongs to the block in which it begins, so every
//! line is read once whatever the size of the blocks, as with Dask's `read_block`.
//!
//! A line break inside of a quoted field would be taken for the end of a line. CSV files with such
//! fields cannot be cut without reading them from the start.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

/// A range of bytes of a file, and which of the blocks it is.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Its number, from 0.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last.
    pub end: u64,
}

/// Cuts a file into blocks of `block_bytes`; the last may be shorter.
#[must_use]
pub fn plan(file_bytes: u64, block_bytes: u64) -> Vec<Block> {
    let block_bytes = block_bytes.max(1);
    let starts = (0..).map(|number: u32| (number, u64::from(number) * block_bytes));
    starts
        .take_while(|(_, start)| *start < file_bytes)
        .map(|(number, start)| {
            let end = (start + block_bytes).min(file_bytes);
            Block { number, start, end }
        })
        .collect()
}

/// Reads the lines that begin in a block, and no others. Holds one buffer, not the block.
pub struct Lines<R> {
    file: R,
    /// Bytes up to the block's end.
    left: u64,
    /// The last byte that was given ended a line.
    at_line_start: bool,
}

impl<R: BufRead + Seek> Lines<R> {
    /// Goes to the first line that begins in the block.
    ///
    /// # Errors
    /// The file's own.
    pub fn new(mut file: R, block: &Block) -> io::Result<Self> {
        let mut position = block.start;
        if block.start > 0 {
            // A line begins at `start` if the byte before it ends one.
            file.seek(SeekFrom::Start(block.start - 1))?;
            position = block.start - 1 + skip_line(&mut file)?;
        }
        Ok(Self { file, left: block.end.saturating_sub(position), at_line_start: true })
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && self.at_line_start {
            return Ok(0);
        }
        let mut bytes = self.file.fill_buf()?;
        if self.left > 0 {
            bytes = &bytes[..bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
        } else if let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') {
            // The rest of the last line lies behind the block's end.
            bytes = &bytes[..=newline];
        }
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        if count > 0 {
            self.at_line_start = buffer[count - 1] == b'\n';
        }
        self.file.consume(count);
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// Reads up to the end of a line; says how many bytes that were.
fn skip_line(file: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = file.fill_buf()?;
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        let count = newline.map_or(bytes.len(), |newline| newline + 1);
        file.consume(count);
        skipped += count as u64;
        if newline.is_some() || count == 0 {
            return Ok(skipped);
        }
    }
}
