//! Tasks that keep values on their worker.

use std::cell::Cell;

use grid_sdk::{Raw, task, worker_local};

/// Has so many bytes under a key. Says whether it made them.
#[task(pure = false)]
pub fn make(key: String, size: usize) -> bool {
    let made = Cell::new(false);
    let bytes = worker_local(&key, || {
        made.set(true);
        Raw(vec![7; size])
    });
    assert!(bytes.0.len() == size && bytes.0.iter().all(|byte| *byte == 7));
    made.get()
}

/// How many bytes are under a key, with the one that says how they are to be read.
#[task(pure = false)]
pub fn kept(key: String) -> Option<usize> {
    worker_local::get(&key).map(|bytes| bytes.len())
}

/// Takes a value away. Says whether there was one.
#[task(pure = false)]
pub fn forget(key: String) -> bool {
    worker_local::take(&key).is_some()
}

/// Puts values of so many bytes under so many keys. Says how many were accepted.
#[task(pure = false, timeout = "5min")]
pub fn fill(count: u32, size: usize) -> u32 {
    let accepted = |number: &u32| {
        worker_local::put_if_absent(&format!("fill {number}"), vec![0; size]) == Ok(None)
    };
    (0..count).filter(accepted).count() as u32
}

grid_sdk::bundle!(make, kept, forget, fill);

#[cfg(test)]
mod tests {
    #[test]
    fn natively_the_process_keeps_it() {
        assert_eq!([super::make("k".into(), 3), super::make("k".into(), 3)], [true, false]);
        assert_eq!(super::kept("k".into()), Some(4));
        assert!(super::forget("k".into()) && !super::forget("k".into()));
    }
}
