//! What a running call may do with object stores outside of the grid. Whoever knows the stores, their
//! credentials and the operator's grants implements it; the sandbox asks it and knows none of them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// Bytes that one read gives at most.
pub const READ_BYTES_MAX: u32 = 8 << 20;
/// Bytes that one put or write takes at most: they are copied out of the guest in one piece.
pub const WRITE_BYTES_MAX: usize = 512 << 10;
/// Objects in one page of a listing.
pub const PAGE_ENTRIES_MAX: usize = 1_000;
/// Bytes of a URL: a key of S3 has 1,024 at most.
pub const URL_BYTES_MAX: usize = 2_048;

/// An answer that may take its time. Dropping it gives the operation up.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What kind of thing went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreErrorKind {
    /// There is no such object or bucket.
    NotFound,
    /// The task did not ask for it, the operator did not grant it, or the store refuses it.
    Denied,
    /// The store does not believe the worker's credentials, or there are none.
    Credentials,
    /// The object is not any more what it was when it was opened.
    Changed,
    /// There is an object already where none should be.
    Exists,
    /// The store cannot be reached, or is too busy.
    Unavailable,
    /// A bound of this worker or of the store.
    OverLimit,
    /// Anything else.
    Other,
}

/// Why there is no answer. Never holds a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreError {
    /// What kind of thing went wrong.
    pub kind: StoreErrorKind,
    /// The URL that it is about.
    pub url: String,
    /// Where in the object, if it was read or written.
    pub offset: Option<u64>,
    /// What happened, and what to do.
    pub message: String,
}

impl StoreError {
    /// An error about all of a URL.
    #[must_use]
    pub fn new(kind: StoreErrorKind, url: &str, message: impl Into<String>) -> Self {
        Self { kind, url: url.to_owned(), offset: None, message: message.into() }
    }

    /// It happened there.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "`{}` at byte {offset}: {}", self.url, self.message),
            None => write!(f, "`{}`: {}", self.url, self.message),
        }
    }
}

impl std::error::Error for StoreError {}

/// An object of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectEntry {
    /// Its URL.
    pub url: String,
    /// Its bytes.
    pub size: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
}

/// The stores that an operator lets bundles use.
pub trait ObjectStores: fmt::Debug + Send + Sync {
    /// They as one call sees them: the bundle's name, and what its task asks to read and to write.
    fn for_call(&self, bundle: &str, reads: &[String], writes: &[String]) -> Arc<dyn StoreAccess>;
}

/// The stores as a running call sees them.
pub trait StoreAccess: Send + Sync {
    /// Finds an object, which is read as it is now.
    fn open(&self, url: String) -> Answer<'_, Arc<dyn OpenObject>>;

    /// Lists what lies below a URL, in the order of the keys.
    fn list(&self, url: String) -> Answer<'_, Box<dyn ObjectListing>>;

    /// Writes an object as a whole, or not at all; with `if_absent` only where there is none.
    fn put(&self, url: String, bytes: Vec<u8>, if_absent: bool) -> Answer<'_, ()>;

    /// Begins an object that is written in pieces. It is there when it is finished.
    fn create(&self, url: String, if_absent: bool) -> Answer<'_, Box<dyn ObjectWriter>>;
}

/// An object that was found.
pub trait OpenObject: Send + Sync {
    /// What it is.
    fn entry(&self) -> &ObjectEntry;

    /// Its bytes from there on: so many or, at its end, fewer; [`READ_BYTES_MAX`] at most.
    fn read(&self, offset: u64, length: u32) -> Answer<'static, Vec<u8>>;
}

/// A listing under way.
pub trait ObjectListing: Send {
    /// The next objects, [`PAGE_ENTRIES_MAX`] at most; none at its end.
    fn next(&mut self) -> Answer<'_, Vec<ObjectEntry>>;
}

/// An object that is being written. Dropped before it is finished, nothing of it is left.
pub trait ObjectWriter: Send {
    /// Adds bytes, [`WRITE_BYTES_MAX`] at most.
    fn write(&mut self, bytes: Vec<u8>) -> Answer<'_, ()>;

    /// The object is there from now on, as a whole.
    fn finish(&mut self) -> Answer<'_, ()>;
}
