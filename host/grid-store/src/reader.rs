//! Bytes that come and go in pieces, because all of them may be more than memory has.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use grid_proto::{Key, ObjectMeta};

use crate::files::{SpillFile, Unfinished};
use crate::object::Object;

/// Why an object that was there could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not in the store.
    #[error("the object is not in this worker's store")]
    Missing,
    /// Its file cannot be read.
    #[error("the spilled object in `{path}` cannot be read: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Its file does not hold what was written.
    #[error("the spilled object in `{path}` has changed on disk: its hash is not the one it had")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
}

/// An object from its first byte to its last, wherever it is. Keeps it readable though the store may
/// let go of it meanwhile.
pub struct Reader {
    meta: ObjectMeta,
    source: Source,
}

enum Source {
    Memory { object: Object, at: usize },
    File { file: Arc<SpillFile>, open: Box<dyn Read + Send>, seen: Box<Seen> },
}

/// What went through, to be compared with what should have.
struct Seen {
    hash: blake3::Hasher,
    bytes: u64,
}

impl Seen {
    fn new() -> Box<Self> {
        Box::new(Self { hash: blake3::Hasher::new(), bytes: 0 })
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn is(&self, meta: &ObjectMeta) -> bool {
        self.bytes == meta.size && *self.hash.finalize().as_bytes() == meta.hash
    }
}

impl Reader {
    pub(crate) fn of_object(object: Object) -> Self {
        Self { meta: object.meta, source: Source::Memory { object, at: 0 } }
    }

    pub(crate) fn of_file(meta: ObjectMeta, file: Arc<SpillFile>) -> Result<Self, LoadError> {
        let unreadable = |error| LoadError::Unreadable { path: file.path(), error };
        let open = file.open().map_err(unreadable)?;
        Ok(Self { meta, source: Source::File { file, open, seen: Seen::new() } })
    }

    /// What is read.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        self.meta
    }

    /// The object, if it is in memory.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match &self.source {
            Source::Memory { object, .. } => Some(object),
            Source::File { .. } => None,
        }
    }

    /// Reads on, into all of `buffer` unless the object ends before; 0 at the end. May wait for a
    /// disk.
    ///
    /// # Errors
    /// [`LoadError::Unreadable`], and [`LoadError::Changed`] with the last bytes: what came before
    /// was not what it should have been.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LoadError> {
        match &mut self.source {
            Source::Memory { object, at } => {
                let rest = &object.bytes[*at..];
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                *at += count;
                Ok(count)
            }
            Source::File { file, open, seen } => {
                let rest = usize::try_from(self.meta.size - seen.bytes).unwrap_or(usize::MAX);
                let wanted = rest.min(buffer.len());
                let piece = &mut buffer[..wanted];
                open.read_exact(piece)
                    .map_err(|error| LoadError::Unreadable { path: file.path(), error })?;
                seen.add(piece);
                if seen.bytes == self.meta.size && !seen.is(&self.meta) {
                    return Err(LoadError::Changed { path: file.path() });
                }
                Ok(wanted)
            }
        }
    }
}

/// A large object on its way into a file.
pub struct Receiver {
    key: Key,
    meta: ObjectMeta,
    file: Unfinished,
    seen: Box<Seen>,
}

impl Receiver {
    pub(crate) fn new(key: Key, meta: ObjectMeta, file: Unfinished) -> Self {
        Self { key, meta, file, seen: Seen::new() }
    }

    /// Takes the next bytes. May wait for a disk.
    ///
    /// # Errors
    /// What the system says of the disk.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seen.add(bytes);
        self.file.write(bytes)
    }

    /// What comes.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        self.meta
    }

    /// All of it has come, and it is what it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.seen.is(&self.meta)
    }

    /// All of it has come; `None` if it is not what it should be.
    pub(crate) fn finish(self) -> io::Result<Option<(Key, ObjectMeta, Arc<SpillFile>)>> {
        if !self.is_whole() {
            return Ok(None);
        }
        let file = self.file.finish()?;
        Ok(Some((self.key, self.meta, file)))
    }
}
