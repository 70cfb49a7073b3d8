use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use grid_proto::coordination::{Coordinated, Operation, TopicMessage, TopicOperation};
use grid_proto::message::Answer;
use grid_sdk::{FromValue, IntoValue};
use tokio::sync::broadcast;

use crate::client::unexpected;
use crate::error::ClientError;
use crate::link::{Link, lost};
use crate::value::{decode, encode};

/// Messages for whoever subscribed; the last 256 (1 MiB at most) stay for late readers. Made by
/// [`crate::Client::topic`].
#[derive(Clone)]
pub struct Topic<T> {
    link: Arc<Link>,
    name: String,
    message: PhantomData<fn() -> T>,
}

/// One message of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<T> {
    /// Counts the topic's messages from 0; a number that is left out was missed.
    pub number: u64,
    /// What was published.
    pub value: T,
}

/// Messages of a topic as they are published. A subscription that is more than 1,024 messages behind
/// misses the oldest of them, as the numbers show.
pub struct Subscription<T> {
    joined: Joined,
    kept: VecDeque<TopicMessage>,
    /// The number that comes next, so that nothing is told twice.
    next: u64,
    told: broadcast::Receiver<TopicMessage>,
    message: PhantomData<fn() -> T>,
}

/// Being one of a topic's listeners in this client.
struct Joined {
    link: Arc<Link>,
    name: String,
}

impl<T> Topic<T> {
    pub(super) fn new(link: &Arc<Link>, name: String) -> Self {
        Self { link: Arc::clone(link), name, message: PhantomData }
    }

    /// Drops the topic with its messages; its subscribers are told no more.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such topic.
    pub async fn delete(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(TopicOperation::Delete)).await
    }

    /// What is published from now on.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn subscribe(&self) -> Result<Subscription<T>, ClientError> {
        let mut subscription = self.subscribe_with_kept().await?;
        subscription.kept.clear();
        Ok(subscription)
    }

    /// The messages that are kept, then what is published from now on.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn subscribe_with_kept(&self) -> Result<Subscription<T>, ClientError> {
        let told = self.link.state().telling.join(&self.name);
        let joined = Joined { link: Arc::clone(&self.link), name: self.name.clone() };
        let kept = VecDeque::from(self.messages(TopicOperation::Subscribe).await?);
        let next = kept.back().map_or(0, |last| last.number + 1);
        Ok(Subscription { joined, kept, next, told, message: PhantomData })
    }

    async fn messages(&self, operation: TopicOperation) -> Result<Vec<TopicMessage>, ClientError> {
        match self.link.coordinate(self.operation(operation)).await? {
            Coordinated::Messages(messages) => Ok(messages),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }

    fn operation(&self, operation: TopicOperation) -> Operation {
        Operation::Topic { name: self.name.clone(), operation }
    }
}

impl<T: IntoValue> Topic<T> {
    /// Tells all subscribers, at most 64 KiB encoded.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is too large or the grid has no room.
    pub async fn publish(&self, value: T) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(TopicOperation::Publish(encode(value)?))).await
    }
}

impl<T: FromValue> Topic<T> {
    /// The messages that are kept, oldest first.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is no such topic, [`ClientError::Value`] when one is no
    /// `T`.
    pub async fn recent(&self) -> Result<Vec<Message<T>>, ClientError> {
        self.messages(TopicOperation::Recent).await?.into_iter().map(read).collect()
    }
}

impl<T: FromValue> Subscription<T> {
    /// The next message.
    ///
    /// # Errors
    /// [`ClientError::Value`] when it is no `T`; when the connection is lost.
    pub async fn next(&mut self) -> Result<Message<T>, ClientError> {
        if let Some(kept) = self.kept.pop_front() {
            return read(kept);
        }
        loop {
            match self.told.recv().await {
                Ok(message) if message.number < self.next => {}
                Ok(message) => {
                    self.next = message.number + 1;
                    return read(message);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => {
                    return Err(self.joined.link.why_lost().unwrap_or_else(lost));
                }
            }
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.link.tell_later(|telling| telling.leave(&self.name));
    }
}

fn read<T: FromValue>(message: TopicMessage) -> Result<Message<T>, ClientError> {
    match decode(message.value) {
        Ok(value) => Ok(Message { number: message.number, value }),
        Err(error) => {
            let number = message.number;
            Err(ClientError::Value(format!("message {number} cannot be read: {error}")))
        }
    }
}
