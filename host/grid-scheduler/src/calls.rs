//! The arena of calls, and the index from keys to places in it.

use std::ops::{Index, IndexMut};

use grid_proto::Key;
use hashbrown::HashTable;
use slab::Slab;

use crate::call::{Call, CallId};

#[derive(Debug)]
pub(crate) struct Calls {
    slab: Slab<Call>,
    /// Only looked up, never iterated: the arena gives the order.
    index: HashTable<CallId>,
    seed: u64,
}

impl Calls {
    pub(crate) fn new(seed: u64) -> Self {
        Self { slab: Slab::new(), index: HashTable::new(), seed }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<CallId> {
        let found = self.index.find(hash(self.seed, key), |id| self[*id].key == *key);
        found.copied()
    }

    pub(crate) fn insert(&mut self, call: Call) -> CallId {
        let key = call.key;
        let id = CallId(u32::try_from(self.slab.insert(call)).expect("calls are bounded"));
        let (slab, seed) = (&self.slab, self.seed);
        self.index.insert_unique(hash(seed, &key), id, |id| hash(seed, &slab[id.0 as usize].key));
        id
    }

    pub(crate) fn remove(&mut self, id: CallId) -> Call {
        let call = self.slab.remove(id.0 as usize);
        if let Ok(entry) = self.index.find_entry(hash(self.seed, &call.key), |other| *other == id) {
            entry.remove();
        }
        call
    }

    pub(crate) fn contains(&self, id: CallId) -> bool {
        self.slab.contains(id.0 as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CallId, &Call)> {
        self.slab
            .iter()
            .map(|(place, call)| (CallId(u32::try_from(place).expect("calls are bounded")), call))
    }
}

impl Index<CallId> for Calls {
    type Output = Call;

    fn index(&self, id: CallId) -> &Call {
        &self.slab[id.0 as usize]
    }
}

impl IndexMut<CallId> for Calls {
    fn index_mut(&mut self, id: CallId) -> &mut Call {
        &mut self.slab[id.0 as usize]
    }
}

/// Keys are hashes already; the seed and a multiplication keep clients from choosing buckets.
fn hash(seed: u64, key: &Key) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    key.0
        .chunks_exact(8)
        .map(|part| u64::from_le_bytes(part.try_into().expect("eight bytes")))
        .fold(seed, |hash, part| (hash ^ part).wrapping_mul(ODD).rotate_left(29))
}
