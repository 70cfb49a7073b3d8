//! How many copies of objects there are, and where.

use grid_proto::Key;
use grid_proto::data::{Holding, ITEMS_MAX, Whereabouts};
use grid_proto::message::{Answer, FromClient, Query};

use crate::client::{Client, unexpected};
use crate::error::ClientError;

/// What a rebalance has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rebalanced {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Client {
    /// Has so many copies of these objects made, each on another worker, and waits until they are
    /// there; `u32::MAX` is a copy on every worker, also on those that come later. Copies are kept,
    /// and made anew when a worker is gone, until the objects are released; fewer than there are frees
    /// the others. Gives how many there are of each, in order: fewer than asked for if there are not
    /// enough workers with room.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for no copies at all, an unknown key, a failed call or an actor.
    pub async fn replicate(&self, keys: &[Key], copies: u32) -> Result<Vec<u32>, ClientError> {
        self.replicate_to(keys, copies, Vec::new()).await
    }

    /// The same, on workers that have one of these names, hosts or labels.
    ///
    /// # Errors
    /// As [`Self::replicate`].
    pub async fn replicate_to(
        &self,
        keys: &[Key],
        copies: u32,
        to: Vec<String>,
    ) -> Result<Vec<u32>, ClientError> {
        let mut made = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ITEMS_MAX) {
            let (request, answer) = self.asking().await?;
            let (keys, to) = (keys.to_vec(), to.clone());
            self.link().send(FromClient::Replicate { request, keys, copies, to }).await?;
            match self.link().answered(answer.await)? {
                Answer::Replicated(copies) => made.extend(copies),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(made)
    }

    /// Moves objects so that all workers hold about equally many bytes, within five percent if they
    /// can be cut that way; of these objects only, or of all if none is named. What calls are reading
    /// stays where it is. At most [`ITEMS_MAX`] keys.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for an unknown key.
    pub async fn rebalance(&self, keys: &[Key]) -> Result<Rebalanced, ClientError> {
        let (request, answer) = self.asking().await?;
        let (keys, to) = (keys.to_vec(), Vec::new());
        self.link().send(FromClient::Rebalance { request, keys, to }).await?;
        match self.link().answered(answer.await)? {
            Answer::Rebalanced { objects, bytes } => Ok(Rebalanced { objects, bytes }),
            other => Err(unexpected(&other)),
        }
    }

    /// Where objects are, in the order of their keys: their sizes, and the workers that have a copy.
    /// At most [`ITEMS_MAX`] of them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn who_has(&self, keys: &[Key]) -> Result<Vec<Whereabouts>, ClientError> {
        match self.link().ask(Query::WhoHas(keys.to_vec())).await? {
            Answer::WhoHas(whereabouts) => Ok(whereabouts),
            other => Err(unexpected(&other)),
        }
    }

    /// What a worker has, or each of them: sums, and at most `count_max` of its objects.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no worker of this name.
    pub async fn has_what(
        &self,
        worker: Option<&str>,
        count_max: u32,
    ) -> Result<Vec<Holding>, ClientError> {
        let worker = worker.map(str::to_owned);
        match self.link().ask(Query::HasWhat { worker, count_max }).await? {
            Answer::HasWhat(holdings) => Ok(holdings),
            other => Err(unexpected(&other)),
        }
    }

    /// The sizes of objects in bytes, in the order of their keys; `None` for what is not in memory.
    /// At most [`ITEMS_MAX`] of them.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn nbytes(&self, keys: &[Key]) -> Result<Vec<Option<u64>>, ClientError> {
        let whereabouts = self.who_has(keys).await?;
        Ok(whereabouts.into_iter().map(|object| object.size_bytes).collect())
    }

    async fn asking(
        &self,
    ) -> Result<(grid_proto::RequestId, tokio::sync::oneshot::Receiver<Answer>), ClientError> {
        let request = self.link().next_request();
        // What was let go of before must not be taken for this.
        self.link().flush_releases().await?;
        Ok((request, self.link().question(request, None)))
    }
}
