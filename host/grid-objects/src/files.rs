//! `file://`: files of the worker's machine, below the directory or at the file that was granted.
//!
//! Every name is resolved by the kernel from the granted directory on (`openat2`, beneath), so that no
//! link leads out of it, whoever makes it and however late. What a store of objects promises holds here
//! too: an object is there as a whole or not at all.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileType, MetadataExt, OpenOptions, OpenOptionsExt};
use grid_proto::outside::{ObjectEntry, PAGE_ENTRIES_MAX, StoreError, StoreErrorKind as Kind};

use crate::failures;
use crate::url::{StoreUrl, is_segment};

/// How files begin that are not objects yet. They are not listed and cannot be named.
const UNFINISHED: &str = ".grid-part-";
/// Entries of one directory, which are sorted in memory.
const DIRECTORY_ENTRIES_MAX: usize = 1_000_000;
/// Directories inside of each other.
const DEPTH_MAX: usize = 64;

/// A file as a call names it.
struct Place {
    /// What was granted, or the directory that holds it.
    dir: Dir,
    /// From there on; empty for the directory itself.
    path: PathBuf,
}

fn root(granted: &StoreUrl) -> PathBuf {
    Path::new("/").join(granted.key().trim_end_matches('/'))
}

/// Finds the place of a URL from the granted one on.
fn place(granted: &StoreUrl, url: &StoreUrl) -> io::Result<Place> {
    let below = granted.below(url).unwrap_or_default();
    if below.split('/').any(|name| name.starts_with(UNFINISHED)) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let root = root(granted);
    // The grant itself is the operator's: it may be a link, a directory or a single file.
    let single = !granted.key().ends_with('/') && !root.is_dir();
    let (dir, path) = match (single, root.parent(), root.file_name()) {
        (true, Some(parent), Some(name)) => (parent, Path::new(name).join(below)),
        _ => (root.as_path(), PathBuf::from(below)),
    };
    // `join` with nothing leaves a slash at the end.
    let path = path.components().collect();
    Ok(Place { dir: Dir::open_ambient_dir(dir, ambient_authority())?, path })
}

/// When and how large a file was, which changes with what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    size: u64,
    modified: (i64, i64),
}

impl Version {
    fn of(file: &File) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = file.metadata()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Self { size: metadata.len(), modified })
    }
}

/// A file that was found. Who replaces it does not change it; who writes into it does.
#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    version: Version,
    url: StoreUrl,
}

impl OpenFile {
    pub(crate) fn open(granted: &StoreUrl, url: &StoreUrl) -> Result<Self, StoreError> {
        let failed = |error: io::Error| failures::of_file(&error, url);
        let Place { dir, path } = place(granted, url).map_err(failed)?;
        if path.as_os_str().is_empty() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut options = OpenOptions::new();
        // A pipe would be waited for until somebody writes into it.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        options.read(true).custom_flags(nonblocking);
        let file = dir.open_with(&path, &options).map_err(failed)?.into_std();
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let version = Version::of(&file).map_err(failed)?;
        Ok(Self { file, version, url: url.clone() })
    }

    pub(crate) fn entry(&self) -> ObjectEntry {
        let (seconds, nanos) = self.version.modified;
        let modified_ms = u64::try_from(seconds * 1_000 + nanos / 1_000_000).unwrap_or(0);
        ObjectEntry { url: self.url.to_string(), size: self.version.size, modified_ms }
    }

    pub(crate) fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, StoreError> {
        let failed = |error: io::Error| failures::of_file(&error, &self.url).at(offset);
        let left = self.version.size.saturating_sub(offset);
        let length = usize::try_from(left.min(u64::from(length))).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, offset);
        let shorter = matches!(&read, Err(error) if error.kind() == io::ErrorKind::UnexpectedEof);
        if shorter || Version::of(&self.file).map_err(failed)? != self.version {
            return Err(failures::changed(&self.url, offset));
        }
        read.map(|()| bytes).map_err(failed)
    }
}

/// A file that becomes an object when it is finished.
#[derive(Debug)]
pub(crate) struct NewFile {
    dir: Arc<Dir>,
    unfinished: PathBuf,
    path: PathBuf,
    file: File,
    url: StoreUrl,
    written: u64,
    if_absent: bool,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already if it became the object.
        let _ = self.dir.remove_file(&self.unfinished);
    }
}

impl NewFile {
    pub(crate) fn create(
        granted: &StoreUrl,
        url: &StoreUrl,
        if_absent: bool,
    ) -> Result<Self, StoreError> {
        let failed = |error: io::Error| failures::of_file(&error, url);
        let Place { dir, path } = match place(granted, url) {
            // The directory that the operator names is made when it is first written to.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Dir::create_ambient_dir_all(root(granted), ambient_authority()).map_err(failed)?;
                place(granted, url)
            }
            place => place,
        }
        .map_err(failed)?;
        if path.as_os_str().is_empty() || dir.is_dir(&path) {
            let message = "there is a directory of this name";
            return Err(StoreError::new(Kind::Exists, &url.to_string(), message));
        }
        if if_absent && dir.symlink_metadata(&path).is_ok() {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        make_parent(&dir, parent).map_err(failed)?;
        let chance = RandomState::new().hash_one(&path);
        let unfinished = parent.join(format!("{UNFINISHED}{chance:016x}"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = dir.open_with(&unfinished, &options).map_err(failed)?.into_std();
        let (dir, url) = (Arc::new(dir), url.clone());
        Ok(Self { dir, unfinished, path, file, url, written: 0, if_absent })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| failures::of_file(&error, &self.url).at(self.written))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        let failed = |error: io::Error| failures::of_file(&error, &self.url);
        // Else a crash of the machine could leave an empty object.
        self.file.sync_data().map_err(failed)?;
        let there = if self.if_absent {
            self.dir.hard_link(&self.unfinished, &self.dir, &self.path)
        } else {
            self.dir.rename(&self.unfinished, &self.dir, &self.path)
        };
        there.map_err(failed)
    }
}

/// Makes the directory of a file, beneath the granted one.
fn make_parent(dir: &Dir, parent: &Path) -> io::Result<()> {
    if parent.as_os_str().is_empty() {
        return Ok(());
    }
    match dir.open_dir(parent) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => dir.create_dir_all(parent),
        // A link that leads out, or a file in the way.
        Err(error) => Err(error),
    }
}

/// A walk over all files below a URL, in the order of their keys.
#[derive(Debug)]
pub(crate) struct FileListing {
    url: StoreUrl,
    /// The directories that it is in, each with what is left of it, the next at the end.
    open: Vec<Vec<Name>>,
    dir: Option<Dir>,
    path: PathBuf,
}

#[derive(Debug)]
struct Name {
    name: String,
    is_dir: bool,
}

impl FileListing {
    pub(crate) fn begin(granted: &StoreUrl, url: &StoreUrl) -> Result<Self, StoreError> {
        let failed = |error: io::Error| failures::of_file(&error, url);
        let key = format!("{}/", url.key().trim_end_matches('/'));
        let url = url.with_key(if key == "/" { "" } else { &key });
        let mut listing = Self { url, open: Vec::new(), dir: None, path: PathBuf::new() };
        match place(granted, &listing.url) {
            Ok(Place { dir, path }) => {
                let dir = match path.as_os_str().is_empty() {
                    true => Ok(dir),
                    false => dir.open_dir(&path),
                };
                match dir {
                    Ok(dir) => {
                        listing.open.push(names(&dir, Path::new("."), &listing.url)?);
                        listing.dir = Some(dir);
                        Ok(listing)
                    }
                    // As in a store of objects: below a name that there is not lies nothing.
                    Err(error) if is_nothing(&error) => Ok(listing),
                    Err(error) => Err(failed(error)),
                }
            }
            Err(error) if is_nothing(&error) => Ok(listing),
            Err(error) => Err(failed(error)),
        }
    }

    /// The next page; an empty one at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut page = Vec::new();
        let Some(dir) = &self.dir else { return Ok(page) };
        while page.len() < PAGE_ENTRIES_MAX {
            let Some(names_left) = self.open.last_mut() else { break };
            let Some(Name { name, is_dir }) = names_left.pop() else {
                self.open.pop();
                self.path.pop();
                continue;
            };
            let path = self.path.join(&name);
            if is_dir {
                if self.open.len() >= DEPTH_MAX {
                    let message = format!("directories lie more than {DEPTH_MAX} deep");
                    return Err(StoreError::new(Kind::OverLimit, &self.url.to_string(), message));
                }
                self.open.push(names(dir, &path, &self.url)?);
                self.path = path;
                continue;
            }
            // What is gone by now, or leads out of the grant, is not there.
            let Ok(metadata) = dir.metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            let modified = metadata.modified().map(cap_std::time::SystemTime::into_std);
            let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified_ms = since.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0));
            let key = format!("{}{}", self.url.key(), path.display());
            let url = self.url.with_key(&key).to_string();
            page.push(ObjectEntry { url, size: metadata.size(), modified_ms });
        }
        Ok(page)
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is in a directory, last first. Links to directories are not followed: they may go in circles.
fn names(dir: &Dir, path: &Path, url: &StoreUrl) -> Result<Vec<Name>, StoreError> {
    let failed = |error: io::Error| failures::of_file(&error, url);
    let mut found = Vec::new();
    let entries = match dir.read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_nothing(&error) => return Ok(found),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // What no URL can name cannot be read either.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(UNFINISHED) || !is_segment(&name) {
            continue;
        }
        if found.len() >= DIRECTORY_ENTRIES_MAX {
            let message = format!("a directory has more than {DIRECTORY_ENTRIES_MAX} entries");
            return Err(StoreError::new(Kind::OverLimit, &url.to_string(), message));
        }
        let is_dir = entry.file_type().is_ok_and(|kind: FileType| kind.is_dir());
        found.push(Name { name, is_dir });
    }
    // A directory sorts as its keys do, with the slash behind its name.
    let key = |name: &Name| format!("{}{}", name.name, if name.is_dir { "/" } else { "" });
    found.sort_by_cached_key(|name| std::cmp::Reverse(key(name)));
    Ok(found)
}
