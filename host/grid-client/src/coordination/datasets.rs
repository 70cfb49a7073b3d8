use std::sync::Arc;

use grid_proto::Key;
use grid_proto::coordination::{DatasetOperation, Item, Operation};

use crate::asking::Asked;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::Link;

/// Futures under a name, for others and for later: the grid keeps their results until the dataset is
/// unpublished, whatever becomes of the client that published them. Made by
/// [`crate::Client::dataset`].
///
/// Cancelling a call by force leaves it in the dataset; its futures then say that it was cancelled.
///
/// ```no_run
/// # async fn run(client: grid_client::Client, futures: Vec<grid_client::Future<i64>>)
/// # -> Result<(), grid_client::ClientError> {
/// client.dataset("prices").publish(&futures).await?;
/// // Elsewhere, later:
/// let prices = client.dataset("prices").get::<i64>().await?;
/// let prices = client.gather(&prices).await?;
/// # let _ = prices; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Dataset {
    link: Arc<Link>,
    name: String,
}

impl Dataset {
    pub(super) fn new(link: &Arc<Link>, name: String) -> Self {
        Self { link: Arc::clone(link), name }
    }

    /// Gives futures this name, at most 100,000 of them.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is such a dataset, or the grid does not know a call.
    pub async fn publish<T>(&self, futures: &[Future<T>]) -> Result<(), ClientError> {
        self.publish_keys(keys(futures), false).await
    }

    /// Gives futures this name; what had it loses it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know a call.
    pub async fn publish_override<T>(&self, futures: &[Future<T>]) -> Result<(), ClientError> {
        self.publish_keys(keys(futures), true).await
    }

    /// Gives calls that the grid knows this name; `replace` takes it from what had it.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_keys(&self, keys: Vec<Key>, replace: bool) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(DatasetOperation::Publish { keys, replace })).await
    }

    /// Futures on its calls, in the order in which they were published.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such dataset.
    pub async fn get<T>(&self) -> Result<Vec<Future<T>>, ClientError> {
        let asked = Asked::ask(&self.link, self.operation(DatasetOperation::Get)).await?;
        let future = |item| match item {
            Item::Call(key) => Some(Future::new(&self.link, key)),
            Item::Value(_) => None,
        };
        let futures = asked.take(|items| items.into_iter().filter_map(future).collect()).await?;
        Ok(futures.unwrap_or_default())
    }

    /// Gives the name up; what nobody else wants is freed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such dataset.
    pub async fn unpublish(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(DatasetOperation::Unpublish)).await
    }

    fn operation(&self, operation: DatasetOperation) -> Operation {
        Operation::Dataset { name: self.name.clone(), operation }
    }
}

fn keys<T>(futures: &[Future<T>]) -> Vec<Key> {
    futures.iter().map(Future::key).collect()
}
