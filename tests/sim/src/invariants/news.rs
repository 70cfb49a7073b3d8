//! A client that was told of a failure is told before anything else that the call runs again.

use std::collections::BTreeSet;

use grid_proto::message::{FromClient, ToClient};
use grid_proto::{ClientId, FailureKind, Key};

/// Calls that failed, as the scheduler told clients last.
#[derive(Debug, Default)]
pub(crate) struct News {
    failed: BTreeSet<(ClientId, Key)>,
}

impl News {
    /// A client that releases and submits may speak of another call of the same key.
    pub(crate) fn on_client(&mut self, client: ClientId, message: &FromClient) {
        if !matches!(message, FromClient::Retry { .. } | FromClient::Coordinate { .. }) {
            self.failed.retain(|(told, _)| *told != client);
        }
    }

    pub(crate) fn on_to_client(
        &mut self,
        client: ClientId,
        message: &ToClient,
    ) -> Result<(), String> {
        match message {
            ToClient::Failed { key, failure } if failure.kind != FailureKind::Cancelled => {
                self.failed.insert((client, *key));
            }
            ToClient::Again(keys) => {
                for key in keys {
                    self.failed.remove(&(client, *key));
                }
            }
            ToClient::Ready { key, .. } if self.failed.contains(&(client, *key)) => {
                let key = key.short();
                return Err(format!("{key} is ready, and {client} knows it as failed"));
            }
            _ => {}
        }
        Ok(())
    }
}
