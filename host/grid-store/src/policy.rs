//! What stays in memory and what goes to disk: decided here, carried out elsewhere.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use grid_proto::{Codec, Key, ObjectMeta};
use hashbrown::HashTable;
use slab::Slab;

use crate::files::SpillFile;
use crate::object::{Buffer, Object};

/// Objects that one look for the next to write passes over: those that do not fit the disk's share.
const PASSED_OVER_MAX: usize = 32;
const NOBODY: u32 = u32::MAX;

/// The bounds that an operator sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// Counted bytes above this go to disk.
    pub(crate) target_bytes: u64,
    /// Bytes that files may hold together.
    pub(crate) spilled_bytes_max: u64,
}

/// All objects of a store. Least recently used first, they form a list; those that are nowhere but in
/// a file, or on their way there, are not in it.
#[derive(Debug)]
pub(crate) struct Policy {
    marks: Marks,
    entries: Slab<Entry>,
    index: HashTable<u32>,
    hasher: RandomState,
    oldest: u32,
    newest: u32,
    pub(crate) sums: Sums,
    /// Bytes of files that are being written and belong to no object yet.
    claimed_bytes: u64,
    /// Bytes that shall leave memory though the counted ones are below the target.
    pressure_bytes: u64,
    writes: u32,
    /// No write is tried before: the last one failed.
    retry_at_ms: u64,
}

/// Sums over all objects.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Sums {
    /// Sizes of all objects, wherever they are.
    pub(crate) stored_bytes: u64,
    /// Of those that are in memory.
    pub(crate) memory_bytes: u64,
    /// Of those that are being written; they are still in memory.
    pub(crate) writing_bytes: u64,
    /// Of those that have a file.
    pub(crate) spilled_bytes: u64,
    /// How many have one.
    pub(crate) spilled: u64,
}

/// An object; there may be millions. What is known of it is taken apart: together it takes more.
#[derive(Debug)]
struct Entry {
    key: Key,
    hash: [u8; 32],
    size: u64,
    bytes: Option<Arc<Buffer>>,
    file: Option<Arc<SpillFile>>,
    /// Which write is on its way; 0 if none.
    write: u32,
    older: u32,
    newer: u32,
    codec: Codec,
}

const _: () = assert!(size_of::<Option<Entry>>() == 104, "a million of them");

impl Entry {
    fn new(
        key: Key,
        meta: ObjectMeta,
        bytes: Option<Arc<Buffer>>,
        file: Option<Arc<SpillFile>>,
    ) -> Self {
        let ObjectMeta { codec, size, hash } = meta;
        Self { key, hash, size, bytes, file, write: 0, older: NOBODY, newer: NOBODY, codec }
    }

    fn meta(&self) -> ObjectMeta {
        ObjectMeta { codec: self.codec, size: self.size, hash: self.hash }
    }
}

/// An object that shall be written, and the number to come back with.
#[derive(Clone, Debug)]
pub(crate) struct Victim {
    pub(crate) key: Key,
    pub(crate) write: u32,
    pub(crate) object: Object,
}

/// Where an object is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Object),
    File(ObjectMeta, Arc<SpillFile>),
}

impl Policy {
    pub(crate) fn new(marks: Marks) -> Self {
        Self {
            marks,
            entries: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            oldest: NOBODY,
            newest: NOBODY,
            sums: Sums::default(),
            claimed_bytes: 0,
            pressure_bytes: 0,
            writes: 0,
            retry_at_ms: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn meta(&self, key: &Key) -> Option<ObjectMeta> {
        self.id(key).map(|id| self.entry(id).meta())
    }

    /// In the order of keys.
    pub(crate) fn metas(&self) -> Vec<(Key, ObjectMeta)> {
        let mut metas: Vec<_> = self.entries.iter().map(|(_, e)| (e.key, e.meta())).collect();
        metas.sort_unstable_by_key(|(key, _)| *key);
        metas
    }

    /// Keeps an object; another one of the same key goes.
    pub(crate) fn insert(&mut self, key: Key, object: Object) {
        if let Some(id) = self.id(&key) {
            if self.entry(id).meta() == object.meta {
                return self.restore(id, object.bytes);
            }
            self.remove(&key);
        }
        let meta = object.meta;
        let id = self.add(Entry::new(key, meta, Some(object.bytes), None));
        self.sums.memory_bytes += meta.size;
        match meta.size > self.marks.target_bytes {
            // It would push out everything else: it is the next to go.
            true => self.link_oldest(id),
            false => self.link_newest(id),
        }
    }

    /// Keeps an object that has come as a file.
    pub(crate) fn insert_file(&mut self, key: Key, meta: ObjectMeta, file: Arc<SpillFile>) {
        self.remove(&key);
        self.add(Entry::new(key, meta, None, Some(file)));
        self.sums.spilled_bytes += meta.size;
        self.sums.spilled += 1;
    }

    fn add(&mut self, entry: Entry) -> u32 {
        let hash = self.hasher.hash_one(entry.key);
        self.sums.stored_bytes += entry.size;
        let id = u32::try_from(self.entries.insert(entry)).unwrap_or(NOBODY);
        let Self { index, entries, hasher, .. } = self;
        index.insert_unique(hash, id, |id| hasher.hash_one(entries[*id as usize].key));
        id
    }

    /// Where an object is; it counts as used.
    pub(crate) fn find(&mut self, key: &Key) -> Option<Place> {
        let id = self.id(key)?;
        let entry = self.entry(id);
        let meta = entry.meta();
        match (&entry.bytes, &entry.file) {
            (Some(bytes), _) => {
                let bytes = Arc::clone(bytes);
                self.touch(id);
                Some(Place::Memory(Object { meta, bytes }))
            }
            (None, Some(file)) => Some(Place::File(meta, Arc::clone(file))),
            (None, None) => None,
        }
    }

    /// The bytes of an object are elsewhere in memory now. Says whether they were those.
    pub(crate) fn exchange(&mut self, key: &Key, old: &Arc<Buffer>, new: &Arc<Buffer>) -> bool {
        let Some(id) = self.id(key) else { return false };
        let entry = &mut self.entries[id as usize];
        let same = entry.bytes.as_ref().is_some_and(|bytes| Arc::ptr_eq(bytes, old));
        if same {
            entry.bytes = Some(Arc::clone(new));
        }
        same
    }

    /// Drops an object; its bytes and its file go when the last reader is done.
    pub(crate) fn remove(&mut self, key: &Key) {
        let hash = self.hasher.hash_one(key);
        let Self { index, entries, .. } = self;
        let Ok(found) = index.find_entry(hash, |id| entries[*id as usize].key == *key) else {
            return;
        };
        let (id, _) = found.remove();
        self.unlink(id);
        let entry = self.entries.remove(id as usize);
        let size = entry.size;
        self.sums.stored_bytes -= size;
        if entry.bytes.is_some() {
            self.sums.memory_bytes -= size;
        }
        if entry.write != 0 {
            self.sums.writing_bytes -= size;
        }
        if entry.file.is_some() {
            self.sums.spilled_bytes -= size;
            self.sums.spilled -= 1;
        }
    }

    /// An object was read from this file: its bytes stay, if it is still the object's.
    pub(crate) fn restored(&mut self, key: &Key, file: &Arc<SpillFile>, bytes: &Arc<Buffer>) {
        let Some(id) = self.id(key) else { return };
        let same = self.entry(id).file.as_ref().is_some_and(|own| Arc::ptr_eq(own, file));
        // What is larger than the target would have to leave at once.
        if same && self.entry(id).size <= self.marks.target_bytes {
            self.restore(id, Arc::clone(bytes));
        }
    }

    fn restore(&mut self, id: u32, bytes: Arc<Buffer>) {
        let entry = &mut self.entries[id as usize];
        if entry.bytes.is_none() {
            entry.bytes = Some(bytes);
            self.sums.memory_bytes += entry.size;
            self.link_newest(id);
        } else {
            self.touch(id);
        }
    }

    /// The process holds so much more than it should: as much goes to disk, if there is as much.
    pub(crate) fn press(&mut self, bytes: u64) {
        self.pressure_bytes = bytes;
    }

    /// More is in memory than should be.
    fn has_excess(&self, counted_bytes: u64) -> bool {
        let staying = counted_bytes.saturating_sub(self.sums.writing_bytes);
        staying > self.marks.target_bytes || self.pressure_bytes > 0
    }

    /// The next object to write, after those that only had to be let go because they have a file.
    /// `counted_bytes` tells how much is in memory.
    pub(crate) fn next_victim(
        &mut self,
        now_ms: u64,
        counted_bytes: impl Fn() -> u64,
    ) -> Option<Victim> {
        let (mut passed_over, mut first_read) = (0, NOBODY);
        let mut id = self.oldest;
        while id != NOBODY && self.has_excess(counted_bytes()) {
            if id == first_read {
                // It has come round.
                id = NOBODY;
                break;
            }
            let entry = &self.entries[id as usize];
            let (newer, size) = (entry.newer, entry.size);
            // Somebody reads it: that it leaves the store frees nothing.
            let read = entry.bytes.as_ref().is_some_and(|bytes| Arc::strong_count(bytes) > 1);
            if read {
                passed_over += 1;
                // It is in use, so it is not among the oldest: many like it hide no others.
                self.touch(id);
                first_read = if first_read == NOBODY { id } else { first_read };
            } else if entry.file.is_some() {
                self.unlink(id);
                self.entries[id as usize].bytes = None;
                self.sums.memory_bytes -= size;
                self.pressure_bytes = self.pressure_bytes.saturating_sub(size);
            } else if now_ms >= self.retry_at_ms && self.fits_disk(size) {
                self.unlink(id);
                return self.begin_write(id);
            } else {
                passed_over += 1;
            }
            if passed_over > PASSED_OVER_MAX {
                break;
            }
            id = newer;
        }
        if id == NOBODY {
            // There is nothing left that could go.
            self.pressure_bytes = 0;
        }
        None
    }

    /// Something is in memory that should not be, and the disk would take no more of it.
    pub(crate) fn is_at_cap(&self, counted_bytes: u64) -> bool {
        self.has_excess(counted_bytes)
            && self.oldest != NOBODY
            && !self.fits_disk(self.entry(self.oldest).size)
    }

    /// Files and writes on their way leave room for this.
    pub(crate) fn fits_disk(&self, size: u64) -> bool {
        let Sums { spilled_bytes, writing_bytes, .. } = self.sums;
        let taken = spilled_bytes.saturating_add(writing_bytes).saturating_add(self.claimed_bytes);
        taken.saturating_add(size) <= self.marks.spilled_bytes_max
    }

    /// So much is about to be written to a file that no object has yet; says whether there is room.
    pub(crate) fn claim(&mut self, bytes: u64) -> bool {
        let fits = self.fits_disk(bytes);
        self.claimed_bytes += if fits { bytes } else { 0 };
        fits
    }

    pub(crate) fn end_claim(&mut self, bytes: u64) {
        self.claimed_bytes -= bytes;
    }

    fn begin_write(&mut self, id: u32) -> Option<Victim> {
        let entry = &mut self.entries[id as usize];
        let bytes = entry.bytes.clone()?;
        self.writes = self.writes.checked_add(1).unwrap_or(1);
        entry.write = self.writes;
        let (key, meta) = (entry.key, entry.meta());
        self.sums.writing_bytes += meta.size;
        self.pressure_bytes = self.pressure_bytes.saturating_sub(meta.size);
        Some(Victim { key, write: self.writes, object: Object { meta, bytes } })
    }

    /// A write has ended. Of an object that is gone meanwhile the file goes too.
    pub(crate) fn on_written(
        &mut self,
        key: &Key,
        write: u32,
        file: Option<Arc<SpillFile>>,
        retry_at_ms: u64,
    ) {
        let written = file.is_some();
        if !written {
            self.retry_at_ms = retry_at_ms;
        }
        let Some(id) = self.id(key).filter(|id| self.entry(*id).write == write) else { return };
        let entry = &mut self.entries[id as usize];
        entry.write = 0;
        entry.file = file;
        let size = entry.size;
        self.sums.writing_bytes -= size;
        if written {
            self.sums.spilled_bytes += size;
            self.sums.spilled += 1;
            let entry = &mut self.entries[id as usize];
            // Unless somebody has come to read it meanwhile.
            if entry.bytes.take_if(|bytes| Arc::strong_count(bytes) == 1).is_some() {
                self.sums.memory_bytes -= size;
            } else {
                self.link_newest(id);
            }
        } else {
            self.link_newest(id);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_held_off(&self, now_ms: u64) -> bool {
        now_ms < self.retry_at_ms
    }

    /// Verifies every invariant.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut sums = Sums::default();
        let mut listed = 0;
        for (id, entry) in &self.entries {
            let size = entry.size;
            sums.stored_bytes += size;
            sums.memory_bytes += if entry.bytes.is_some() { size } else { 0 };
            sums.writing_bytes += if entry.write != 0 { size } else { 0 };
            sums.spilled_bytes += if entry.file.is_some() { size } else { 0 };
            sums.spilled += u64::from(entry.file.is_some());
            if entry.bytes.is_none() && entry.file.is_none() {
                return Err(format!("{} is nowhere", entry.key.short()));
            }
            listed += usize::from(entry.bytes.is_some() && entry.write == 0);
            if self.id(&entry.key) != u32::try_from(id).ok() {
                return Err(format!("{} is not found", entry.key.short()));
            }
        }
        if sums != self.sums {
            return Err(format!("{sums:?} and not {:?}", self.sums));
        }
        let mut walked = 0;
        let (mut id, mut older) = (self.oldest, NOBODY);
        while id != NOBODY {
            let entry = self.entry(id);
            if entry.older != older || entry.bytes.is_none() || entry.write != 0 {
                return Err(format!("{} does not belong into the list", entry.key.short()));
            }
            walked += 1;
            (older, id) = (id, entry.newer);
        }
        if walked != listed || self.newest != older || self.index.len() != self.entries.len() {
            return Err(format!("{walked} in the list, {listed} belong there"));
        }
        Ok(())
    }

    fn id(&self, key: &Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |id| self.entries[*id as usize].key == *key).copied()
    }

    fn entry(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    fn is_listed(&self, id: u32) -> bool {
        self.entry(id).older != NOBODY || self.oldest == id
    }

    fn touch(&mut self, id: u32) {
        if self.is_listed(id) {
            self.unlink(id);
            self.link_newest(id);
        }
    }

    fn unlink(&mut self, id: u32) {
        if !self.is_listed(id) {
            return;
        }
        let Entry { older, newer, .. } = self.entries[id as usize];
        match older {
            NOBODY => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NOBODY => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        let entry = &mut self.entries[id as usize];
        (entry.older, entry.newer) = (NOBODY, NOBODY);
    }

    fn link_newest(&mut self, id: u32) {
        let older = std::mem::replace(&mut self.newest, id);
        match older {
            NOBODY => self.oldest = id,
            older => self.entries[older as usize].newer = id,
        }
        self.entries[id as usize].older = older;
    }

    fn link_oldest(&mut self, id: u32) {
        let newer = std::mem::replace(&mut self.oldest, id);
        match newer {
            NOBODY => self.newest = id,
            newer => self.entries[newer as usize].older = id,
        }
        self.entries[id as usize].newer = newer;
    }
}
