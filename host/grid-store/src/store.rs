//! The store: the policy, the files, and the thread between them.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use grid_proto::{Codec, Key, ObjectMeta};
use grid_share::Sealed;

use crate::files::{Disk, Files, LocalDisk, OwnDirectory, SpillFile, Unfinished, Wake};
use crate::object::{Gauge, Object};
use crate::policy::{Marks, Place, Policy, Victim};
use crate::reader::{LoadError, RangeReader, Reader, Receiver};
use crate::writing::{Whole, Writing, Written};

/// After a write that failed, none is tried for so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How often it is said that the disk takes nothing.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Where files go; without it everything stays in memory.
    pub directory: Option<PathBuf>,
    /// Above so many counted bytes objects go to disk, least recently used first. One object that
    /// is larger goes straight there.
    pub target_bytes: u64,
    /// Bytes that files may hold together.
    pub spilled_bytes_max: u64,
}

/// What a store holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Objects, wherever they are.
    pub objects: u64,
    /// Their sizes together.
    pub stored_bytes: u64,
    /// Bytes of objects that are in memory, whoever has them: the store, calls that read them,
    /// transfers.
    pub memory_bytes: u64,
    /// Objects that have a file.
    pub spilled: u64,
    /// Their sizes together.
    pub spilled_bytes: u64,
}

/// All objects of one worker. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    policy: Mutex<Policy>,
    /// Objects that somebody reads back; whoever else wants them waits for that.
    loading: Mutex<BTreeSet<Key>>,
    loaded: Condvar,
    files: Option<Arc<Files>>,
    wake: Sender<Wake>,
    /// The thread has been woken and has not looked yet.
    woken: AtomicBool,
    gauge: Gauge,
    /// Bytes that others count: sandboxes.
    others_bytes: AtomicU64,
    target_bytes: u64,
    started: Instant,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { directory: None, target_bytes: u64::MAX, spilled_bytes_max: u64::MAX }
    }
}

impl Default for Store {
    /// Everything in memory.
    fn default() -> Self {
        Self::with(&StoreConfig::default(), None)
    }
}

impl Store {
    /// Opens a store; removes what processes that are gone have left in its directory. That is made
    /// when the first object is spilled.
    #[must_use]
    pub fn open(config: &StoreConfig) -> Self {
        Self::open_on(config, Box::new(LocalDisk))
    }

    pub(crate) fn open_on(config: &StoreConfig, disk: Box<dyn Disk>) -> Self {
        let Some(directory) = &config.directory else { return Self::with(config, None) };
        let (wake, woken) = mpsc::channel();
        let files = Arc::new(Files::open(directory, disk, wake.clone()));
        Self::with(config, Some((files, wake, woken)))
    }

    fn with(
        config: &StoreConfig,
        disk: Option<(Arc<Files>, Sender<Wake>, mpsc::Receiver<Wake>)>,
    ) -> Self {
        let (files, wake, woken) = match disk {
            Some((files, wake, woken)) => (Some(files), wake, Some(woken)),
            // Nobody listens.
            None => (None, mpsc::channel().0, None),
        };
        let target_bytes = config.target_bytes;
        let marks = Marks { target_bytes, spilled_bytes_max: config.spilled_bytes_max };
        let shared = Arc::new(Shared {
            policy: Mutex::new(Policy::new(marks)),
            loading: Mutex::default(),
            loaded: Condvar::new(),
            files,
            wake,
            woken: AtomicBool::new(false),
            gauge: Gauge::default(),
            others_bytes: AtomicU64::new(0),
            target_bytes,
            started: Instant::now(),
        });
        let writer = woken.and_then(|woken| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name("spill".to_owned());
            // Without the thread nothing is spilled, as without a directory.
            thread.spawn(move || Writer { shared, warned: None }.run(&woken)).ok()
        });
        Self { inner: Arc::new(Inner { shared, writer }) }
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Counts the bytes of objects that are made for this store.
    #[must_use]
    pub fn gauge(&self) -> &Gauge {
        &self.shared().gauge
    }

    /// Keeps an object; one of the same key goes.
    pub fn insert(&self, key: Key, object: Object) {
        self.shared().policy().insert(key, object);
        self.shared().look_if_full();
    }

    /// The object of a key if it is in memory. Cheap: the bytes are shared.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Object> {
        let place = self.shared().policy().find(key);
        match place {
            Some(Place::Memory(object)) => Some(object),
            Some(Place::File(..)) | None => None,
        }
    }

    /// The object of a key, in memory that other processes may map
    /// ([`Buffer::sealed`](crate::Buffer::sealed)): copied there when that is asked for the first time.
    /// `None` if it is not in memory.
    ///
    /// # Errors
    /// See [`Sealed::copy_of`].
    pub fn share(&self, key: &Key) -> io::Result<Option<Object>> {
        let Some(object) = self.find(key) else { return Ok(None) };
        if object.bytes.sealed().is_some() {
            return Ok(Some(object));
        }
        let reserved = self.gauge().reserve(object.meta.size);
        let sealed = Sealed::copy_of(&object.bytes)?;
        drop(reserved);
        let shared = Object::of_sealed(object.meta, sealed, self.gauge());
        let exchanged = self.shared().policy().exchange(key, &object.bytes, &shared.bytes);
        match exchanged {
            true => Ok(Some(shared)),
            // Somebody else was faster, and one copy is enough; or it is gone meanwhile.
            false => Ok(self.find(key).filter(|now| now.bytes.sealed().is_some()).or(Some(shared))),
        }
    }

    /// What is known of an object, wherever it is.
    #[must_use]
    pub fn meta(&self, key: &Key) -> Option<ObjectMeta> {
        self.shared().policy().meta(key)
    }

    /// The object of a key, read from its file if need be: may wait for a disk. An object that
    /// cannot be read is dropped.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(&self, key: &Key) -> Result<Object, LoadError> {
        let shared = self.shared();
        let mut loading = shared.loading();
        loop {
            if let Some(object) = self.find(key) {
                return Ok(object);
            }
            if loading.insert(*key) {
                break;
            }
            loading = shared.loaded.wait(loading).unwrap_or_else(PoisonError::into_inner);
        }
        drop(loading);
        let loaded = shared.read_back(key);
        shared.loading().remove(key);
        shared.loaded.notify_all();
        if matches!(loaded, Err(LoadError::Unreadable { .. } | LoadError::Changed { .. })) {
            shared.policy().remove(key);
        }
        shared.look_if_full();
        loaded
    }

    /// Reads an object piece by piece, from memory or from its file. May wait for a disk.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn reader(&self, key: &Key) -> Result<Reader, LoadError> {
        let place = self.shared().policy().find(key);
        match place {
            Some(Place::Memory(object)) => Ok(Reader::of_object(object)),
            Some(Place::File(meta, file)) => Reader::of_file(meta, file),
            None => Err(LoadError::Missing),
        }
    }

    /// Reads any parts of an object, from memory or from its file. May wait for a disk. An object that
    /// cannot be read is dropped.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn ranges(&self, key: &Key) -> Result<RangeReader, LoadError> {
        let place = self.shared().policy().find(key);
        match place {
            Some(Place::Memory(object)) => Ok(RangeReader::of_object(object)),
            Some(Place::File(meta, file)) => {
                let reader = RangeReader::of_file(meta, file, self.gauge());
                if reader.is_err() {
                    self.remove(key);
                }
                reader
            }
            None => Err(LoadError::Missing),
        }
    }

    /// Takes the bytes of an object piece by piece, of which nothing else is known before its end.
    #[must_use]
    pub fn write(&self, key: Key, codec: Codec) -> Writing {
        Writing::new(self.clone(), key, codec)
    }

    /// An empty directory beside the files of this store, for one call.
    ///
    /// # Errors
    /// What the system says of the disk; without a directory there is none.
    pub fn own_directory(&self) -> io::Result<OwnDirectory> {
        match &self.shared().files {
            Some(files) => files.own_directory(),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "this worker has no directory")),
        }
    }

    /// A file for an object that comes in pieces, with room for so many bytes.
    pub(crate) fn begin_file(&self, key: Key, bytes: u64) -> io::Result<(Unfinished, Claim)> {
        let Some(files) = &self.shared().files else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this store has no directory"));
        };
        let mut claim = Claim { store: self.clone(), bytes: 0 };
        claim.grow(bytes)?;
        Ok((files.begin(key)?, claim))
    }

    /// An object that comes in pieces has outgrown memory.
    pub(crate) fn is_over_target(&self, size: u64) -> bool {
        size > self.shared().target_bytes
    }

    /// Keeps what was written.
    pub fn insert_written(&self, written: Written) {
        match written.0 {
            Whole::Memory(key, object) => self.insert(key, object),
            Whole::File(key, meta, file, _claim) => {
                self.shared().policy().insert_file(key, meta, file);
            }
        }
    }

    /// More is in memory than should be, and some of it is on its way to disk.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let shared = self.shared();
        shared.counted_bytes() > shared.target_bytes && shared.policy().sums.writing_bytes > 0
    }

    /// Whether an object of this size has to come through a file: it would not leave room for
    /// anything else.
    #[must_use]
    pub fn is_large(&self, size: u64) -> bool {
        let shared = self.shared();
        shared.files.is_some() && size > shared.target_bytes && shared.policy().fits_disk(size)
    }

    /// Takes a large object in piece by piece. May wait for a disk.
    ///
    /// # Errors
    /// What the system says of the disk; without a directory there is none.
    pub fn receive(&self, key: Key, meta: ObjectMeta) -> io::Result<Receiver> {
        Ok(Receiver::new(key, meta, self.begin_file(key, meta.size)?))
    }

    /// Keeps what was received; says whether it was what it should be.
    ///
    /// # Errors
    /// What the system says of the disk.
    pub fn insert_received(&self, received: Receiver) -> io::Result<bool> {
        let Some(whole) = received.finish()? else { return Ok(false) };
        self.insert_written(whole);
        Ok(true)
    }

    /// Drops an object; its bytes go when the last reader is done.
    pub fn remove(&self, key: &Key) {
        self.shared().policy().remove(key);
    }

    /// Everything that is held, in the order of keys.
    #[must_use]
    pub fn metas(&self) -> Vec<(Key, ObjectMeta)> {
        self.shared().policy().metas()
    }

    /// What is held.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let policy = self.shared().policy();
        let sums = policy.sums;
        Usage {
            objects: policy.len() as u64,
            stored_bytes: sums.stored_bytes,
            memory_bytes: self.shared().gauge.bytes(),
            spilled: sums.spilled,
            spilled_bytes: sums.spilled_bytes,
        }
    }

    /// So many bytes of the process are others' than objects': they count towards the target.
    pub fn count_others(&self, bytes: u64) {
        self.shared().others_bytes.store(bytes, Ordering::Relaxed);
        self.shared().look_if_full();
    }

    /// The process holds so many bytes more than it should, though the counted ones may be few: as
    /// many go to disk.
    pub fn press(&self, bytes: u64) {
        self.shared().policy().press(bytes);
        self.shared().look();
    }

    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<(), String> {
        self.shared().policy().check()
    }

    /// A write has failed, and none is tried for a while.
    #[cfg(test)]
    pub(crate) fn is_held_off(&self) -> bool {
        self.shared().policy().is_held_off(self.shared().now_ms())
    }

    /// Waits until nothing is being written.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        while self.shared().woken.load(Ordering::Acquire)
            || self.shared().policy().sums.writing_bytes > 0
        {
            thread::yield_now();
        }
    }
}

/// Room on disk for an object that is not in the store yet.
pub(crate) struct Claim {
    store: Store,
    bytes: u64,
}

impl Claim {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: u64) -> io::Result<()> {
        if !self.store.shared().policy().claim(bytes) {
            let most = "files hold as much as they may (`--spill-limit`)";
            return Err(io::Error::new(io::ErrorKind::StorageFull, most));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.store.shared().policy().end_claim(self.bytes);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.shared.wake.send(Wake::Stop);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn policy(&self) -> MutexGuard<'_, Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loading(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted_bytes(&self) -> u64 {
        self.gauge.bytes().saturating_add(self.others_bytes.load(Ordering::Relaxed))
    }

    fn look_if_full(&self) {
        if self.counted_bytes() > self.target_bytes {
            self.look();
        }
    }

    fn look(&self) {
        if self.files.is_some() && !self.woken.swap(true, Ordering::AcqRel) {
            let _ = self.wake.send(Wake::Look);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read_back(&self, key: &Key) -> Result<Object, LoadError> {
        let place = self.policy().find(key);
        let (meta, file) = match place {
            Some(Place::Memory(object)) => return Ok(object),
            Some(Place::File(meta, file)) => (meta, file),
            None => return Err(LoadError::Missing),
        };
        let unreadable = |error| LoadError::Unreadable { path: file.path(), error };
        let mut open = file.open_whole().map_err(unreadable)?;
        let reserved = self.gauge.reserve(meta.size);
        let mut bytes = vec![0; usize::try_from(meta.size).unwrap_or(usize::MAX)];
        open.read_exact(&mut bytes).map_err(unreadable)?;
        drop(reserved);
        let object = Object::verified(meta, bytes, &self.gauge)
            .ok_or_else(|| LoadError::Changed { path: file.path() })?;
        self.policy().restored(key, &file, &object.bytes);
        Ok(object)
    }
}

/// The thread that writes: one object after the other, so that it is the disk's speed that counts.
struct Writer {
    shared: Arc<Shared>,
    warned: Option<Instant>,
}

impl Writer {
    fn run(mut self, woken: &mpsc::Receiver<Wake>) {
        let mut waiting = false;
        loop {
            // After a failure there may be nobody else to wake it.
            let wake = match waiting {
                true => woken.recv_timeout(RETRY_AFTER / 5),
                false => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wake {
                Ok(Wake::Look) | Err(RecvTimeoutError::Timeout) => waiting = self.write_all(),
                Ok(Wake::Remove(number)) => self.remove(number),
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes what should not be in memory. Says whether something that should go could not.
    fn write_all(&mut self) -> bool {
        self.shared.woken.store(false, Ordering::Release);
        loop {
            let (shared, now_ms) = (&self.shared, self.shared.now_ms());
            let victim = shared.policy().next_victim(now_ms, || shared.counted_bytes());
            let Some(Victim { key, write, object }) = victim else { break };
            let written = self.write(key, &object);
            // Its bytes are freed at once if nobody else has them.
            drop(object);
            let file = written.map_err(|error| self.warn(&error.to_string())).ok();
            let retry_after_ms = u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX);
            let retry_at_ms = self.shared.now_ms().saturating_add(retry_after_ms);
            self.shared.policy().on_written(&key, write, file, retry_at_ms);
        }
        if self.shared.policy().is_at_cap(self.shared.counted_bytes()) {
            self.warn("files hold as much as they may");
        }
        self.shared.counted_bytes() > self.shared.target_bytes
    }

    fn write(&self, key: Key, object: &Object) -> io::Result<Arc<SpillFile>> {
        let Some(files) = &self.shared.files else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let mut file = files.begin(key)?;
        file.write(&object.bytes)?;
        file.finish(object.meta, None)
    }

    fn remove(&self, number: u64) {
        if let Some(files) = &self.shared.files {
            files.remove(number);
        }
    }

    fn warn(&mut self, why: &str) {
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        let directory = self.shared.files.as_ref().map(|files| files.parent().to_owned());
        let directory = directory.unwrap_or_default();
        tracing::warn!(
            directory = %directory.display(), why,
            "objects stay in memory because they cannot be spilled; nothing is lost",
        );
    }
}
