//! What programs share by name over a grid: datasets, variables, queues, locks, semaphores, events
//! and topics. All of it is used by name from any client; each kind has names of its own.
//!
//! ```no_run
//! # async fn run(client: grid_client::Client) -> Result<(), grid_client::ClientError> {
//! let queue = client.queue::<String>("words");
//! queue.put("hello".to_owned()).await?;
//! let word = queue.get().await?.result().await?;
//!
//! let lock = client.lock("the-file");
//! let held = lock.acquire().await?;
//! // ... only one client of the grid is here at a time, and if it dies, the next one is ...
//! held.release().await?;
//! # let _ = word; Ok(()) }
//! ```
//!
//! Values are small (64 KiB); of something larger, share the future of a call that gives it: the grid
//! keeps its result as long as it is named.

mod datasets;
mod events;
mod leases;
mod queues;
mod topics;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use grid_proto::Key;
use grid_proto::coordination::{Coordinated, Item, LeaseKind, NamedInfo, NamedKind, Operation};
use grid_proto::message::{Answer, FromClient};
use grid_sdk::{FromValue, IntoValue};

pub use datasets::Dataset;
pub use events::Event;
pub use leases::{Lease, Lock, Semaphore};
pub use queues::Queue;
pub use topics::{Message, Subscription, Topic};
pub use variables::Variable;

use crate::client::{Client, unexpected};
use crate::error::ClientError;
use crate::future::Future;
use crate::link::Link;
use crate::value::{decode, encode};

/// What a variable holds or a queue gives: a small value, or a future on a call.
#[derive(Debug)]
pub enum Shared<T> {
    /// The value itself.
    Value(T),
    /// A future on a call whose result it is.
    Future(Future<T>),
}

impl<T: FromValue> Shared<T> {
    /// The value, or the future's result.
    ///
    /// # Errors
    /// As [`Future::result`].
    pub async fn result(self) -> Result<T, ClientError> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Future(future) => future.result().await,
        }
    }

    fn of(link: &Arc<Link>, item: Item) -> Result<Self, ClientError> {
        match item {
            Item::Value(value) => match decode(value) {
                Ok(value) => Ok(Self::Value(value)),
                Err(error) => {
                    Err(ClientError::Value(format!("the shared value cannot be read: {error}")))
                }
            },
            Item::Call(key) => Ok(Self::Future(Future::new(link, key))),
        }
    }
}

fn value_item<T: IntoValue>(value: T) -> Result<Item, ClientError> {
    encode(value).map(Item::Value)
}

/// Milliseconds, rounded up, so that a short wait is none at all only if it is zero.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl Client {
    /// The dataset of a name.
    #[must_use]
    pub fn dataset(&self, name: impl Into<String>) -> Dataset {
        Dataset::new(self.link(), name.into())
    }

    /// The variable of a name, which holds a `T`.
    #[must_use]
    pub fn variable<T>(&self, name: impl Into<String>) -> Variable<T> {
        Variable::new(self.link(), name.into())
    }

    /// The queue of a name, whose items are `T`s. It exists from its first use until
    /// [`Queue::delete`], and holds 10,000 items unless somebody made it with
    /// [`Self::bounded_queue`].
    #[must_use]
    pub fn queue<T>(&self, name: impl Into<String>) -> Queue<T> {
        Queue::new(self.link(), name.into(), 0)
    }

    /// The queue of a name, which holds at most so many items. All its users say the same, or use
    /// [`Self::queue`].
    #[must_use]
    pub fn bounded_queue<T>(&self, name: impl Into<String>, items_max: u32) -> Queue<T> {
        Queue::new(self.link(), name.into(), items_max)
    }

    /// The lock of a name.
    #[must_use]
    pub fn lock(&self, name: impl Into<String>) -> Lock {
        Lock::new(self.link(), LeaseKind::Lock, name.into(), 1)
    }

    /// The semaphore of a name, with so many leases; all its users say the same.
    #[must_use]
    pub fn semaphore(&self, name: impl Into<String>, leases_max: u32) -> Semaphore {
        Lock::new(self.link(), LeaseKind::Semaphore, name.into(), leases_max)
    }

    /// The event of a name.
    #[must_use]
    pub fn event(&self, name: impl Into<String>) -> Event {
        Event::new(self.link(), name.into())
    }

    /// The topic of a name, whose messages are `T`s.
    #[must_use]
    pub fn topic<T>(&self, name: impl Into<String>) -> Topic<T> {
        Topic::new(self.link(), name.into())
    }

    /// All of a kind that the grid has.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn named(&self, kind: NamedKind) -> Result<Vec<NamedInfo>, ClientError> {
        self.listed(Operation::List(kind)).await
    }

    /// One of a kind.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none of this name.
    pub async fn describe(&self, kind: NamedKind, name: &str) -> Result<NamedInfo, ClientError> {
        let mut list = self.listed(Operation::Describe { kind, name: name.to_owned() }).await?;
        let unexpected = || unexpected(&Answer::Coordinated(Coordinated::List(Vec::new())));
        list.pop().ok_or_else(unexpected)
    }

    async fn listed(&self, operation: Operation) -> Result<Vec<NamedInfo>, ClientError> {
        match self.link().coordinate(operation).await? {
            Coordinated::List(list) => Ok(list),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }

    /// Runs failed calls again, from the calls whose failure it is: those, all on the way to the
    /// given ones, and all else that failed because of them. Their retries and the deaths that they
    /// were charged with count anew. Futures on them are pending again.
    ///
    /// Gives the keys of the calls that start over; calls that did not fail are not among them.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know a key, or for more than 10,000 keys.
    pub async fn retry(&self, keys: Vec<Key>) -> Result<Vec<Key>, ClientError> {
        let link = self.link();
        let request = link.next_request();
        let answer = link.question(request, None);
        link.send(FromClient::Retry { request, keys }).await?;
        match link.answered(answer.await)? {
            Answer::Retried(keys) => Ok(keys),
            other => Err(unexpected(&other)),
        }
    }
}
