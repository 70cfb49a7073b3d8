//! Bytes that come and go in pieces, because all of them may be more than memory has.

use std::fmt;
use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use grid_proto::{Key, ObjectMeta};

use crate::blocks::{BLOCK_BYTES, Hashing, is_block};
use crate::files::{DiskRead, HEADER_BYTES, SpillFile, Unfinished};
use crate::object::{Gauge, Object, Reserved};
use crate::store::Claim;
use crate::writing::{Whole, Written};

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
    Memory {
        object: Object,
        at: usize,
    },
    /// What it has seen is verified at the end, if it has seen all.
    File {
        file: Arc<SpillFile>,
        open: Box<dyn DiskRead>,
        at: u64,
        seen: Option<Box<Hashing>>,
    },
}

impl Reader {
    pub(crate) fn of_object(object: Object) -> Self {
        Self { meta: object.meta, source: Source::Memory { object, at: 0 } }
    }

    pub(crate) fn of_file(meta: ObjectMeta, file: Arc<SpillFile>) -> Result<Self, LoadError> {
        let open = file.open().map_err(|error| unreadable(&file, error))?;
        let seen = Some(Box::new(Hashing::new()));
        Ok(Self { meta, source: Source::File { file, open, at: 0, seen } })
    }

    /// What is read.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        self.meta
    }

    /// Passes over the next bytes, of a file without reading them: what comes after them is not verified
    /// here then, but by whoever has them.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn skip(&mut self, count: u64) -> Result<(), LoadError> {
        match &mut self.source {
            Source::Memory { object, at } => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                *at = at.saturating_add(count).min(object.bytes.len());
            }
            Source::File { .. } if count == 0 => {}
            Source::File { file, open, at, seen } => {
                let from = at.saturating_add(count).min(self.meta.size);
                let by = i64::try_from(from - *at).unwrap_or(i64::MAX);
                open.seek(SeekFrom::Current(by)).map_err(|error| unreadable(file, error))?;
                (*at, *seen) = (from, None);
            }
        }
        Ok(())
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
            Source::File { file, open, at, seen } => {
                let rest = self.meta.size - *at;
                let rest = usize::try_from(rest).unwrap_or(usize::MAX);
                let wanted = rest.min(buffer.len());
                let piece = &mut buffer[..wanted];
                open.read_exact(piece).map_err(|error| unreadable(file, error))?;
                *at += wanted as u64;
                if let Some(seen) = seen {
                    seen.add(piece);
                }
                if *at == self.meta.size && seen.as_ref().is_some_and(|it| !it.is(&self.meta)) {
                    return Err(LoadError::Changed { path: file.path() });
                }
                Ok(wanted)
            }
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.seen.bytes(), self.meta.size)
    }
}

/// A large object on its way into a file.
pub struct Receiver {
    key: Key,
    meta: ObjectMeta,
    file: Unfinished,
    claim: Claim,
    seen: Hashing,
}

impl Receiver {
    pub(crate) fn new(key: Key, meta: ObjectMeta, (file, claim): (Unfinished, Claim)) -> Self {
        Self { key, meta, file, claim, seen: Hashing::new() }
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

    /// How much of it has come.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.seen.bytes()
    }

    /// All of it has come, and it is what it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.seen.is(&self.meta)
    }

    /// All of it has come; `None` if it is not what it should be.
    pub(crate) fn finish(self) -> io::Result<Option<Written>> {
        let (hash, blocks) = self.seen.finish();
        if (self.seen.bytes(), hash) != (self.meta.size, self.meta.hash) {
            return Ok(None);
        }
        let file = self.file.finish(self.meta, Some(blocks))?;
        Ok(Some(Written(Whole::File(self.key, self.meta, file, self.claim))))
    }
}

/// An object of which any part can be read, wherever it is. Keeps it readable though the store may let
/// go of it meanwhile.
///
/// What comes from a file is verified block by block; a file of which the blocks are not known is read
/// once for that.
pub struct RangeReader {
    meta: ObjectMeta,
    source: Ranges,
}

enum Ranges {
    Memory(Object),
    File { file: Arc<SpillFile>, open: Box<dyn DiskRead>, block: Block },
}

/// The block that was read last, counted while it is kept.
struct Block {
    number: Option<usize>,
    bytes: Vec<u8>,
    _reserved: Reserved,
}

impl RangeReader {
    pub(crate) fn of_object(object: Object) -> Self {
        Self { meta: object.meta, source: Ranges::Memory(object) }
    }

    pub(crate) fn of_file(
        meta: ObjectMeta,
        file: Arc<SpillFile>,
        gauge: &Gauge,
    ) -> Result<Self, LoadError> {
        let open = file.open().map_err(|error| unreadable(&file, error))?;
        let reserved = gauge.reserve(meta.size.min(BLOCK_BYTES as u64));
        let block = Block { number: None, bytes: Vec::new(), _reserved: reserved };
        let mut reader = Self { meta, source: Ranges::File { file, open, block } };
        reader.learn_blocks()?;
        Ok(reader)
    }

    /// What is read.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        self.meta
    }

    /// Reads from `offset` on, into all of `buffer` unless the object ends before; 0 at its end and
    /// behind it. May wait for a disk.
    ///
    /// # Errors
    /// [`LoadError::Unreadable`] and [`LoadError::Changed`]; nothing of a block that has changed is given.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, LoadError> {
        let rest = self.meta.size.saturating_sub(offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..wanted];
        if let Ranges::Memory(object) = &self.source {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(object.bytes.len());
            buffer.copy_from_slice(&object.bytes[start..start + wanted]);
            return Ok(wanted);
        }
        let mut filled = 0;
        while filled < wanted {
            let at = offset + filled as u64;
            let number = usize::try_from(at / BLOCK_BYTES as u64).unwrap_or(usize::MAX);
            let bytes = &self.block(number)?[(at % BLOCK_BYTES as u64) as usize..];
            let count = bytes.len().min(wanted - filled);
            buffer[filled..filled + count].copy_from_slice(&bytes[..count]);
            filled += count;
        }
        Ok(wanted)
    }

    /// Of one block the hash is the object's. Of more, if nobody noted them when the file was written, all
    /// are read.
    fn learn_blocks(&mut self) -> Result<(), LoadError> {
        let Ranges::File { file, open, .. } = &mut self.source else { return Ok(()) };
        if self.meta.size <= BLOCK_BYTES as u64 || file.blocks().is_some() {
            return Ok(());
        }
        let (mut seen, mut piece) = (Hashing::new(), vec![0; BLOCK_BYTES]);
        while seen.bytes() < self.meta.size {
            let rest = usize::try_from(self.meta.size - seen.bytes()).unwrap_or(usize::MAX);
            let piece = &mut piece[..rest.min(BLOCK_BYTES)];
            open.read_exact(piece).map_err(|error| unreadable(file, error))?;
            seen.add(piece);
        }
        let (hash, blocks) = seen.finish();
        if hash != self.meta.hash {
            return Err(LoadError::Changed { path: file.path() });
        }
        file.note_blocks(blocks);
        Ok(())
    }

    fn block(&mut self, number: usize) -> Result<&[u8], LoadError> {
        let Ranges::File { file, open, block } = &mut self.source else { return Ok(&[]) };
        if block.number == Some(number) {
            return Ok(&block.bytes);
        }
        block.number = None;
        let start = (number * BLOCK_BYTES) as u64;
        let length = (self.meta.size - start).min(BLOCK_BYTES as u64);
        block.bytes.resize(length as usize, 0);
        open.seek(SeekFrom::Start(HEADER_BYTES as u64 + start))
            .and_then(|_| open.read_exact(&mut block.bytes))
            .map_err(|error| unreadable(file, error))?;
        let same = match file.blocks().filter(|blocks| !blocks.is_empty()) {
            Some(blocks) => is_block(blocks, number, &block.bytes),
            None => blake3::hash(&block.bytes) == self.meta.hash,
        };
        if !same {
            return Err(LoadError::Changed { path: file.path() });
        }
        block.number = Some(number);
        Ok(&block.bytes)
    }
}

fn unreadable(file: &SpillFile, error: io::Error) -> LoadError {
    LoadError::Unreadable { path: file.path(), error }
}
