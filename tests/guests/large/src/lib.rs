//! Tasks with little memory whose arguments and results have more.

use std::cell::RefCell;
use std::io::{Read, Write};

use grid_sdk::objects::{Error, Reader, Writer, Written};
use grid_sdk::{Raw, task};

/// FNV-1a, as tests compute it too.
#[must_use]
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Where that begins.
pub const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// How many bytes there are, and their hash; from the first to the last.
#[task(memory = "8MiB", timeout = "5min")]
pub fn digest(data: Reader) -> (u64, u64) {
    let (mut data, mut piece, mut digest) = (data, vec![0; 64 << 10], (0, FNV));
    loop {
        let count = data.read(&mut piece).expect("it does not fail");
        if count == 0 {
            assert_eq!(digest.0, data.size());
            return digest;
        }
        digest = (digest.0 + count as u64, fnv(digest.1, &piece[..count]));
    }
}

/// Some of the bytes.
#[task(memory = "8MiB")]
pub fn part(data: Reader, offset: u64, length: usize) -> Raw {
    Raw(data.read_at(offset, length))
}

/// Whether both are the same, one read and one given.
#[task(memory = "16MiB")]
pub fn same(read: Reader, given: Raw) -> bool {
    read.read_at(0, usize::MAX) == given.0
}

/// So many bytes that nobody else has.
#[task(memory = "8MiB", timeout = "5min")]
pub fn fill(seed: u64, size: u64) -> Result<Written, Error> {
    let (mut writer, mut state, mut left) = (Writer::raw()?, seed, size);
    let mut piece = Vec::with_capacity(64 << 10);
    while left > 0 {
        piece.clear();
        while piece.len() < 64 << 10 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            piece.extend_from_slice(&(state >> 11).to_le_bytes());
        }
        let length = left.min(piece.len() as u64) as usize;
        writer.write_all(&piece[..length])?;
        left -= length as u64;
    }
    writer.finish()
}

/// The same bytes, each of them turned over.
#[task(memory = "8MiB", timeout = "5min")]
pub fn flip(data: Reader) -> Result<Written, Error> {
    let (mut data, mut writer, mut piece) = (data, Writer::raw()?, vec![0; 64 << 10]);
    loop {
        let count = data.read(&mut piece)?;
        if count == 0 {
            return writer.finish();
        }
        piece.iter_mut().for_each(|byte| *byte = !*byte);
        writer.write_all(&piece[..count])?;
    }
}

/// Begins a result and does not end it.
#[task(memory = "8MiB", pure = false)]
pub fn gives_up(size: usize) -> Result<u64, Error> {
    let mut writer = Writer::raw()?;
    writer.write_all(&vec![1; size])?;
    drop(writer);
    Ok(7)
}

/// Begins two results.
#[task(memory = "8MiB")]
pub fn two() -> Result<Written, Error> {
    let first = Writer::raw()?;
    Writer::raw()?.finish()?;
    first.finish()
}

/// Writes a result and traps.
#[task(memory = "8MiB", pure = false)]
pub fn traps(size: u64) -> Result<Written, Error> {
    drop(fill(1, size)?);
    panic!("after all was written")
}

thread_local! {
    static KEPT: RefCell<Option<Reader>> = const { RefCell::new(None) };
}

/// Reads through what an earlier call in the same instance has kept, and keeps its own.
#[task(memory = "8MiB", pure = false, resident)]
pub fn keeps(data: Reader) -> usize {
    KEPT.with_borrow_mut(|kept| {
        let read = kept.take().map_or(0, |kept| kept.read_at(0, 100).len());
        *kept = Some(data);
        read
    })
}

grid_sdk::bundle!(digest, part, same, fill, flip, gives_up, two, traps, keeps);
