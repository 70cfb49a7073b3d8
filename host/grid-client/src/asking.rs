//! Operations on what is shared by name: asked, answered, and given up when nobody waits any more.

use std::collections::HashMap;
use std::sync::Arc;

use grid_proto::coordination::{
    Coordinated, Item, LeaseKind, LeaseOperation, Operation, TopicMessage, TopicOperation,
};
use grid_proto::message::{Answer, FromClient};
use grid_proto::{LeaseId, RequestId};
use tokio::sync::{broadcast, oneshot};

use crate::client::unexpected;
use crate::error::ClientError;
use crate::link::Link;

/// Messages of a topic that a subscription may be behind; beyond that it misses the oldest.
const TOPIC_BACKLOG_MAX: usize = 1_024;

/// What a lease is of.
pub(crate) type LeasePlace = (LeaseKind, String);

/// Somebody who waits for an answer.
pub(crate) struct Question {
    pub(crate) sender: oneshot::Sender<Answer>,
    pub(crate) lease: Option<LeasePlace>,
}

impl Question {
    /// Gives a lease back that nobody waits for any more.
    pub(crate) fn answer(self, answer: Answer) -> Option<(LeasePlace, LeaseId)> {
        match self.sender.send(answer) {
            Err(Answer::Coordinated(Coordinated::Lease(id))) => Some((self.lease?, id)),
            // Whoever asked may have lost patience.
            Ok(()) | Err(_) => None,
        }
    }
}

/// What is to be said without waiting, and who listens to topics.
#[derive(Default)]
pub(crate) struct Telling {
    abandoned: Vec<RequestId>,
    leases: Vec<(LeasePlace, LeaseId)>,
    left_topics: Vec<String>,
    topics: HashMap<String, Audience>,
}

struct Audience {
    sender: broadcast::Sender<TopicMessage>,
    subscriptions: usize,
}

impl Telling {
    /// The messages that say it all.
    pub(crate) fn take(&mut self, request: impl Fn() -> RequestId) -> Vec<FromClient> {
        let Self { abandoned, leases, left_topics, topics } = self;
        let release = |((kind, name), id)| Operation::Lease {
            kind,
            name,
            operation: LeaseOperation::Release(id),
        };
        let leave = |name| Operation::Topic { name, operation: TopicOperation::Unsubscribe };
        left_topics.retain(|name| !topics.contains_key(name));
        let operations = leases.drain(..).map(release).chain(left_topics.drain(..).map(leave));
        abandoned
            .drain(..)
            .map(FromClient::Abandon)
            // Nobody waits for the answers.
            .chain(operations.map(|operation| FromClient::Coordinate {
                request: request(),
                operation,
            }))
            .collect()
    }

    pub(crate) fn abandon(&mut self, request: RequestId) {
        self.abandoned.push(request);
    }

    pub(crate) fn release(&mut self, lease: (LeasePlace, LeaseId)) {
        self.leases.push(lease);
    }

    pub(crate) fn join(&mut self, topic: &str) -> broadcast::Receiver<TopicMessage> {
        let audience = self.topics.entry(topic.to_owned()).or_insert_with(|| Audience {
            sender: broadcast::channel(TOPIC_BACKLOG_MAX).0,
            subscriptions: 0,
        });
        audience.subscriptions += 1;
        audience.sender.subscribe()
    }

    pub(crate) fn leave(&mut self, topic: &str) {
        let Some(audience) = self.topics.get_mut(topic) else { return };
        audience.subscriptions -= 1;
        if audience.subscriptions == 0 {
            self.topics.remove(topic);
            self.left_topics.push(topic.to_owned());
        }
    }

    pub(crate) fn hear(&mut self, topic: &str, message: TopicMessage) {
        if let Some(audience) = self.topics.get(topic) {
            // The last listener may just be leaving.
            let _ = audience.sender.send(message);
        }
    }

    /// Nothing more will be heard, nor said.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }
}

/// An operation that was asked for. Dropped before its end, it is given up: what it was given goes
/// back.
pub(crate) struct Asked {
    link: Arc<Link>,
    request: RequestId,
    answer: oneshot::Receiver<Answer>,
    lease: Option<LeasePlace>,
    is_open: bool,
}

impl Asked {
    pub(crate) async fn ask(link: &Arc<Link>, operation: Operation) -> Result<Self, ClientError> {
        let lease = match &operation {
            Operation::Lease { kind, name, operation: LeaseOperation::Acquire { .. } } => {
                Some((*kind, name.clone()))
            }
            _ => None,
        };
        let request = link.next_request();
        link.flush_releases().await?;
        let answer = link.question(request, lease.clone());
        let asked = Self { link: Arc::clone(link), request, answer, lease, is_open: true };
        link.send(FromClient::Coordinate { request, operation }).await?;
        Ok(asked)
    }

    /// The answer; items are taken over only with [`Self::take`].
    pub(crate) async fn answer(&mut self) -> Result<Coordinated, ClientError> {
        let answer = (&mut self.answer).await;
        let given = match self.link.answered(answer) {
            Ok(Answer::Coordinated(given)) => given,
            Ok(other) => {
                self.is_open = false;
                return Err(unexpected(&other));
            }
            Err(error) => {
                self.is_open = false;
                return Err(error);
            }
        };
        self.is_open = matches!(given, Coordinated::Items(_));
        Ok(given)
    }

    /// The items that it was given, `None` if the time was over. `hold` makes what the caller keeps
    /// of them, futures on the calls among them above all.
    pub(crate) async fn take<T>(
        mut self,
        hold: impl FnOnce(Vec<Item>) -> T,
    ) -> Result<Option<T>, ClientError> {
        match self.answer().await? {
            Coordinated::Items(items) => {
                let held = hold(items);
                // Releases of futures on the same calls come first: these are new ones.
                self.link.flush_releases().await?;
                self.link.send(FromClient::Took(self.request)).await?;
                self.is_open = false;
                Ok(Some(held))
            }
            Coordinated::TimedOut => Ok(None),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        // From now on the link gives a lease back that comes too late.
        self.answer.close();
        let came = match self.answer.try_recv() {
            Ok(Answer::Coordinated(Coordinated::Lease(id))) => Some(id),
            _ => None,
        };
        let lease = self.lease.take().zip(came);
        self.link.tell_later(|telling| match lease {
            Some(lease) => telling.release(lease),
            None => telling.abandon(self.request),
        });
    }
}

impl Link {
    /// An operation that gives no items.
    pub(crate) async fn coordinate(
        self: &Arc<Self>,
        operation: Operation,
    ) -> Result<Coordinated, ClientError> {
        Asked::ask(self, operation).await?.answer().await
    }

    /// An operation that waits: whether it came about in time.
    pub(crate) async fn in_time(
        self: &Arc<Self>,
        operation: Operation,
    ) -> Result<bool, ClientError> {
        match self.coordinate(operation).await? {
            Coordinated::Done => Ok(true),
            Coordinated::TimedOut => Ok(false),
            other => Err(unexpected(&Answer::Coordinated(other))),
        }
    }

    /// An operation that is done at once, or refused.
    pub(crate) async fn carry_out(
        self: &Arc<Self>,
        operation: Operation,
    ) -> Result<(), ClientError> {
        self.in_time(operation).await.map(|_| ())
    }
}
