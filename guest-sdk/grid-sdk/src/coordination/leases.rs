use std::time::Duration;

use super::{Wait, given, inside, millis};
use crate::grid::Error;

/// A lock of the whole grid: one lease at a time, whether a call's or a client's. It is not
/// re-entrant: who holds it and acquires it again waits for itself, and so does who waits for a call
/// of its own that acquires it.
#[derive(Clone, Debug)]
pub struct Lock {
    name: String,
}

/// As [`Lock`], with several leases at a time.
#[derive(Clone, Debug)]
pub struct Semaphore {
    name: String,
    leases_max: u32,
}

/// A lease of a lock or a semaphore. It is given back when it is dropped, and ends with its call,
/// however that ends.
#[must_use = "a lease ends when it is dropped"]
#[derive(Debug)]
pub struct Lease {
    id: u64,
}

impl Lock {
    /// The lock of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when too many calls wait on this worker, or this one holds too many
    /// leases.
    pub fn acquire(&self) -> Result<Lease, Error> {
        given(self.acquire_in(None)?)
    }

    /// Waits for the lock for so long; `None` if it is not free in this time.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn acquire_within(&self, timeout: Duration) -> Result<Option<Lease>, Error> {
        self.acquire_in(Some(millis(timeout)))
    }

    /// The lock, if it is free and nobody waits for it.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn try_acquire(&self) -> Result<Option<Lease>, Error> {
        self.acquire_in(Some(0))
    }

    fn acquire_in(&self, wait: Wait) -> Result<Option<Lease>, Error> {
        Ok(inside::lock(&self.name, wait)?.map(|id| Lease { id }))
    }
}

impl Semaphore {
    /// The semaphore of this name, with so many leases; all its users say the same.
    #[must_use]
    pub fn new(name: impl Into<String>, leases_max: u32) -> Self {
        Self { name: name.into(), leases_max }
    }

    /// Waits for a lease.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when its users disagree about the number of leases, too many calls wait
    /// on this worker, or this one holds too many leases.
    pub fn acquire(&self) -> Result<Lease, Error> {
        given(self.acquire_in(None)?)
    }

    /// Waits for a lease for so long; `None` if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn acquire_within(&self, timeout: Duration) -> Result<Option<Lease>, Error> {
        self.acquire_in(Some(millis(timeout)))
    }

    /// A lease, if there is one and nobody waits for it.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub fn try_acquire(&self) -> Result<Option<Lease>, Error> {
        self.acquire_in(Some(0))
    }

    fn acquire_in(&self, wait: Wait) -> Result<Option<Lease>, Error> {
        Ok(inside::semaphore(&self.name, self.leases_max, wait)?.map(|id| Lease { id }))
    }
}

impl Lease {
    /// Gives it back; the same as dropping it, said aloud.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        inside::release(self.id);
    }
}
