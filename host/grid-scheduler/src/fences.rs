//! First attempts of calls. A call that was stopped and forgotten may be submitted again while a
//! worker still runs it: the new one must not use the number of the old.

use grid_proto::{Attempt, Key};

/// Calls share a number by hash, so that memory stays bounded; that only makes some first attempts
/// higher than they had to be.
const BUCKETS: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Fences {
    first: Box<[Attempt]>,
}

impl Default for Fences {
    fn default() -> Self {
        Self { first: vec![Attempt::default(); BUCKETS].into_boxed_slice() }
    }
}

impl Fences {
    /// The number of a new call's first attempt.
    pub(crate) fn first(&self, key: &Key) -> Attempt {
        self.first[bucket(key)]
    }

    /// A worker may still be at this attempt when the call is forgotten.
    pub(crate) fn pass(&mut self, key: &Key, attempt: Attempt) {
        let first = &mut self.first[bucket(key)];
        *first = (*first).max(attempt.next());
    }
}

fn bucket(key: &Key) -> usize {
    usize::from(u16::from_le_bytes([key.0[0], key.0[1]])) % BUCKETS
}
