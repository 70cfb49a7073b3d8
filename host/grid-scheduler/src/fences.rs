//! First attempts of calls. A call that was stopped and forgotten may be submitted again while a
//! worker still runs it: the new one must not use the number of the old.

use std::collections::{BTreeMap, VecDeque};

use grid_proto::{Attempt, Key};

/// Calls whose number is remembered exactly.
const EXACT_MAX: usize = 1 << 15;
/// Older ones share a number by hash, so that memory stays bounded; that only makes some first
/// attempts higher than they had to be.
const BUCKETS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Fences {
    exact: BTreeMap<Key, Attempt>,
    /// The keys of `exact`, the oldest first.
    oldest: VecDeque<Key>,
    shared: Box<[Attempt]>,
}

impl Default for Fences {
    fn default() -> Self {
        let shared = vec![Attempt::default(); BUCKETS].into_boxed_slice();
        Self { exact: BTreeMap::new(), oldest: VecDeque::new(), shared }
    }
}

impl Fences {
    /// The number of a new call's first attempt.
    pub(crate) fn first(&self, key: &Key) -> Attempt {
        let exact = self.exact.get(key).copied().unwrap_or_default();
        exact.max(self.shared[bucket(key)])
    }

    /// A worker may still be at this attempt when the call is forgotten.
    pub(crate) fn pass(&mut self, key: &Key, attempt: Attempt) {
        let next = attempt.next();
        if let Some(first) = self.exact.get_mut(key) {
            *first = (*first).max(next);
            return;
        }
        self.exact.insert(*key, next);
        self.oldest.push_back(*key);
        if self.exact.len() > EXACT_MAX
            && let Some(oldest) = self.oldest.pop_front()
            && let Some(first) = self.exact.remove(&oldest)
        {
            let shared = &mut self.shared[bucket(&oldest)];
            *shared = (*shared).max(first);
        }
    }
}

fn bucket(key: &Key) -> usize {
    usize::from(u16::from_le_bytes([key.0[0], key.0[1]])) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        let mut key = Key([7; 32]);
        key.0[4..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn others_begin_at_the_first_attempt_and_no_old_number_comes_again() {
        let mut fences = Fences::default();
        fences.pass(&key(1), Attempt(2));
        fences.pass(&key(1), Attempt(1));
        assert_eq!(fences.first(&key(1)), Attempt(3));
        assert_eq!(fences.first(&key(2)), Attempt(0), "in the same bucket, and another call");
        let many = u32::try_from(EXACT_MAX).unwrap() + 10;
        (10..many + 10).for_each(|number| fences.pass(&key(number), Attempt(0)));
        assert_eq!(fences.exact.len(), EXACT_MAX);
        assert!(fences.first(&key(1)) >= Attempt(3), "though it is remembered coarsely");
    }
}
