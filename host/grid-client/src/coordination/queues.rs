use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use grid_proto::coordination::{Item, NamedKind, Operation, QueueOperation};
use grid_sdk::{FromValue, IntoValue};

use super::{Shared, millis, value_item};
use crate::asking::Asked;
use crate::client::unexpected;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::{Link, lost};

/// Values and futures, first in, first out, from any client to any client; bounded. Made by
/// [`crate::Client::queue`]. Whoever waits longest is served first. An item is lost neither when a
/// getter gives up nor when its process dies before it has the item: it is the queue's front again.
#[derive(Clone)]
pub struct Queue<T> {
    link: Arc<Link>,
    name: String,
    items_max: u32,
    item: PhantomData<fn() -> T>,
}

impl<T> Queue<T> {
    pub(super) fn new(link: &Arc<Link>, name: String, items_max: u32) -> Self {
        Self { link: Arc::clone(link), name, items_max, item: PhantomData }
    }

    /// Adds a future at the end; waits while the queue is full. The grid keeps the call's result
    /// while it is in the queue.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know the call or has no room.
    pub async fn put_future(&self, future: &Future<T>) -> Result<(), ClientError> {
        self.put_item(Item::Call(future.key()), None).await.map(|_| ())
    }

    /// Items that are in it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such queue.
    pub async fn size(&self) -> Result<u64, ClientError> {
        let operation = Operation::Describe { kind: NamedKind::Queue, name: self.name.clone() };
        match self.link.coordinate(operation).await? {
            grid_proto::coordination::Coordinated::List(list) => {
                Ok(list.first().map_or(0, |info| info.size))
            }
            other => Err(unexpected(&grid_proto::message::Answer::Coordinated(other))),
        }
    }

    /// Drops the queue with its items; whoever waits for it is refused.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such queue.
    pub async fn delete(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(QueueOperation::Delete)).await
    }

    async fn put_item(&self, item: Item, wait_ms: Option<u64>) -> Result<bool, ClientError> {
        let operation = QueueOperation::Put { item, items_max: self.items_max, wait_ms };
        self.link.in_time(self.operation(operation)).await
    }

    fn operation(&self, operation: QueueOperation) -> Operation {
        Operation::Queue { name: self.name.clone(), operation }
    }
}

impl<T: IntoValue> Queue<T> {
    /// Adds a value at the end, at most 64 KiB encoded; waits while the queue is full.
    /// Given up while it waits, it adds nothing; given up later than that, it may have.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is too large, the grid has no room, or the queue is deleted.
    pub async fn put(&self, value: T) -> Result<(), ClientError> {
        self.put_item(value_item(value)?, None).await.map(|_| ())
    }

    /// Adds a value if there is room in this time; says whether it did.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_within(&self, value: T, timeout: Duration) -> Result<bool, ClientError> {
        self.put_item(value_item(value)?, Some(millis(timeout))).await
    }
}

impl<T: FromValue> Queue<T> {
    /// Takes the first item; waits while there is none.
    ///
    /// # Errors
    /// When the value is no `T` (it is taken nevertheless, so that it is not in everybody's way),
    /// the queue is deleted, or the connection is lost.
    pub async fn get(&self) -> Result<Shared<T>, ClientError> {
        self.take(1, None).await?.pop().ok_or_else(lost)
    }

    /// Takes the first item; `None` if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_within(&self, timeout: Duration) -> Result<Option<Shared<T>>, ClientError> {
        Ok(self.take(1, Some(millis(timeout))).await?.pop())
    }

    /// Takes the first items, at most so many and at least one; none if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_batch(
        &self,
        count_max: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<Shared<T>>, ClientError> {
        self.take(count_max, timeout.map(millis)).await
    }

    async fn take(
        &self,
        count_max: u32,
        wait_ms: Option<u64>,
    ) -> Result<Vec<Shared<T>>, ClientError> {
        let operation = QueueOperation::Get { count_max, items_max: self.items_max, wait_ms };
        let asked = Asked::ask(&self.link, self.operation(operation)).await?;
        let hold = |items: Vec<Item>| {
            items.into_iter().map(|item| Shared::of(&self.link, item)).collect::<Result<_, _>>()
        };
        asked.take(hold).await?.unwrap_or_else(|| Ok(Vec::new()))
    }
}
