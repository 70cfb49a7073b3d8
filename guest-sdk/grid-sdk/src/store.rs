//! Objects outside of the grid, by URL: `s3://bucket/key`, `file:///path` on the worker's machine, and
//! `memory://space/key` in the worker's memory, for tests.
//!
//! ```
//! use std::io::Write;
//!
//! use grid_sdk::{store, task};
//!
//! /// Counts the lines of one block of a file.
//! #[task(reads = "memory://example/in/", pure = false)]
//! pub fn count(url: String, start: u64, end: u64) -> Result<u64, store::Error> {
//!     let object = store::open(&url)?;
//!     let mut count = 0;
//!     for line in object.lines(start..end) {
//!         line?;
//!         count += 1;
//!     }
//!     Ok(count)
//! }
//!
//! grid_sdk::bundle!(count);
//! // Natively it is the same; `file://` and `memory://` are there, and nothing needs a grant.
//! let mut writer = store::create("memory://example/in/words.txt").unwrap();
//! writer.write_all(b"one\ntwo\nthree").unwrap();
//! writer.finish().unwrap();
//! let entry = store::list("memory://example/in/*.txt").unwrap().next().unwrap().unwrap();
//! let blocks = store::blocks(entry.size, 5);
//! let counts = blocks.map(|block| count(entry.url.clone(), block.start, block.end).unwrap());
//! assert_eq!(counts.sum::<u64>(), 3);
//! ```
//!
//! A task says in `reads` and `writes` which URLs it wants, each for itself and all that lies below;
//! `s3://` alone stands for all buckets. The operator of a worker grants them to the bundle:
//! `--grant-store 'BUNDLE:read:s3://bucket/prefix/'`. What is asked for and granted can be used; the
//! credentials stay with the worker.
//!
//! Names are written as they are, not encoded, without `.` and `..`. A task that reads what may change,
//! or writes, says `pure = false`.

mod glob;
mod lines;
mod pieces;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod sandbox;

#[cfg(not(target_family = "wasm"))]
use native as inside;
#[cfg(target_family = "wasm")]
use sandbox as inside;

use std::fmt;
use std::io;
use std::ops::Range;

pub use lines::{Lines, blocks};
#[cfg(feature = "csv")]
pub(crate) use pieces::Pieces;
pub use reader::Reader;
pub use writer::Writer;

/// What is read at a time by whoever reads all: less than the most that a store gives.
const CHUNK_BYTES: u64 = 4 << 20;
/// What is written at a time; the contract allows no more.
const WRITE_BYTES_MAX: usize = 512 << 10;

/// What kind of thing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// There is no such object or bucket.
    NotFound,
    /// The task does not ask for it, the operator does not grant it, or the store refuses it.
    Denied,
    /// The store does not believe the worker's credentials, or there are none.
    Credentials,
    /// The object is not any more what it was when it was opened.
    Changed,
    /// There is an object already where none should be.
    Exists,
    /// The store cannot be reached or is too busy, also after it was tried again for a while.
    Unavailable,
    /// A bound of the worker or of the store.
    OverLimit,
    /// Anything else.
    Other,
}

/// Why a store gives no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// What kind of thing went wrong.
    pub kind: ErrorKind,
    /// What it is about.
    pub url: String,
    /// Where in the object, if it was read or written.
    pub offset: Option<u64>,
    /// What happened, and what to do.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => {
                write!(formatter, "`{}` at byte {offset}: {}", self.url, self.message)
            }
            None => write!(formatter, "`{}`: {}", self.url, self.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::Denied | ErrorKind::Credentials => io::ErrorKind::PermissionDenied,
            ErrorKind::Exists => io::ErrorKind::AlreadyExists,
            ErrorKind::Unavailable => io::ErrorKind::HostUnreachable,
            ErrorKind::OverLimit => io::ErrorKind::FileTooLarge,
            ErrorKind::Changed | ErrorKind::Other => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// An object as it was when it was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its URL.
    pub url: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// An object that was opened. All reads are of the version that was found: if there is another one, they
/// fail as [`ErrorKind::Changed`].
#[derive(Debug)]
pub struct Object {
    inner: inside::Object,
    entry: Entry,
}

/// Finds an object.
///
/// # Errors
/// See [`ErrorKind`].
pub fn open(url: &str) -> Result<Object, Error> {
    let (inner, entry) = inside::open(url)?;
    Ok(Object { inner, entry })
}

/// All bytes of an object.
///
/// # Errors
/// See [`ErrorKind`].
pub fn read(url: &str) -> Result<Vec<u8>, Error> {
    let object = open(url)?;
    object.read(0..object.size())
}

impl Object {
    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.entry.url
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entry.size
    }

    /// What it is.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The bytes of a range, as far as it lies in the object.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let end = range.end.min(self.size());
        let mut at = range.start;
        while at < end {
            let piece = self.read_once(at, (end - at).min(CHUNK_BYTES))?;
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend_from_slice(&piece);
            }
        }
        Ok(bytes)
    }

    fn read_once(&self, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.inner.read(offset, u32::try_from(length).unwrap_or(u32::MAX))
    }

    /// Reads it from its start on, through a buffer.
    #[must_use]
    pub fn reader(self) -> Reader {
        Reader::new(self)
    }

    /// The lines that begin in a block.
    #[must_use]
    pub fn lines(self, block: Range<u64>) -> Lines {
        Lines::new(self, block)
    }
}

/// The lines that begin in a block of an object: see [`Lines`].
///
/// # Errors
/// See [`ErrorKind`].
pub fn lines(url: &str, block: Range<u64>) -> Result<Lines, Error> {
    Ok(open(url)?.lines(block))
}

/// Lists objects in the order of their URLs, as deep as they lie: all below a URL, or, if it holds `*`,
/// `?` or `[...]`, those that it fits. These stand for characters other than `/`; `**` between two
/// slashes stands for any number of names.
///
/// # Errors
/// See [`ErrorKind`]. That nothing is there is none.
pub fn list(url: &str) -> Result<Listing, Error> {
    let pattern = glob::Pattern::of(url);
    let below = pattern.as_ref().map_or(url, glob::Pattern::below);
    let inner = inside::list(below)?;
    Ok(Listing { inner: Some(inner), page: Vec::new().into_iter(), pattern })
}

/// Whether a URL stands for several.
#[cfg(feature = "csv")]
pub(crate) fn is_pattern(url: &str) -> bool {
    glob::Pattern::of(url).is_some()
}

/// Objects that were listed, found page by page.
#[derive(Debug)]
pub struct Listing {
    inner: Option<inside::Listing>,
    page: std::vec::IntoIter<Entry>,
    pattern: Option<glob::Pattern>,
}

impl Iterator for Listing {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let pattern = &self.pattern;
            let fits = |entry: &Entry| pattern.as_ref().is_none_or(|it| it.fits(&entry.url));
            if let Some(entry) = self.page.find(fits) {
                return Some(Ok(entry));
            }
            match self.inner.as_mut()?.next() {
                Ok(page) if page.is_empty() => self.inner = None,
                Ok(page) => self.page = page.into_iter(),
                Err(error) => {
                    self.inner = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Writes an object, as a whole or not at all, in the place of one that may be there.
///
/// # Errors
/// See [`ErrorKind`].
pub fn put(url: &str, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    put_all(url, bytes.as_ref(), false)
}

/// Writes an object where there is none. On `s3://` it has at most 8 MiB: the store looks at this only for
/// objects that come in one piece. One that knows no conditional writes, as Garage, may let two succeed
/// that write at the same moment.
///
/// # Errors
/// [`ErrorKind::Exists`] if there is one; else see there.
pub fn put_if_absent(url: &str, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
    put_all(url, bytes.as_ref(), true)
}

fn put_all(url: &str, bytes: &[u8], if_absent: bool) -> Result<(), Error> {
    if bytes.len() <= WRITE_BYTES_MAX {
        return inside::put(url, bytes, if_absent);
    }
    let mut writer = Writer::create(url, if_absent)?;
    writer.add(bytes)?;
    writer.finish()
}

/// Begins an object of any size, which is there when it is finished.
///
/// # Errors
/// See [`ErrorKind`].
pub fn create(url: &str) -> Result<Writer, Error> {
    Writer::create(url, false)
}

/// The same where there is none; on `s3://` it has at most 8 MiB.
///
/// # Errors
/// [`ErrorKind::Exists`] if there is one, at the latest when it is finished; else see there.
pub fn create_if_absent(url: &str) -> Result<Writer, Error> {
    Writer::create(url, true)
}
