//! What is in the store, in few bytes each: a worker may hold millions of small objects.

use std::hash::{BuildHasher, RandomState};

use grid_proto::{Attempt, Key, Version};
use hashbrown::HashTable;

/// Lists shorter than this are not worth making smaller.
const SHRUNK_MIN: usize = 4_096;

/// The objects in the store, by their keys.
#[derive(Debug, Default)]
pub(super) struct HeldObjects {
    /// In no order.
    entries: Vec<Held>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// What `told` of the entries is counted from.
    told_from: u64,
}

#[derive(Debug)]
struct Held {
    key: Key,
    version: Version,
    /// The attempt that made it and one; 0 for copies.
    made: u32,
    /// The number of the last `Holds` that named it; 0 if that is long ago, or none has.
    told: u32,
}

const _: () = assert!(size_of::<Held>() == 48, "a million of them");

impl HeldObjects {
    fn place(&self, key: &Key) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        let found = self.index.find(hash, |place| self.entries[*place as usize].key == *key);
        found.map(|place| *place as usize)
    }

    fn get(&self, key: &Key) -> Option<&Held> {
        self.place(key).map(|place| &self.entries[place])
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.place(key).is_some()
    }

    pub(super) fn version(&self, key: &Key) -> Option<Version> {
        self.get(key).map(|held| held.version)
    }

    /// The attempt that made it, if it was made here.
    pub(super) fn made(&self, key: &Key) -> Option<Attempt> {
        self.get(key).and_then(|held| held.made.checked_sub(1)).map(Attempt)
    }

    /// It is there, and another worker or a client made it.
    pub(super) fn is_copy(&self, key: &Key) -> bool {
        self.get(key).is_some_and(|held| held.made == 0)
    }

    /// Whether a later `Holds` than this one named it.
    pub(super) fn was_told_after(&self, key: &Key, number: u64) -> bool {
        self.get(key).is_some_and(|held| {
            held.told > 0 && self.told_from.saturating_add(held.told.into()) > number
        })
    }

    /// An attempt here has made it.
    pub(super) fn insert_made(&mut self, key: Key, attempt: Attempt, version: Version) {
        self.insert(Held { key, version, made: attempt.0.saturating_add(1), told: 0 });
    }

    pub(super) fn insert_copy(&mut self, key: Key, version: Version) {
        self.insert(Held { key, version, made: 0, told: 0 });
    }

    fn insert(&mut self, held: Held) {
        match self.place(&held.key) {
            Some(place) => self.entries[place] = held,
            None => {
                let hash = self.hasher.hash_one(held.key);
                let place = u32::try_from(self.entries.len()).expect("memory holds fewer");
                self.entries.push(held);
                let Self { index, entries, hasher, .. } = self;
                let hash_of = |place: &u32| hasher.hash_one(entries[*place as usize].key);
                index.insert_unique(hash, place, hash_of);
            }
        }
    }

    /// The `Holds` of this number, none of which was higher before, names it.
    pub(super) fn note_told(&mut self, key: &Key, number: u64) {
        if number.saturating_sub(self.told_from) > u64::from(u32::MAX) {
            self.count_from(number - u64::from(u32::MAX / 2));
        }
        let told = u32::try_from(number.saturating_sub(self.told_from)).unwrap_or(u32::MAX);
        if let Some(place) = self.place(key) {
            self.entries[place].told = told;
        }
    }

    /// Who has not heard of what was told before that never will.
    fn count_from(&mut self, from: u64) {
        let by = u32::try_from(from - self.told_from).unwrap_or(u32::MAX);
        for held in &mut self.entries {
            held.told = held.told.saturating_sub(by);
        }
        self.told_from = from;
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let hash = self.hasher.hash_one(key);
        let Self { index, entries, hasher, .. } = self;
        let Ok(found) = index.find_entry(hash, |place| entries[*place as usize].key == *key) else {
            return false;
        };
        let (place, _) = found.remove();
        entries.swap_remove(place as usize);
        if let Some(moved) = entries.get(place as usize) {
            let was = entries.len();
            let moved = index.find_mut(hasher.hash_one(moved.key), |at| *at as usize == was);
            *moved.expect("every entry is found") = place;
        }
        self.give_back();
        true
    }

    /// What millions took is not kept for few.
    fn give_back(&mut self) {
        let room = self.entries.capacity();
        if room > SHRUNK_MIN && self.entries.len() < room / 4 {
            let Self { index, entries, hasher, .. } = self;
            entries.shrink_to(room / 2);
            let hash_of = |place: &u32| hasher.hash_one(entries[*place as usize].key);
            index.shrink_to(room / 2, hash_of);
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.iter().map(|held| &held.key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: u64) -> Key {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Key(key)
    }

    #[test]
    fn it_holds_what_a_map_holds_and_grows_small_again() {
        let (mut objects, mut map) = (HeldObjects::default(), BTreeMap::new());
        let mut random = 1_u64;
        for step in 0..200_000_u64 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step | 1);
            let number = (random >> 40) % 20_000;
            let version = Version(step);
            // First more come than go, then more go than come.
            match (random >> 33) % 10 < if step < 100_000 { 7 } else { 1 } {
                true => {
                    objects.insert_copy(key(number), version);
                    map.insert(key(number), version);
                }
                false => {
                    assert_eq!(objects.remove(&key(number)), map.remove(&key(number)).is_some())
                }
            }
            assert_eq!(objects.version(&key(number)), map.get(&key(number)).copied());
        }
        let mut keys: Vec<_> = objects.keys().copied().collect();
        keys.sort_unstable();
        assert!(keys.iter().eq(map.keys()));
        assert!(map.iter().all(|(key, version)| objects.version(key) == Some(*version)));
        keys.iter().for_each(|key| assert!(objects.remove(key)));
        assert!(objects.entries.capacity() <= SHRUNK_MIN && objects.index.is_empty());
    }

    #[test]
    fn what_was_told_later_than_the_scheduler_heard_is_known_however_much_was_told() {
        let mut objects = HeldObjects::default();
        objects.insert_copy(key(1), Version(1));
        objects.insert_made(key(2), Attempt(0), Version(2));
        assert!(!objects.was_told_after(&key(1), 0), "nobody was told");
        assert_eq!((objects.made(&key(1)), objects.made(&key(2))), (None, Some(Attempt(0))));
        assert_eq!((objects.is_copy(&key(1)), objects.is_copy(&key(2))), (true, false));
        let long = u64::from(u32::MAX);
        for number in [1, 5, long, long + 1, long + 7, 5 * long, 9 * long + 3] {
            objects.note_told(&key(1), number);
            assert!(objects.was_told_after(&key(1), number - 1));
            assert!(!objects.was_told_after(&key(1), number));
            objects.note_told(&key(2), number + 1);
            assert!(objects.was_told_after(&key(1), number - 1), "and stays so");
        }
    }
}
