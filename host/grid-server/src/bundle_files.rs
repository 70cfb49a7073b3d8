//! Bundles on disk: `HASH.wasm`, and `HASH.json` once a worker has accepted it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use grid_proto::{BundleDescription, BundleHash};

use crate::error::ServerError;

/// The directory of bundles.
#[derive(Debug)]
pub(crate) struct BundleFiles {
    directory: PathBuf,
    temporary: AtomicU32,
}

/// A bundle that was accepted in an earlier run.
pub(crate) struct Restored {
    pub(crate) hash: BundleHash,
    pub(crate) size_bytes: u64,
    pub(crate) description: BundleDescription,
}

impl BundleFiles {
    /// Opens the directory, making it if need be, and clears what an interrupted write left.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, ServerError> {
        let directory = state_dir.join("bundles");
        let broken = |source| ServerError::State { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(broken)?;
        for entry in fs::read_dir(&directory).map_err(broken)? {
            let path = entry.map_err(broken)?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).map_err(broken)?;
            }
        }
        Ok(Self { directory, temporary: AtomicU32::new(0) })
    }

    /// Accepted bundles in the order of their acceptance, so that names point where they did.
    pub(crate) fn restore(&self) -> Vec<Restored> {
        let mut found = Vec::new();
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "json") {
                match read_description(&path) {
                    Ok((accepted, restored)) => found.push((accepted, restored)),
                    Err(error) => tracing::warn!(path = %path.display(), %error, "ignored"),
                }
            }
        }
        found.sort_by_key(|(accepted, restored)| (*accepted, restored.hash));
        found.into_iter().map(|(_, restored)| restored).collect()
    }

    pub(crate) fn has(&self, hash: BundleHash) -> Option<u64> {
        fs::metadata(self.path(hash, "wasm")).ok().map(|metadata| metadata.len())
    }

    pub(crate) fn read(&self, hash: BundleHash) -> io::Result<Vec<u8>> {
        fs::read(self.path(hash, "wasm"))
    }

    /// Writes the bytes of a bundle, whole or not at all.
    pub(crate) fn save(&self, hash: BundleHash, bytes: &[u8]) -> Result<(), ServerError> {
        self.write(&self.path(hash, "wasm"), bytes)
    }

    /// Remembers that a bundle was accepted.
    pub(crate) fn accept(
        &self,
        hash: BundleHash,
        description: &BundleDescription,
    ) -> Result<(), ServerError> {
        let path = self.path(hash, "json");
        match serde_json::to_vec_pretty(description) {
            Ok(text) => self.write(&path, &text),
            Err(error) => Err(ServerError::State { path, source: error.into() }),
        }
    }

    pub(crate) fn remove(&self, hash: BundleHash) {
        for kind in ["json", "wasm"] {
            let _ = fs::remove_file(self.path(hash, kind));
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), ServerError> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.tmp", std::process::id());
        let temporary = self.directory.join(name);
        let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|source| ServerError::State { path: path.to_owned(), source })
    }

    fn path(&self, hash: BundleHash, kind: &str) -> PathBuf {
        self.directory.join(format!("{hash}.{kind}"))
    }
}

fn read_description(path: &Path) -> io::Result<(std::time::SystemTime, Restored)> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let hash: BundleHash = stem.parse().map_err(|error| invalid(&error))?;
    let description = serde_json::from_slice(&fs::read(path)?)?;
    let size_bytes = fs::metadata(path.with_extension("wasm"))?.len();
    let accepted = fs::metadata(path)?.modified()?;
    Ok((accepted, Restored { hash, size_bytes, description }))
}
