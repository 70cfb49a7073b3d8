use std::sync::Arc;
use std::time::Duration;

use grid_proto::coordination::{Coordinated, EventOperation, Operation};
use grid_proto::message::Answer;

use super::millis;
use crate::client::unexpected;
use crate::error::ClientError;
use crate::link::Link;

/// A flag of the whole grid, not set at first. Made by [`crate::Client::event`].
#[derive(Clone)]
pub struct Event {
    link: Arc<Link>,
    name: String,
}

impl Event {
    pub(super) fn new(link: &Arc<Link>, name: String) -> Self {
        Self { link: Arc::clone(link), name }
    }

    /// Lets everybody go on who waits, or comes to wait before it is cleared.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn set(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(EventOperation::Set)).await
    }

    /// Lets everybody wait who comes from now on.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn clear(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(EventOperation::Clear)).await
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn wait(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(EventOperation::Wait { wait_ms: None })).await
    }

    /// Waits until it is set, for so long; says whether it is.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn wait_within(&self, timeout: Duration) -> Result<bool, ClientError> {
        let wait_ms = Some(millis(timeout));
        self.link.in_time(self.operation(EventOperation::Wait { wait_ms })).await
    }

    /// Whether it is set.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn is_set(&self) -> Result<bool, ClientError> {
        match self.link.coordinate(self.operation(EventOperation::IsSet)).await? {
            Coordinated::Truth(set) => Ok(set),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }

    fn operation(&self, operation: EventOperation) -> Operation {
        Operation::Event { name: self.name.clone(), operation }
    }
}
