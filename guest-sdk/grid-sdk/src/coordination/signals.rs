use std::marker::PhantomData;
use std::time::Duration;

use super::{encode, given, inside, millis};
use crate::grid::Error;
use crate::value::IntoValue;

/// A flag to wait for, not set at first.
#[derive(Clone, Debug)]
pub struct Event {
    name: String,
}

/// Messages for the clients that subscribed; the last 256 (1 MiB at most) stay for late readers. A
/// task publishes: one that wants to be told something waits for a queue or an event.
#[derive(Clone, Debug)]
pub struct Topic<T> {
    name: String,
    message: PhantomData<fn(T)>,
}

impl Event {
    /// The event of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Whoever waits goes on, and whoever comes to wait.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when the grid has no room.
    pub fn set(&self) -> Result<(), Error> {
        inside::event_set(&self.name)
    }

    /// Whoever comes from now on waits.
    ///
    /// # Errors
    /// When there is no grid to ask.
    pub fn clear(&self) -> Result<(), Error> {
        inside::event_clear(&self.name)
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when too many calls wait on this worker.
    pub fn wait(&self) -> Result<(), Error> {
        given(inside::event_wait(&self.name, None)?)
    }

    /// Waits until it is set, for so long; says whether it is.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub fn wait_within(&self, timeout: Duration) -> Result<bool, Error> {
        Ok(inside::event_wait(&self.name, Some(millis(timeout)))?.is_some())
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// When there is no grid to ask.
    pub fn is_set(&self) -> Result<bool, Error> {
        inside::event_is_set(&self.name)
    }
}

impl<T: IntoValue> Topic<T> {
    /// The topic of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), message: PhantomData }
    }

    /// Tells all subscribers, at most 64 KiB encoded. Natively nobody listens.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when it is too large or the grid has no room.
    pub fn publish(&self, message: T) -> Result<(), Error> {
        inside::topic_publish(&self.name, encode(message)?)
    }
}
