//! What this client knows of a key, shared by all its futures on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use grid_proto::message::Holder;
use grid_proto::{Failure, ObjectMeta, Value};
use tokio::sync::Notify;

use crate::error::ClientError;

/// How a call stands, as far as this client was told.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Pending,
    /// Small enough to have come with the news, or fetched before.
    Here(Value),
    Elsewhere(ObjectMeta, Vec<Holder>),
    Failed(Box<Failure>),
    /// It will never be told: the submission was refused or the connection is lost.
    Lost(ClientError),
}

#[derive(Debug)]
pub(crate) struct Slot {
    standing: Mutex<Standing>,
    changed: Notify,
    output: Mutex<String>,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            standing: Mutex::new(Standing::Pending),
            changed: Notify::new(),
            output: Mutex::default(),
        }
    }

    pub(crate) fn set(&self, standing: Standing) {
        *self.lock() = standing;
        self.changed.notify_waiters();
    }

    pub(crate) fn set_output(&self, text: String) {
        *self.output.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    pub(crate) fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(*self.lock(), Standing::Pending)
    }

    /// Waits until it is no longer pending.
    pub(crate) async fn ended(&self) -> Standing {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Registered before the look, so that no change falls between the two.
            changed.as_mut().enable();
            let standing = self.standing();
            if !matches!(standing, Standing::Pending) {
                return standing;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
