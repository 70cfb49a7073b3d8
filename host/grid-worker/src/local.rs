//! What bundles keep on this worker beyond their calls (`wit/worker-local.wit`): by bundle and key, in
//! memory, bounded, counted.
//!
//! Who fills it pays for it: a bundle that is over its bound loses its own values, least recently used
//! first. When all together are over theirs, or the worker's memory is needed, it is the bundle that
//! holds most which loses one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grid_proto::BundleHash;
use grid_sandbox::{LocalAccess, LocalBytes, LocalError};

/// All bundles together, however much memory the machine has: more belongs into results.
const WORKER_BYTES_MAX: u64 = 512 << 20;
/// The part of a limited worker's memory that they may hold: the rest is for results and sandboxes.
const PART_OF_LIMIT: u64 = 4;
/// The part of it that one bundle may hold: there is room for another.
const PART_OF_BUNDLE: u64 = 2;
/// A value: as large as a result may be where nobody says otherwise, and so what crosses a sandbox's
/// wall in one host call.
const VALUE_BYTES_MAX: u64 = 64 << 20;
/// A key: it is a name.
const KEY_BYTES_MAX: usize = grid_proto::limits::NAME_BYTES_MAX;
/// What a value costs beside its bytes and its key: entries of two maps, the key shared by both, and
/// what the allocator adds. It also bounds how many there are.
const OVERHEAD_BYTES: u64 = 256;
/// Values that are dropped under one lock: some microseconds, for which other slots may wait.
const DROPPED_AT_ONCE: usize = 64;

/// How much may be held, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalBounds {
    pub(crate) value_bytes_max: u64,
    pub(crate) bundle_bytes_max: u64,
    pub(crate) worker_bytes_max: u64,
}

impl LocalBounds {
    /// For a worker with this limit on its memory; 0 is none.
    pub(crate) fn of_limit(limit_bytes: u64) -> Self {
        let worker_bytes_max = match limit_bytes {
            0 => WORKER_BYTES_MAX,
            limit_bytes => (limit_bytes / PART_OF_LIMIT).min(WORKER_BYTES_MAX),
        };
        let bundle_bytes_max = worker_bytes_max / PART_OF_BUNDLE;
        let value_bytes_max = VALUE_BYTES_MAX.min(bundle_bytes_max.saturating_sub(OVERHEAD_BYTES));
        Self { value_bytes_max, bundle_bytes_max, worker_bytes_max }
    }
}

/// What all bundles keep. Clones are the same memory.
#[derive(Clone)]
pub(crate) struct Locals(Arc<Shared>);

struct Shared {
    bounds: LocalBounds,
    shelves: Mutex<Shelves>,
    /// As in `shelves`, to be read without waiting for its lock.
    bytes: AtomicU64,
    values: AtomicU64,
    evicting: AtomicBool,
}

#[derive(Default)]
struct Shelves {
    of: BTreeMap<BundleHash, Shelf>,
    bytes: u64,
    values: u64,
    /// Counts uses.
    clock: u64,
}

/// What one bundle keeps. There is none for a bundle that keeps nothing.
#[derive(Default)]
struct Shelf {
    values: BTreeMap<Arc<str>, Kept>,
    /// Keys by their last use.
    by_use: BTreeMap<u64, Arc<str>>,
    bytes: u64,
}

struct Kept {
    bytes: LocalBytes,
    used: u64,
}

/// What one bundle's calls see of it.
pub(crate) struct BundleLocals {
    locals: Locals,
    bundle: BundleHash,
}

impl Locals {
    pub(crate) fn new(bounds: LocalBounds) -> Self {
        Self(Arc::new(Shared {
            bounds,
            shelves: Mutex::default(),
            bytes: AtomicU64::new(0),
            values: AtomicU64::new(0),
            evicting: AtomicBool::new(false),
        }))
    }

    /// For the calls of this bundle.
    pub(crate) fn of(&self, bundle: BundleHash) -> Arc<BundleLocals> {
        Arc::new(BundleLocals { locals: self.clone(), bundle })
    }

    /// How many values there are, and what they hold.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.0.values.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }

    /// Drops values until so many bytes are free, on a thread of its own: they may be many, and memory
    /// is looked at where nobody may wait.
    pub(crate) fn evict_aside(&self, bytes: u64) {
        if bytes == 0 || self.usage().0 == 0 || self.0.evicting.swap(true, Ordering::AcqRel) {
            return;
        }
        let locals = self.clone();
        tokio::task::spawn_blocking(move || {
            locals.evict(bytes);
            locals.0.evicting.store(false, Ordering::Release);
        });
    }

    fn evict(&self, bytes: u64) {
        let target = self.usage().1.saturating_sub(bytes);
        loop {
            let mut dropped = Vec::new();
            let enough = self.change(|shelves| {
                while shelves.bytes > target && dropped.len() < DROPPED_AT_ONCE {
                    let Some(largest) = shelves.largest() else { break };
                    dropped.extend(shelves.drop_oldest(largest));
                }
                shelves.bytes <= target
            });
            if enough || dropped.is_empty() {
                return;
            }
        }
    }

    /// Changes the shelves, and what is said of them.
    fn change<T>(&self, change: impl FnOnce(&mut Shelves) -> T) -> T {
        let mut shelves = self.lock();
        let changed = change(&mut shelves);
        self.0.bytes.store(shelves.bytes, Ordering::Relaxed);
        self.0.values.store(shelves.values, Ordering::Relaxed);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// Finds a value and notes that it was used.
    fn find(&mut self, bundle: BundleHash, key: &str) -> Option<LocalBytes> {
        let Shelf { values, by_use, .. } = self.of.get_mut(&bundle)?;
        let kept = values.get_mut(key)?;
        self.clock += 1;
        if let Some(key) = by_use.remove(&kept.used) {
            by_use.insert(self.clock, key);
        }
        kept.used = self.clock;
        Some(Arc::clone(&kept.bytes))
    }

    fn insert(&mut self, bundle: BundleHash, key: &str, bytes: LocalBytes) {
        let cost = cost(key, &bytes);
        self.clock += 1;
        let (key, used) = (Arc::<str>::from(key), self.clock);
        let shelf = self.of.entry(bundle).or_default();
        shelf.by_use.insert(used, Arc::clone(&key));
        shelf.values.insert(key, Kept { bytes, used });
        shelf.bytes += cost;
        self.bytes += cost;
        self.values += 1;
    }

    fn remove(&mut self, bundle: BundleHash, key: &str) -> Option<LocalBytes> {
        let shelf = self.of.get_mut(&bundle)?;
        let Kept { bytes, used } = shelf.values.remove(key)?;
        shelf.by_use.remove(&used);
        let cost = cost(key, &bytes);
        shelf.bytes -= cost;
        if shelf.values.is_empty() {
            self.of.remove(&bundle);
        }
        self.bytes -= cost;
        self.values -= 1;
        Some(bytes)
    }

    /// Drops the bundle's value that was used longest ago; gives it, so that it is freed elsewhere.
    fn drop_oldest(&mut self, bundle: BundleHash) -> Option<LocalBytes> {
        let oldest = self.of.get(&bundle)?.by_use.first_key_value()?;
        let oldest = Arc::clone(oldest.1);
        self.remove(bundle, &oldest)
    }

    /// The bundle that holds most.
    fn largest(&self) -> Option<BundleHash> {
        self.of.iter().max_by_key(|(_, shelf)| shelf.bytes).map(|(bundle, _)| *bundle)
    }

    fn held_by(&self, bundle: BundleHash) -> u64 {
        self.of.get(&bundle).map_or(0, |shelf| shelf.bytes)
    }

    /// Makes room for so many bytes of a bundle. Says whether there is; if not, it has dropped as many
    /// values as are dropped at once.
    fn make_room(
        &mut self,
        bundle: BundleHash,
        bytes: u64,
        bounds: LocalBounds,
        dropped: &mut Vec<LocalBytes>,
    ) -> bool {
        loop {
            let held = self.held_by(bundle) + bytes;
            let loser = if held > bounds.bundle_bytes_max {
                Some(bundle)
            } else if self.bytes + bytes > bounds.worker_bytes_max {
                // Whoever would hold most: the newcomer has no claim on what smaller ones have.
                self.largest().map(|other| match self.held_by(other) >= held {
                    true => other,
                    false => bundle,
                })
            } else {
                return true;
            };
            if dropped.len() >= DROPPED_AT_ONCE {
                return false;
            }
            // There is always one: no value is larger than its bundle may be, no bundle than all.
            let oldest = loser.and_then(|loser| {
                self.drop_oldest(loser).or_else(|| self.drop_oldest(self.largest()?))
            });
            match oldest {
                Some(bytes) => dropped.push(bytes),
                None => return true,
            }
        }
    }
}

/// What a value counts for.
fn cost(key: &str, bytes: &LocalBytes) -> u64 {
    OVERHEAD_BYTES + (key.len() + bytes.capacity()) as u64
}

impl LocalAccess for BundleLocals {
    fn get(&self, key: &str) -> Option<LocalBytes> {
        self.locals.lock().find(self.bundle, key)
    }

    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Option<LocalBytes>, LocalError> {
        let Self { locals, bundle } = self;
        let bounds = locals.0.bounds;
        if key.len() > KEY_BYTES_MAX {
            let message = format!(
                "a key of {} bytes: a worker keeps values under at most {KEY_BYTES_MAX}",
                key.len()
            );
            return Err(LocalError::OverLimit(message));
        }
        let mut bytes = bytes;
        bytes.shrink_to_fit();
        let size_bytes = (key.len() + bytes.capacity()) as u64;
        if size_bytes > bounds.value_bytes_max {
            let message = format!(
                "a value of {} bytes: this worker keeps at most {} a value; split it, or keep it as \
                 the result of a call",
                bytes.len(),
                bounds.value_bytes_max
            );
            return Err(LocalError::OverLimit(message));
        }
        let bytes = Arc::new(bytes);
        loop {
            let mut dropped = Vec::new();
            let kept = locals.change(|shelves| {
                if let Some(there) = shelves.find(*bundle, key) {
                    return Some(Some(there));
                }
                let room = shelves.make_room(*bundle, cost(key, &bytes), bounds, &mut dropped);
                room.then(|| {
                    shelves.insert(*bundle, key, Arc::clone(&bytes));
                    None
                })
            });
            if let Some(there) = kept {
                return Ok(there);
            }
        }
    }

    fn take(&self, key: &str) -> Option<LocalBytes> {
        self.locals.change(|shelves| shelves.remove(self.bundle, key))
    }
}

#[cfg(test)]
mod tests;
