//! Tasks that keep something on their worker: values beside their instances, and instances.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use grid_sdk::grid::Error;
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

/// Calls that ended or are under way in this instance.
static VISITS: AtomicU32 = AtomicU32::new(0);

/// The how-manieth call of this instance it is, some milliseconds later.
#[task(pure = false, resident)]
pub fn visit(milliseconds: u64) -> u32 {
    let visits = VISITS.fetch_add(1, Ordering::Relaxed) + 1;
    std::thread::sleep(Duration::from_millis(milliseconds));
    visits
}

/// The same, as another task of the bundle.
#[task(pure = false, resident)]
pub fn visit_again() -> u32 {
    visit(0)
}

/// The same, never in an instance that stays.
#[task(pure = false)]
pub fn visit_fresh() -> u32 {
    visit(0)
}

/// Adds to the visits the number that it is given: a call between others.
#[task(pure = false, resident)]
pub fn visit_after(number: u32) -> u32 {
    visit(0) + 1_000 * number
}

/// Visits from a call of its own.
#[task(pure = false)]
pub fn visit_below(milliseconds: u64) -> Result<u32, Error> {
    grid_sdk::grid::submit(visit::call(milliseconds))?.result()
}

/// Fails, though nothing stopped it.
#[task(pure = false, resident)]
pub fn visit_and_fail() -> Result<u32, String> {
    Err(format!("visit {} failed", visit(0)))
}

/// Panics.
#[task(pure = false, resident)]
pub fn visit_and_panic() -> u32 {
    panic!("visit {} broke", visit(0))
}

/// Never ends of its own will.
#[task(pure = false, resident, timeout = "1h")]
pub fn visit_for_ever() -> u32 {
    loop {
        visit(10);
    }
}

grid_sdk::bundle!(
    make,
    kept,
    forget,
    fill,
    visit,
    visit_again,
    visit_fresh,
    visit_after,
    visit_below,
    visit_and_fail,
    visit_and_panic,
    visit_for_ever
);

#[cfg(test)]
mod tests {
    #[test]
    fn natively_the_process_keeps_it() {
        assert_eq!([super::make("k".into(), 3), super::make("k".into(), 3)], [true, false]);
        assert_eq!(super::kept("k".into()), Some(4));
        assert!(super::forget("k".into()) && !super::forget("k".into()));
    }
}
