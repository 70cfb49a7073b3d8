//! Files of one process: each holds one object, is written once, and goes with its last reader.
//!
//! A file is written under a name of its own and gets its final one when it is whole. What earlier
//! processes left in the directory is removed at the start; a lock beside each process's folder
//! tells those that still run.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use grid_proto::{Codec, Key, ObjectMeta};
use rustix::fs::{Advice, fadvise};

use crate::blocks::Blocks;

const MAGIC: [u8; 8] = *b"GRIDOBJ1";
/// Magic, key, hash, size, codec, zeros.
pub(crate) const HEADER_BYTES: usize = 96;
const PREFIX: &str = "grid-worker-";

/// A file that is read.
pub(crate) trait DiskRead: Read + Seek + Send {}
impl<F: Read + Seek + Send> DiskRead for F {}

/// A file that is written.
pub(crate) trait DiskWrite: Write + Seek + Send {}
impl<F: Write + Seek + Send> DiskWrite for F {}

/// What the store wants of a disk. Tests bring one that fails.
pub(crate) trait Disk: Send + Sync + fmt::Debug {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskWrite>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// `whole`: all of it is about to be read.
    fn open(&self, path: &Path, whole: bool) -> io::Result<Box<dyn DiskRead>>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskWrite>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn open(&self, path: &Path, whole: bool) -> io::Result<Box<dyn DiskRead>> {
        let file = File::open(path)?;
        if whole && let Err(error) = fadvise(&file, 0, None, Advice::WillNeed) {
            tracing::debug!(%error, "a file is not read ahead");
        }
        Ok(Box::new(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// What the thread that writes is told.
#[derive(Debug)]
pub(crate) enum Wake {
    /// There may be something to write.
    Look,
    /// Nobody needs this file any more.
    Remove(u64),
    Stop,
}

/// The files of one store.
#[derive(Debug)]
pub(crate) struct Files {
    parent: PathBuf,
    /// Made with the first file: most workers never spill.
    folder: Mutex<Option<Folder>>,
    disk: Box<dyn Disk>,
    next: AtomicU64,
    wake: Sender<Wake>,
}

/// A folder that is one process's while it lives.
#[derive(Debug)]
struct Folder {
    path: Arc<Path>,
    lock: PathBuf,
    /// Held until the process ends.
    _locked: File,
}

/// One object in a file. The file goes when this does.
#[derive(Debug)]
pub(crate) struct SpillFile {
    files: Arc<Files>,
    folder: Arc<Path>,
    number: u64,
    key: Key,
    meta: ObjectMeta,
    /// Known where the bytes came in pieces, or somebody has read all of them.
    blocks: OnceLock<Blocks>,
}

/// A directory that belongs to one call. It goes when this does.
#[derive(Debug)]
pub struct OwnDirectory {
    path: PathBuf,
}

impl OwnDirectory {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "it stays until the next start");
        }
    }
}

/// A file that is not whole yet.
pub(crate) struct Unfinished {
    files: Arc<Files>,
    folder: Arc<Path>,
    number: u64,
    key: Key,
    file: Box<dyn DiskWrite>,
    whole: bool,
}

impl Files {
    /// Files below `parent`, from which those of processes that are gone are removed.
    pub(crate) fn open(parent: &Path, disk: Box<dyn Disk>, wake: Sender<Wake>) -> Self {
        if let Err(error) = sweep(parent)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(
                directory = %parent.display(), %error,
                "the directory for spilled objects cannot be looked through",
            );
        }
        let (folder, next) = (Mutex::default(), AtomicU64::new(0));
        Self { parent: parent.to_owned(), folder, disk, next, wake }
    }

    pub(crate) fn parent(&self) -> &Path {
        &self.parent
    }

    fn folder(&self) -> MutexGuard<'_, Option<Folder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claimed(&self) -> io::Result<Arc<Path>> {
        let mut folder = self.folder();
        if let Some(folder) = &*folder {
            return Ok(Arc::clone(&folder.path));
        }
        fs::create_dir_all(&self.parent)?;
        let claimed = claim(&self.parent)?;
        // Others' data: nobody else on this machine reads it.
        fs::DirBuilder::new().mode(0o700).create(&claimed.path)?;
        Ok(Arc::clone(&folder.insert(claimed).path))
    }

    /// A file for an object whose bytes come in pieces, and of which the rest is known at the end.
    pub(crate) fn begin(self: &Arc<Self>, key: Key) -> io::Result<Unfinished> {
        let folder = self.claimed()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self.disk.create(&path(&folder, number, "part"))?;
        let files = Arc::clone(self);
        let mut unfinished = Unfinished { files, folder, number, key, file, whole: false };
        unfinished.write(&[0; HEADER_BYTES])?;
        Ok(unfinished)
    }

    /// An empty directory among the files.
    pub(crate) fn own_directory(&self) -> io::Result<OwnDirectory> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = path(&self.claimed()?, number, "scratch");
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(OwnDirectory { path })
    }

    pub(crate) fn remove(&self, number: u64) {
        let Some(folder) = self.folder().as_ref().map(|folder| Arc::clone(&folder.path)) else {
            return;
        };
        if let Err(error) = self.disk.remove(&path(&folder, number, "object")) {
            tracing::debug!(%error, number, "a spilled object's file stays until the next start");
        }
    }
}

fn path(folder: &Path, number: u64, extension: &str) -> PathBuf {
    folder.join(format!("{number:016x}.{extension}"))
}

impl Drop for Files {
    fn drop(&mut self) {
        let folder = self.folder().take();
        if let Some(folder) = folder {
            let _ = fs::remove_dir_all(&folder.path);
            let _ = fs::remove_file(&folder.lock);
            // Only if it is empty.
            let _ = fs::remove_dir(&self.parent);
        }
    }
}

impl Unfinished {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// All of it is written: this object, with these blocks if somebody knows them.
    pub(crate) fn finish(
        mut self,
        meta: ObjectMeta,
        blocks: Option<Blocks>,
    ) -> io::Result<Arc<SpillFile>> {
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(&self.key, &meta))?;
        self.file.flush()?;
        let (number, key) = (self.number, self.key);
        let (files, folder) = (Arc::clone(&self.files), Arc::clone(&self.folder));
        files.disk.rename(&path(&folder, number, "part"), &path(&folder, number, "object"))?;
        self.whole = true;
        let blocks = blocks.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Arc::new(SpillFile { files, folder, number, key, meta, blocks }))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.whole {
            let _ = self.files.disk.remove(&path(&self.folder, self.number, "part"));
        }
    }
}

impl SpillFile {
    /// The bytes, from the first on. The header is verified, the bytes are not.
    pub(crate) fn open(&self) -> io::Result<Box<dyn DiskRead>> {
        self.opened(false)
    }

    /// The same; all of them are about to be read: the disk works while the first are looked at.
    pub(crate) fn open_whole(&self) -> io::Result<Box<dyn DiskRead>> {
        self.opened(true)
    }

    fn opened(&self, whole: bool) -> io::Result<Box<dyn DiskRead>> {
        let mut file = self.files.disk.open(&self.path(), whole)?;
        let mut found = [0; HEADER_BYTES];
        file.read_exact(&mut found)?;
        if found != header(&self.key, &self.meta) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is another object's"));
        }
        Ok(file)
    }

    pub(crate) fn path(&self) -> PathBuf {
        path(&self.folder, self.number, "object")
    }

    /// What its blocks are verified with, if that is known.
    pub(crate) fn blocks(&self) -> Option<&Blocks> {
        self.blocks.get()
    }

    /// Somebody has read and verified all of it.
    pub(crate) fn note_blocks(&self, blocks: Blocks) {
        let _ = self.blocks.set(blocks);
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        // Removing a large file takes its time, and whoever lets go of it may have none.
        if self.files.wake.send(Wake::Remove(self.number)).is_err() {
            self.files.remove(self.number);
        }
    }
}

fn header(key: &Key, meta: &ObjectMeta) -> [u8; HEADER_BYTES] {
    let codec = match meta.codec {
        Codec::Msgpack => 1,
        Codec::Raw => 2,
        Codec::Arrow => 3,
    };
    let mut header = [0; HEADER_BYTES];
    let parts: [&[u8]; 5] = [&MAGIC, &key.0, &meta.hash, &meta.size.to_le_bytes(), &[codec]];
    let mut at = 0;
    for part in parts {
        header[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    header
}

/// A name that no running process has, and the lock that says so.
fn claim(parent: &Path) -> io::Result<Folder> {
    let process = std::process::id();
    for number in 0.. {
        let name = format!("{PREFIX}{process}-{number}");
        let lock = parent.join(format!("{name}.lock"));
        let file = File::options().create(true).append(true).open(&lock)?;
        // Whoever sweeps may have removed the file between the two.
        let current = file.try_lock().is_ok()
            && fs::metadata(&lock).is_ok_and(|now| {
                file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (now.dev(), now.ino()))
            });
        let path = parent.join(name);
        if current && !path.exists() {
            return Ok(Folder { path: path.into(), lock, _locked: file });
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes the folders of processes that are gone.
fn sweep(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with(PREFIX) || !name.ends_with(".lock") {
            continue;
        }
        // Another worker that starts may be sweeping too.
        let Ok(file) = File::options().append(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let folder = path.with_extension("");
            if let Err(error) = fs::remove_dir_all(&folder)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(folder = %folder.display(), %error, "an old worker's files stay");
                continue;
            }
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
