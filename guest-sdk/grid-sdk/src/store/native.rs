//! The twin for native runs: files of this machine, and a memory that this process shares. Nothing needs a
//! grant.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use super::{Entry, Error, ErrorKind};

/// How files begin that are not objects yet.
const UNFINISHED: &str = ".grid-part-";

type Bytes = Arc<Vec<u8>>;

/// What is in `memory://`, by URL.
fn memory() -> MutexGuard<'static, BTreeMap<String, Bytes>> {
    static MEMORY: LazyLock<Mutex<BTreeMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Place {
    File(PathBuf),
    Memory,
}

fn error(kind: ErrorKind, url: &str, message: impl Into<String>) -> Error {
    Error { kind, url: url.to_owned(), offset: None, message: message.into() }
}

/// Where a URL is. Names are as on the grid.
fn place(url: &str) -> Result<Place, Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (space, key) = rest.split_once('/').unwrap_or((rest, ""));
    let names = key.strip_suffix('/').unwrap_or(key);
    let plain = |name: &str| !matches!(name, "" | "." | "..");
    if !names.is_empty() && !names.split('/').all(plain) {
        return Err(error(ErrorKind::Denied, url, "names are whole, without `.` and `..`"));
    }
    match (scheme, space.is_empty()) {
        ("file", true) => Ok(Place::File(Path::new("/").join(key))),
        ("memory", false) => Ok(Place::Memory),
        ("file" | "memory", _) => {
            let message = "write `file:///path` or `memory://space/key`";
            Err(error(ErrorKind::Denied, url, message))
        }
        _ => {
            let message = "natively there are only `file://` and `memory://`";
            Err(error(ErrorKind::Unavailable, url, message))
        }
    }
}

fn of_file(failed: &io::Error, url: &str) -> Error {
    let kind = match failed.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            ErrorKind::NotFound
        }
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::AlreadyExists => ErrorKind::Exists,
        _ => ErrorKind::Other,
    };
    error(kind, url, failed.to_string())
}

#[derive(Debug)]
pub(super) enum Object {
    File { file: File, entry: Entry },
    Memory { bytes: Bytes, url: String },
}

fn entry(metadata: &fs::Metadata, url: &str) -> Entry {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ms = modified.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0));
    Entry { url: url.to_owned(), size: metadata.len(), modified_ms }
}

pub(super) fn open(url: &str) -> Result<(Object, Entry), Error> {
    match place(url)? {
        Place::File(path) => {
            let failed = |failed: io::Error| of_file(&failed, url);
            let file = File::open(path).map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if !metadata.is_file() {
                return Err(error(ErrorKind::NotFound, url, "there is no such file"));
            }
            let entry = entry(&metadata, url);
            Ok((Object::File { file, entry: entry.clone() }, entry))
        }
        Place::Memory => {
            let found = memory().get(url).map(Arc::clone);
            let bytes =
                found.ok_or_else(|| error(ErrorKind::NotFound, url, "there is no such object"))?;
            let url = url.to_owned();
            let entry = Entry { url: url.clone(), size: bytes.len() as u64, modified_ms: 0 };
            Ok((Object::Memory { bytes, url }, entry))
        }
    }
}

impl Object {
    pub(super) fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        match self {
            Self::File { file, entry } => read_file(file, entry, offset, length),
            Self::Memory { bytes, url } => {
                if !memory().get(url).is_some_and(|now| Arc::ptr_eq(now, bytes)) {
                    return Err(changed(url, offset));
                }
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(length as usize).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
        }
    }
}

fn read_file(file: &File, found: &Entry, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
    use std::io::{Read, Seek, SeekFrom};
    let failed = |failed: io::Error| {
        let error = of_file(&failed, &found.url);
        Error { offset: Some(offset), ..error }
    };
    let left = found.size.saturating_sub(offset).min(u64::from(length));
    let mut bytes = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    file.take(left).read_to_end(&mut bytes).map_err(failed)?;
    let now = entry(&file.metadata().map_err(failed)?, &found.url);
    if now != *found || bytes.len() as u64 != left {
        return Err(changed(&found.url, offset));
    }
    Ok(bytes)
}

fn changed(url: &str, offset: u64) -> Error {
    let error = error(ErrorKind::Changed, url, "it was changed while it was read");
    Error { offset: Some(offset), ..error }
}

/// All at once.
#[derive(Debug)]
pub(super) struct Listing(Vec<Entry>);

impl Listing {
    pub(super) fn next(&mut self) -> Result<Vec<Entry>, Error> {
        Ok(std::mem::take(&mut self.0))
    }
}

pub(super) fn list(url: &str) -> Result<Listing, Error> {
    let below = format!("{}/", url.trim_end_matches('/'));
    let mut found = Vec::new();
    match place(url)? {
        Place::File(path) => walk(&path, &below, &mut found)?,
        Place::Memory => {
            for (url, bytes) in memory().range(below.clone()..) {
                if !url.starts_with(&below) {
                    break;
                }
                let size = bytes.len() as u64;
                found.push(Entry { url: url.clone(), size, modified_ms: 0 });
            }
        }
    }
    found.sort_by(|one, other| one.url.cmp(&other.url));
    Ok(Listing(found))
}

/// Links to directories are not followed.
fn walk(dir: &Path, url: &str, found: &mut Vec<Entry>) -> Result<(), Error> {
    let failed = |failed: io::Error| of_file(&failed, url);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            let error = failed(error);
            return if error.kind == ErrorKind::NotFound { Ok(()) } else { Err(error) };
        }
    };
    for item in entries {
        let item = item.map_err(failed)?;
        let Ok(name) = item.file_name().into_string() else { continue };
        if name.starts_with(UNFINISHED) {
            continue;
        }
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&item.path(), &format!("{url}{name}/"), found)?;
        } else if let Ok(metadata) = fs::metadata(item.path())
            && metadata.is_file()
        {
            found.push(entry(&metadata, &format!("{url}{name}")));
        }
    }
    Ok(())
}

pub(super) fn put(url: &str, bytes: &[u8], if_absent: bool) -> Result<(), Error> {
    let mut writer = create(url, if_absent)?;
    writer.write(bytes)?;
    writer.finish()
}

/// An object that is not there yet.
#[derive(Debug)]
pub(super) struct Writer {
    url: String,
    if_absent: bool,
    pen: Pen,
}

#[derive(Debug)]
enum Pen {
    File { file: File, unfinished: PathBuf, path: PathBuf },
    Memory(Vec<u8>),
}

pub(super) fn create(url: &str, if_absent: bool) -> Result<Writer, Error> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let exists = || error(ErrorKind::Exists, url, "there is an object already");
    if url.ends_with('/') {
        return Err(error(ErrorKind::NotFound, url, "it names no object"));
    }
    let pen = match place(url)? {
        Place::File(path) => {
            if path.is_dir() || if_absent && path.symlink_metadata().is_ok() {
                return Err(exists());
            }
            let failed = |failed: io::Error| of_file(&failed, url);
            let parent = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).map_err(failed)?;
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{UNFINISHED}{}-{number}", std::process::id());
            let unfinished = parent.join(name);
            let file = File::create(&unfinished).map_err(failed)?;
            Pen::File { file, unfinished, path }
        }
        Place::Memory if if_absent && memory().contains_key(url) => return Err(exists()),
        Place::Memory => Pen::Memory(Vec::new()),
    };
    Ok(Writer { url: url.to_owned(), if_absent, pen })
}

impl Writer {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.pen {
            Pen::File { file, .. } => {
                file.write_all(bytes).map_err(|failed| of_file(&failed, &self.url))
            }
            Pen::Memory(written) => {
                written.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match &mut self.pen {
            Pen::File { unfinished, path, .. } => {
                let there = match self.if_absent {
                    true => fs::hard_link(&*unfinished, &*path),
                    false => fs::rename(&*unfinished, &*path),
                };
                there.map_err(|failed| of_file(&failed, &self.url))
            }
            Pen::Memory(written) => {
                let mut memory = memory();
                if self.if_absent && memory.contains_key(&self.url) {
                    return Err(error(ErrorKind::Exists, &self.url, "there is an object already"));
                }
                memory.insert(self.url.clone(), Arc::new(std::mem::take(written)));
                Ok(())
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Pen::File { unfinished, .. } = &self.pen {
            // Gone already if it became the object.
            let _ = fs::remove_file(unfinished);
        }
    }
}
