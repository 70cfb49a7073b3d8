//! The pool's places: a call waits for one instead of failing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::stop::{Stop, Stopped};

/// How often a waiting call looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);

/// Counts free places. No lock is taken while there are any.
pub(crate) struct Gate {
    free: AtomicUsize,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    freed: Condvar,
}

/// A taken place.
pub(crate) struct Place<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            free: AtomicUsize::new(places),
            waiting: AtomicUsize::new(0),
            lock: Mutex::new(()),
            freed: Condvar::new(),
        }
    }

    /// Takes a place, waiting for one as long as the call may run.
    pub(crate) fn enter(&self, stop: &Stop) -> Result<Place<'_>, Stopped> {
        if self.take() {
            return Ok(Place(self));
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let entered = loop {
            if self.take() {
                break Ok(Place(self));
            }
            if let Err(stopped) = stop.check() {
                break Err(stopped);
            }
            guard = self.freed.wait_timeout(guard, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        entered
    }

    fn take(&self) -> bool {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_one();
        }
    }
}
