//! Native code on disk, so that a worker that starts again does not compile again.
//!
//! A file is `code of authenticity ‖ native code`. The code is BLAKE3 keyed with 32 random bytes
//! that this machine made and that never leave the directory; it covers the file's name, and so the
//! bundle, wasmtime's version and settings, and the processor's features. Whatever does not match
//! is a miss. Nothing here is an error of a call: a cache that fails is a slow start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use grid_proto::BundleHash;

use crate::error::EngineError;
use crate::native::TrustedCode;

const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "key";
const EXTENSION: &str = "native";
/// A larger file is not ours.
const FILE_BYTES_MAX: u64 = 2 << 30;

pub(crate) struct CodeCache {
    dir: PathBuf,
    key: [u8; MAC_BYTES],
    /// wasmtime's version and settings and the processor's features.
    environment: [u8; 32],
    bytes_max: u64,
}

impl CodeCache {
    pub(crate) fn open(
        dir: &Path,
        bytes_max: u64,
        engine: &wasmtime::Engine,
    ) -> Result<Self, EngineError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EngineError::Cache { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        make_private(dir).map_err(failed(dir))?;
        let key_path = dir.join(KEY_FILE);
        let key = read_or_make_key(dir, &key_path).map_err(failed(&key_path))?;
        let mut environment = Blake3Hasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut environment);
        let environment = *environment.0.finalize().as_bytes();
        Ok(Self { dir: dir.to_owned(), key, environment, bytes_max })
    }

    /// The code of a bundle, if the cache has it and made it.
    pub(crate) fn get(&self, bundle: BundleHash) -> Option<TrustedCode> {
        let name = self.name(bundle);
        let path = self.dir.join(&name);
        let mut file = File::open(&path).ok()?;
        if file.metadata().ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut code = Vec::new();
        let mut mac = [0; MAC_BYTES];
        file.read_exact(&mut mac).ok()?;
        file.read_to_end(&mut code).ok()?;
        // blake3's `Hash` compares in constant time.
        if self.mac(&name, &code) != blake3::Hash::from_bytes(mac) {
            tracing::warn!(path = %path.display(), "native code that this machine did not make: compiling again");
            return None;
        }
        // For the order in which files go.
        let _ = file.set_modified(SystemTime::now());
        Some(TrustedCode::assert_made_here(code))
    }

    /// Keeps the code of a bundle.
    pub(crate) fn put(&self, bundle: BundleHash, code: &TrustedCode) {
        let name = self.name(bundle);
        let mac = self.mac(&name, code.bytes());
        let written =
            write_whole(&self.dir, &self.dir.join(&name), &[mac.as_bytes(), code.bytes()]);
        match written {
            Ok(()) => self.make_room(&name),
            Err(error) => {
                tracing::warn!(dir = %self.dir.display(), %error, "native code is not kept")
            }
        }
    }

    fn name(&self, bundle: BundleHash) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bundle.0).update(&self.environment);
        format!("{}.{EXTENSION}", hasher.finalize().to_hex())
    }

    fn mac(&self, name: &str, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // Names have one length, so no other split hashes the same.
        hasher.update(name.as_bytes()).update(code);
        hasher.finalize()
    }

    /// Removes the files that were used longest ago until the rest fits.
    fn make_room(&self, keep: &str) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|found| found == EXTENSION))
            .filter_map(|entry| Some((entry.metadata().ok()?, entry)))
            .map(|(meta, entry)| {
                (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), entry)
            })
            .collect();
        files.sort_by_key(|(used, ..)| *used);
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, entry) in files {
            if total <= self.bytes_max {
                break;
            }
            if entry.file_name() != keep && fs::remove_file(entry.path()).is_ok() {
                total -= size;
            }
        }
    }
}

/// Nobody but this user may enter: whoever could write here could run code as this user.
fn make_private(dir: &Path) -> io::Result<()> {
    let meta = fs::metadata(dir)?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("the directory belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn read_or_make_key(dir: &Path, path: &Path) -> io::Result<[u8; MAC_BYTES]> {
    if !path.exists() {
        let mut key = [0; MAC_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        let fresh = temporary(dir);
        write_private(&fresh, &[&key])?;
        // Of several processes that start at once, one makes the key and all read it.
        let linked = fs::hard_link(&fresh, path);
        fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let found = fs::read(path)?;
    found.try_into().map_err(|_| io::Error::other("the key is damaged; remove the directory"))
}

fn write_whole(dir: &Path, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let fresh = temporary(dir);
    let written = write_private(&fresh, parts).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// A name that no other process and no other thread uses.
fn temporary(dir: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    dir.join(format!("{}-{number}.tmp", std::process::id()))
}

/// `Hash` into BLAKE3: the standard hasher is not the same in two processes.
struct Blake3Hasher(blake3::Hasher);

impl Hasher for Blake3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}
