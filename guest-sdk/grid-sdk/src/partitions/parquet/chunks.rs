//! Columns of one row group, read from the store a window at a time.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::super::error;
use crate::store::{Error, ErrorKind, Object};

/// What is read of a column at once. So much of each column is in memory, or a page if that is larger.
const WINDOW_BYTES: u64 = 1 << 20;
/// A page's header begins with three numbers, each with a byte in front of it.
const HEADER_BYTES: u64 = 3 * 6;
/// In front of a number of 32 bits that is the field behind the last one (Thrift's compact protocol).
const NEXT_I32: u8 = 0x15;
/// What a page may have uncompressed whatever it has compressed.
const PAGE_BYTES_FREE: u64 = 64 << 10;

/// A file as far as a reader of one row group sees it; clones are the same.
#[derive(Clone)]
pub(super) struct Chunks(Arc<Shared>);

struct Shared {
    object: Arc<Object>,
    /// By place.
    chunks: Vec<Chunk>,
    /// What the store has refused: the crate would make a text of it.
    failed: Mutex<Option<Error>>,
    /// Where the last page begins that was asked for.
    page: AtomicU64,
}

struct Chunk {
    place: Range<u64>,
    /// How many bytes one byte can stand for; `None` if bytes are what they are.
    ratio_max: Option<u64>,
    window: Mutex<(u64, Bytes)>,
}

/// Where a chunk lies, and how many bytes one byte of it can stand for; `None` if bytes are what they are.
pub(super) type Place = (Range<u64>, Option<u64>);

/// How many bytes one byte can stand for, of those that can be read.
pub(super) fn ratio_max(compression: Compression) -> Option<Option<u64>> {
    match compression {
        Compression::UNCOMPRESSED => Some(None),
        // Three bytes copy up to 64.
        Compression::SNAPPY => Some(Some(22)),
        Compression::GZIP(_)
        | Compression::LZO
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::ZSTD(_)
        | Compression::LZ4_RAW => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chunks {
    pub(super) fn new(object: Arc<Object>, chunks: impl IntoIterator<Item = Place>) -> Self {
        let chunk =
            |(place, ratio_max): Place| Chunk { place, ratio_max, window: Mutex::default() };
        let mut chunks: Vec<_> = chunks.into_iter().map(chunk).collect();
        chunks.sort_by_key(|chunk| chunk.place.start);
        let page = AtomicU64::new(chunks.first().map_or(0, |chunk| chunk.place.start));
        Self(Arc::new(Shared { object, chunks, failed: Mutex::default(), page }))
    }

    /// The error of the store, if one has happened.
    pub(super) fn take_failed(&self) -> Option<Error> {
        lock(&self.0.failed).take()
    }

    /// Where the last page begins that was asked for.
    pub(super) fn page(&self) -> u64 {
        self.0.page.load(Ordering::Relaxed)
    }

    fn wrong(&self, at: u64, message: impl Into<String>) -> Error {
        error(ErrorKind::Other, self.0.object.url(), Some(at), message)
    }

    fn chunk_at(&self, at: u64) -> Result<&Chunk, Error> {
        let behind = self.0.chunks.partition_point(|chunk| chunk.place.start <= at);
        let chunk = behind.checked_sub(1).map(|number| &self.0.chunks[number]);
        let chunk = chunk.filter(|chunk| at < chunk.place.end);
        chunk.ok_or_else(|| self.wrong(at, "a page lies outside of its column"))
    }

    /// What there is in memory from there on, at least so many bytes.
    fn look(&self, chunk: &Chunk, at: u64, length: u64) -> Result<Bytes, Error> {
        if length > chunk.place.end - at {
            return Err(self.wrong(at, "a page reaches beyond the end of its column"));
        }
        let mut window = lock(&chunk.window);
        let inside = |(start, bytes): &(u64, Bytes)| {
            let skip = usize::try_from(at.checked_sub(*start)?).ok()?;
            (skip as u64 + length <= bytes.len() as u64).then_some(skip)
        };
        if inside(&window).is_none() {
            let end = chunk.place.end.min(at + length.max(WINDOW_BYTES));
            // The old one is not needed while the new one is read.
            *window = (at, Bytes::new());
            *window = (at, self.0.object.read(at..end)?.into());
        }
        match inside(&window) {
            Some(skip) => Ok(window.1.slice(skip..)),
            None => Err(self.wrong(at, "the file ends within a page")),
        }
    }

    /// Looks at a page's header before the crate makes room for what it says.
    fn check(&self, chunk: &Chunk, at: u64) -> Result<(), Error> {
        self.0.page.store(at, Ordering::Relaxed);
        let Some(ratio_max) = chunk.ratio_max else { return Ok(()) };
        let bytes = self.look(chunk, at, HEADER_BYTES.min(chunk.place.end - at))?;
        let [_, uncompressed, compressed] = first_numbers(&bytes)
            .ok_or_else(|| self.wrong(at, "here a page should begin, and none does"))?;
        if uncompressed > compressed.saturating_mul(ratio_max).saturating_add(PAGE_BYTES_FREE) {
            let message = format!(
                "a page cannot have {uncompressed} bytes that are compressed to {compressed}"
            );
            return Err(self.wrong(at, message));
        }
        Ok(())
    }

    /// Keeps an error for whoever asks later.
    fn note<T>(&self, ended: Result<T, Error>) -> Result<T, ParquetError> {
        ended.map_err(|failed| {
            let told = ParquetError::General(failed.to_string());
            lock(&self.0.failed).get_or_insert(failed);
            told
        })
    }
}

/// The first three numbers of a page's header: its type, its bytes uncompressed and compressed. Those that are
/// negative come out as large ones.
fn first_numbers(bytes: &[u8]) -> Option<[u64; 3]> {
    let mut bytes = bytes.iter();
    let mut numbers = [0; 3];
    for number in &mut numbers {
        if *bytes.next()? != NEXT_I32 {
            return None;
        }
        let mut zigzag = 0;
        for shift in (0..35).step_by(7) {
            let byte = *bytes.next()?;
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        *number = if zigzag & 1 == 0 { zigzag >> 1 } else { u64::MAX };
    }
    Some(numbers)
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.object.size()
    }
}

impl ChunkReader for Chunks {
    type T = Page;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Page> {
        Ok(Page { chunks: self.clone(), at: start, bytes: Bytes::new(), begun: false })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let read = || {
            let chunk = self.chunk_at(start)?;
            Ok(self.look(chunk, start, length as u64)?.slice(..length))
        };
        if length == 0 { Ok(Bytes::new()) } else { self.note(read()) }
    }
}

/// A page's header, read from its beginning.
pub(super) struct Page {
    chunks: Chunks,
    at: u64,
    bytes: Bytes,
    begun: bool,
}

impl Page {
    /// What there is from here on.
    fn more(&mut self) -> Result<(), Error> {
        let chunk = self.chunks.chunk_at(self.at)?;
        if !std::mem::replace(&mut self.begun, true) {
            self.chunks.check(chunk, self.at)?;
        }
        self.bytes = self.chunks.look(chunk, self.at, 1)?;
        self.at += self.bytes.len() as u64;
        Ok(())
    }
}

impl Read for Page {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && !into.is_empty() {
            let more = self.more();
            self.chunks.note(more).map_err(io::Error::other)?;
        }
        let count = into.len().min(self.bytes.len());
        into[..count].copy_from_slice(&self.bytes.split_to(count));
        Ok(count)
    }
}
