//! The arena of calls, and the index from keys to places in it. Both grow by small pieces, so that
//! no growth takes longer than a few calls.
//!
//! With a million calls each look into the index waits for memory, several times in a call's life.
//! So its entries tell without a look at the call which are surely others, a small memo answers for
//! the calls that were named last, and many looks are made one right after the other, where the
//! processor waits for all of them at once.

use std::ops::{Index, IndexMut};

use grid_proto::Key;
use hashbrown::HashTable;

use crate::call::{Call, CallId};

/// Calls that are allocated together.
const PAGE_CALLS: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 8;
/// Each shard of the index grows on its own.
const SHARDS: usize = 1_024;
/// As many as fit a core's second cache with room to spare.
const MEMO: usize = 1 << 14;
/// Entries of calls that are gone are taken out so many at a time.
const GONE_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Calls {
    pages: Vec<Box<[Option<Call>]>>,
    free: Vec<CallId>,
    /// Only looked up, never iterated: the arena gives the order.
    index: Box<[HashTable<Entry>]>,
    /// The call that was named last of those whose hashes lead here; it may be gone.
    memo: Box<[Entry]>,
    /// Calls that are gone and still in the index. What is found there is compared by its key, so
    /// they mislead nobody.
    gone: Vec<Entry>,
    seed: u64,
}

/// Where a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// Half of the hash of its key.
    tag: u32,
    id: CallId,
}

impl Calls {
    pub(crate) fn new(seed: u64) -> Self {
        let index = (0..SHARDS).map(|_| HashTable::new()).collect();
        let memo = vec![Entry { tag: 0, id: CallId(u32::MAX) }; MEMO].into_boxed_slice();
        Self { pages: Vec::new(), free: Vec::new(), index, memo, gone: Vec::new(), seed }
    }

    pub(crate) fn find(&self, key: &Key) -> Option<CallId> {
        let tag = tag(self.seed, key);
        let is_it = |entry: &Entry| {
            entry.tag == tag && at(&self.pages, entry.id).is_some_and(|call| call.key == *key)
        };
        let memo = Some(&self.memo[tag as usize % MEMO]).filter(|entry| is_it(entry));
        let found = memo.or_else(|| self.index[shard(tag)].find(spread(tag), is_it));
        found.map(|entry| entry.id)
    }

    /// This call is likely to be looked for soon.
    pub(crate) fn expect(&mut self, id: CallId) {
        let tag = tag(self.seed, &self[id].key);
        self.memo[tag as usize % MEMO] = Entry { tag, id };
    }

    pub(crate) fn insert(&mut self, call: Call) -> CallId {
        let tag = tag(self.seed, &call.key);
        let id = self.free.pop().unwrap_or_else(|| self.add_page());
        *self.place(id) = Some(call);
        let entry = Entry { tag, id };
        self.index[shard(tag)].insert_unique(spread(tag), entry, |entry| spread(entry.tag));
        self.memo[tag as usize % MEMO] = entry;
        id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.pages.len() << PAGE_BITS
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
        self.gone.push(Entry { tag: tag(self.seed, &call.key), id });
        if self.gone.len() >= GONE_MAX {
            self.clear_index();
        }
        self.free.push(id);
        call
    }

    fn clear_index(&mut self) {
        for gone in self.gone.drain(..) {
            let found =
                self.index[shard(gone.tag)].find_entry(spread(gone.tag), |entry| *entry == gone);
            if let Ok(entry) = found {
                entry.remove();
            }
        }
    }

    /// These keys are about to be looked for, one after the other.
    pub(crate) fn approach<'a>(&self, keys: impl Iterator<Item = &'a Key>) {
        let known = |key: &&Key| {
            let tag = tag(self.seed, key);
            self.index[shard(tag)].find(spread(tag), |entry| entry.tag == tag).is_some()
        };
        std::hint::black_box(keys.filter(known).count());
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

fn shard(tag: u32) -> usize {
    tag as usize % SHARDS
}

/// The table looks at a hash's top bits and at its low bits: neither are to be those that the calls
/// of a shard have in common.
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(ODD).rotate_left(20)
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys are hashes already; the seed and a multiplication keep clients from choosing buckets.
fn tag(seed: u64, key: &Key) -> u32 {
    let hash = key
        .0
        .chunks_exact(8)
        .map(|part| u64::from_le_bytes(part.try_into().expect("eight bytes")))
        .fold(seed, |hash, part| (hash ^ part).wrapping_mul(ODD).rotate_left(29));
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use grid_proto::{Priority, TaskId};

    use super::*;

    fn call(key: Key) -> Call {
        let priority = Priority { user: 0, submission: 0, position: 0, nesting: 0, child: 0 };
        Call::new(key, TaskId(0), priority)
    }

    #[test]
    fn a_key_is_found_while_its_call_is_known_though_its_place_was_anothers() {
        let mut calls = Calls::new(7);
        let keys: Vec<_> = (0..5_000_u32)
            .map(|number| {
                let mut key = Key([0; 32]);
                key.0[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
                key
            })
            .collect();
        let ids: Vec<_> = keys.iter().map(|key| calls.insert(call(*key))).collect();
        let (gone, kept) = ids.split_at(2_500);
        for id in gone {
            calls.remove(*id);
        }
        assert!(keys[..2_500].iter().all(|key| calls.find(key).is_none()));
        assert!(keys[2_500..].iter().map(|key| calls.find(key)).eq(kept.iter().copied().map(Some)));
        // In the places of those that are gone, the last first, and again.
        for _ in 0..3 {
            for key in &keys[..2_500] {
                let id = calls.insert(call(*key));
                assert_eq!(calls.find(key), Some(id));
                if key.0[0] % 3 == 0 {
                    calls.remove(id);
                    assert_eq!(calls.find(key), None);
                }
            }
            for key in &keys[..2_500] {
                if let Some(id) = calls.find(key) {
                    calls.remove(id);
                }
            }
        }
        assert_eq!(calls.iter().count(), 2_500);
    }
}
