//! Files that are there when all of their bytes are.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells apart the files that this process is writing.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A file on its way, beside the path that it will have; it goes with this handle.
pub(crate) struct PartialFile {
    file: File,
    path: PathBuf,
    partial: PathBuf,
    size: u64,
    done: bool,
}

impl PartialFile {
    /// # Errors
    /// What the system says.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".part-{}-{number}", std::process::id()));
        let partial = path.with_file_name(name);
        let file = File::options().write(true).create_new(true).open(&partial)?;
        Ok(Self { file, path: path.to_owned(), partial, size: 0, done: false })
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Gives it its name. Says how many bytes it has.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        fs::rename(&self.partial, &self.path)?;
        self.done = true;
        Ok(self.size)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.partial);
        }
    }
}
