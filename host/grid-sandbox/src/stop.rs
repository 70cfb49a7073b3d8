//! Why and when a running call has to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Stops a call from another thread. Clones are the same token.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<Cancel>);

#[derive(Debug, Default)]
struct Cancel {
    cancelled: AtomicBool,
    waiters: Notify,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the call: a running loop within a tick or two, a waiting guest at once. A call that
    /// has not begun does not begin.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.waiters.notify_waiters();
    }

    /// Whether somebody cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Resolves when somebody cancels.
    pub(crate) async fn cancelled(&self) {
        let notified = self.0.waiters.notified();
        let mut notified = std::pin::pin!(notified);
        // Registered before the flag is read, so that no cancel falls between the two.
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }
}

/// An input of a call cannot be read any more. Travels through wasmtime as an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an input that the call was reading is not in this worker's store any more")]
pub(crate) struct InputLost;

/// A call was stopped from outside. Travels through wasmtime as an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("the call ran out of time")]
    Deadline,
    #[error("the call was cancelled")]
    Cancelled,
    #[error("the call waited too long for others")]
    WaitedTooLong { limit_ms: u64 },
}

/// A call asked to run elsewhere. Travels through wasmtime as an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the call asked to run elsewhere")]
pub(crate) struct Rescheduled;

/// What a call looks at to see whether it has to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    deadline: Instant,
    cancel: CancelToken,
    /// Spent waiting for other calls, and how much of that is allowed.
    waited: Duration,
    waiting_time_max: Duration,
}

/// Far enough to be never; `Instant` has no maximum.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Stop {
    pub(crate) fn new(started: Instant, wall_ms_max: u64, cancel: CancelToken) -> Self {
        let deadline = started + Duration::from_millis(wall_ms_max).min(NEVER);
        Self { deadline, cancel, waited: Duration::ZERO, waiting_time_max: NEVER }
    }

    /// With a limit on the time that is spent waiting for other calls.
    pub(crate) fn with_waiting_time_max(self, waiting_time_max: Duration) -> Self {
        Self { waiting_time_max: waiting_time_max.min(NEVER), ..self }
    }

    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// Waits for other calls: the time does not count as the call's own, and has a limit of its own.
    /// Needs a tokio runtime with time.
    pub(crate) async fn wait_aside<F: Future>(&mut self, future: F) -> Result<F::Output, Stopped> {
        let began = Instant::now();
        let left = self.waiting_time_max.saturating_sub(self.waited);
        let ended = tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.cancel.cancelled() => Err(Stopped::Cancelled),
            () = tokio::time::sleep(left) => {
                let limit_ms = u64::try_from(self.waiting_time_max.as_millis()).unwrap_or(u64::MAX);
                Err(Stopped::WaitedTooLong { limit_ms })
            }
        };
        let waited = began.elapsed();
        self.waited += waited;
        self.deadline += waited;
        ended
    }

    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if self.cancel.is_cancelled() {
            return Err(Stopped::Cancelled);
        }
        if Instant::now() >= self.deadline {
            return Err(Stopped::Deadline);
        }
        Ok(())
    }

    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for a future of the host, but no longer than the call may run. Needs a tokio runtime
    /// with time.
    pub(crate) async fn bound<F: Future>(&self, future: F) -> Result<F::Output, Stopped> {
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.cancel.cancelled() => Err(Stopped::Cancelled),
            () = tokio::time::sleep_until(self.deadline.into()) => Err(Stopped::Deadline),
        }
    }
}
