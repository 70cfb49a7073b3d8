//! The twin for native runs: memory that this process shares. Keys are bounded as on a worker.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::Error;

/// As on a worker, so that a native test meets them too.
const KEY_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 64 << 20;

fn kept() -> MutexGuard<'static, BTreeMap<String, Vec<u8>>> {
    static KEPT: LazyLock<Mutex<BTreeMap<String, Vec<u8>>>> = LazyLock::new(Mutex::default);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn get(key: &str) -> Option<Vec<u8>> {
    kept().get(key).cloned()
}

pub(super) fn put_if_absent(key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    if key.len() > KEY_BYTES_MAX || bytes.len() + key.len() > VALUE_BYTES_MAX {
        let message = format!(
            "a key of {} bytes and a value of {}: at most {KEY_BYTES_MAX} and {VALUE_BYTES_MAX} \
             are kept",
            key.len(),
            bytes.len()
        );
        return Err(Error::OverLimit(message));
    }
    let mut kept = kept();
    if let Some(there) = kept.get(key) {
        return Ok(Some(there.clone()));
    }
    kept.insert(key.to_owned(), bytes);
    Ok(None)
}

pub(super) fn take(key: &str) -> Option<Vec<u8>> {
    kept().remove(key)
}
