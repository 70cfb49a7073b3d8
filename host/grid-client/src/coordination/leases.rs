use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grid_proto::LeaseId;
use grid_proto::coordination::{Coordinated, LeaseKind, LeaseOperation, Operation};
use grid_proto::message::Answer;

use super::millis;
use crate::asking::LeasePlace;
use crate::client::unexpected;
use crate::error::ClientError;
use crate::link::{Link, lost};

/// What a semaphore's lease lasts unless it is renewed.
const SEMAPHORE_LEASE: Duration = Duration::from_secs(30);
/// A lease is renewed that many times before it would end.
const RENEWALS: u32 = 3;

/// A lock of the whole grid: one lease at a time, first come, first served. Made by
/// [`crate::Client::lock`]. It is not re-entrant: who holds it and acquires it again waits for
/// itself.
#[derive(Clone)]
pub struct Lock {
    link: Arc<Link>,
    kind: LeaseKind,
    name: String,
    leases_max: u32,
    lease: Option<Duration>,
}

/// As [`Lock`], with several leases at a time. Made by [`crate::Client::semaphore`].
pub type Semaphore = Lock;

/// A lease of a lock or semaphore. It ends when it is released or dropped, and with its client, be it
/// by an end of the process or of the connection. One with a time ([`Lock::with_lease`]) also ends
/// when it is not renewed; this client renews it while its runtime runs.
#[must_use = "a lease ends when it is dropped"]
pub struct Lease {
    link: Arc<Link>,
    /// Taken when it was released.
    place: Option<LeasePlace>,
    id: LeaseId,
    is_lost: Arc<AtomicBool>,
    renewal: Option<tokio::task::JoinHandle<()>>,
}

impl Lock {
    pub(super) fn new(link: &Arc<Link>, kind: LeaseKind, name: String, leases_max: u32) -> Self {
        let lease = match kind {
            LeaseKind::Lock => None,
            LeaseKind::Semaphore => Some(SEMAPHORE_LEASE),
        };
        Self { link: Arc::clone(link), kind, name, leases_max, lease }
    }

    /// Leases end after this time unless they are renewed, so that a process that hangs does not
    /// hold them for ever. A semaphore's leases last 30 seconds, a lock's as long as its client.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease.max(Duration::from_millis(1))), ..self }
    }

    /// Waits for a lease.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when its users disagree about the number of leases.
    pub async fn acquire(&self) -> Result<Lease, ClientError> {
        self.acquire_in(None).await?.ok_or_else(lost)
    }

    /// Waits for a lease for so long; `None` if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub async fn acquire_within(&self, timeout: Duration) -> Result<Option<Lease>, ClientError> {
        self.acquire_in(Some(millis(timeout))).await
    }

    async fn acquire_in(&self, wait_ms: Option<u64>) -> Result<Option<Lease>, ClientError> {
        let lease_ms = self.lease.map(millis);
        let operation = LeaseOperation::Acquire { leases_max: self.leases_max, lease_ms, wait_ms };
        let place = (self.kind, self.name.clone());
        match self.link.coordinate(lease_operation(&place, operation)).await? {
            Coordinated::Lease(id) => Ok(Some(Lease::new(&self.link, place, id, self.lease))),
            Coordinated::TimedOut => Ok(None),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }
}

impl Lease {
    fn new(link: &Arc<Link>, place: LeasePlace, id: LeaseId, lease: Option<Duration>) -> Self {
        let is_lost = Arc::new(AtomicBool::new(false));
        let renewal = lease.map(|lease| {
            let renew = lease_operation(&place, LeaseOperation::Renew(id));
            let (link, is_lost) = (Arc::downgrade(link), Arc::clone(&is_lost));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(lease / RENEWALS).await;
                    let Some(link) = link.upgrade() else { return };
                    if link.carry_out(renew.clone()).await.is_err() {
                        is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            })
        });
        Self { link: Arc::clone(link), place: Some(place), id, is_lost, renewal }
    }

    /// Whether it is held as far as this client knows: not if a renewal came too late or the
    /// connection is lost.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.is_lost.load(Ordering::Relaxed) && self.link.why_lost().is_none()
    }

    /// Gives it back, and waits until it is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it had ended before: it was not renewed in time.
    pub async fn release(mut self) -> Result<(), ClientError> {
        let Some(place) = self.place.take() else { return Ok(()) };
        self.link.carry_out(lease_operation(&place, LeaseOperation::Release(self.id))).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        if let Some(place) = self.place.take() {
            self.link.tell_later(|telling| telling.release((place, self.id)));
        }
    }
}

fn lease_operation((kind, name): &LeasePlace, operation: LeaseOperation) -> Operation {
    Operation::Lease { kind: *kind, name: name.clone(), operation }
}
