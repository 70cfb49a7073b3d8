//! The arena of calls, and the index from keys to places in it. Both grow by small pieces, so that
//! no growth takes longer than a few calls.

use std::ops::{Index, IndexMut};

use grid_proto::Key;
use hashbrown::HashTable;

use crate::call::{Call, CallId};

/// Calls that are allocated together.
const PAGE_CALLS: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 8;
/// Each shard of the index grows on its own.
const SHARDS: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Calls {
    pages: Vec<Box<[Option<Call>]>>,
    free: Vec<CallId>,
    /// Only looked up, never iterated: the arena gives the order.
    index: Box<[HashTable<CallId>]>,
    seed: u64,
}

impl Calls {
    pub(crate) fn new(seed: u64) -> Self {
        let index = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { pages: Vec::new(), free: Vec::new(), index, seed }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<CallId> {
        let hash = hash(self.seed, key);
        self.index[shard(hash)].find(hash, |id| self[*id].key == *key).copied()
    }

    pub(crate) fn insert(&mut self, call: Call) -> CallId {
        let hash_of_key = hash(self.seed, &call.key);
        let id = self.free.pop().unwrap_or_else(|| self.add_page());
        *self.place(id) = Some(call);
        let (pages, seed) = (&self.pages, self.seed);
        let key_of = |id: &CallId| hash(seed, &at(pages, *id).expect("indexed").key);
        self.index[shard(hash_of_key)].insert_unique(hash_of_key, id, key_of);
        id
    }

    fn add_page(&mut self) -> CallId {
        let first = self.places();
        self.pages.push((0..PAGE_CALLS).map(|_| None).collect());
        let last = first + (PAGE_CALLS as u32 - 1);
        // The lowest is taken next.
        self.free.extend((first + 1..=last).rev().map(CallId));
        CallId(first)
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Call {
        let call = self.place(id).take().expect("only known calls are removed");
        let hash = hash(self.seed, &call.key);
        if let Ok(entry) = self.index[shard(hash)].find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.free.push(id);
        call
    }

    pub(crate) fn contains(&self, id: CallId) -> bool {
        at(&self.pages, id).is_some()
    }

    /// Places that calls may have, from 0 on.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.pages.len() << PAGE_BITS).expect("calls are bounded")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        let places = self.pages.iter().flat_map(|page| page.iter());
        places.enumerate().filter_map(|(place, call)| {
            let place = u32::try_from(place).expect("calls are bounded");
            call.as_ref().map(|call| (CallId(place), call))
        })
    }

    fn place(&mut self, id: CallId) -> &mut Option<Call> {
        &mut self.pages[(id.0 >> PAGE_BITS) as usize][id.0 as usize % PAGE_CALLS]
    }
}

fn at(pages: &[Box<[Option<Call>]>], id: CallId) -> Option<&Call> {
    pages.get((id.0 >> PAGE_BITS) as usize)?[id.0 as usize % PAGE_CALLS].as_ref()
}

impl Index<CallId> for Calls {
    type Output = Call;

    fn index(&self, id: CallId) -> &Call {
        at(&self.pages, id).expect("ids are of known calls")
    }
}

impl IndexMut<CallId> for Calls {
    fn index_mut(&mut self, id: CallId) -> &mut Call {
        self.place(id).as_mut().expect("ids are of known calls")
    }
}

/// The table looks at the top bits and the low bits of a hash; the shard at others.
fn shard(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// Keys are hashes already; the seed and a multiplication keep clients from choosing buckets.
fn hash(seed: u64, key: &Key) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    key.0
        .chunks_exact(8)
        .map(|part| u64::from_le_bytes(part.try_into().expect("eight bytes")))
        .fold(seed, |hash, part| (hash ^ part).wrapping_mul(ODD).rotate_left(29))
}
