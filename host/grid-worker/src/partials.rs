//! Objects of which a part has come: whoever gives the rest, the same peer or another, need not give all
//! of it again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grid_proto::Key;

use crate::incoming::Partial;

/// A part whose rest nobody asks for is dropped after that time: nobody may want it any more.
const KEPT: Duration = Duration::from_secs(5);
/// Parts that are kept; the oldest go.
const PARTS_MAX: usize = 16;

/// The parts of one worker. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Partials {
    parts: Arc<Mutex<Parts>>,
    kept_for: Duration,
}

#[derive(Default, Debug)]
struct Parts {
    kept: BTreeMap<Key, (u64, Partial)>,
    /// How many there have ever been.
    count: u64,
}

impl Default for Partials {
    fn default() -> Self {
        Self::kept_for(KEPT)
    }
}

impl Partials {
    pub(crate) fn kept_for(kept_for: Duration) -> Self {
        Self { parts: Arc::default(), kept_for }
    }

    /// Keeps what has come of an object, for a while. Must be called inside a tokio runtime.
    pub(crate) fn keep(&self, key: Key, partial: Partial) {
        if partial.bytes() == 0 {
            return;
        }
        let mut parts = self.lock();
        parts.count += 1;
        let number = parts.count;
        parts.kept.insert(key, (number, partial));
        if parts.kept.len() > PARTS_MAX
            && let Some((oldest, _)) = parts.kept.iter().min_by_key(|(_, (number, _))| *number)
        {
            let oldest = *oldest;
            parts.kept.remove(&oldest);
        }
        drop(parts);
        let all = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(all.kept_for).await;
            let mut parts = all.lock();
            if parts.kept.get(&key).is_some_and(|(kept, _)| *kept == number) {
                parts.kept.remove(&key);
            }
        });
    }

    pub(crate) fn take(&self, key: &Key) -> Option<Partial> {
        self.lock().kept.remove(key).map(|(_, partial)| partial)
    }

    /// How many bytes of these objects have come.
    pub(crate) fn bytes_of(&self, keys: &[Key]) -> u64 {
        let parts = self.lock();
        keys.iter().filter_map(|key| parts.kept.get(key)).map(|(_, part)| part.bytes()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
