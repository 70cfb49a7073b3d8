//! What clients, and calls that speak as clients, share by name: datasets, variables, queues, locks,
//! semaphores, events and topics.
//!
//! A client sends an [`Operation`] and gets one [`Coordinated`] or a refusal. An operation that
//! waits says for how long: `wait_ms` is `None` for ever and 0 for not at all; who waits longest is
//! served first. Given [`Coordinated::Items`], the client says
//! [`crate::message::FromClient::Took`]; until then they are kept for it, and go back to the queue
//! that they came from if it dies or says [`crate::message::FromClient::Abandon`].

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{Key, LeaseId};
use crate::value::Value;

/// A name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 256;
/// A value in a variable, a queue or a topic; what is larger belongs into the result of a call,
/// whose future fits anywhere.
pub const ITEM_BYTES_MAX: usize = 64 << 10;
/// Futures that one dataset names: they fit one frame.
pub const DATASET_KEYS_MAX: usize = 100_000;
/// Items of a queue whose users do not say how many it may hold.
pub const QUEUE_ITEMS_DEFAULT: u32 = 10_000;
/// Operations that wait, leases, and items not yet taken over, of one client together.
pub const OPEN_PER_CLIENT_MAX: usize = 4_096;
/// Messages that a topic keeps for late readers.
pub const TOPIC_MESSAGES_MAX: usize = 256;
/// Their bytes together.
pub const TOPIC_BYTES_MAX: u64 = 1 << 20;
/// Items that one answer carries, in bytes: it has to fit a frame.
pub const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// What can be held under a name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A small value itself.
    Value(Value),
    /// The result of a call, which the grid keeps while the item exists.
    Call(Key),
}

/// The kinds of things that have names, each kind with names of its own.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Debug,
)]
#[serde(rename_all = "kebab-case")]
pub enum NamedKind {
    /// Futures that outlive the client which published them.
    Dataset,
    /// One item that can be replaced.
    Variable,
    /// Items, first in, first out.
    Queue,
    /// One holder at a time.
    Lock,
    /// So many holders at a time.
    Semaphore,
    /// A flag to wait for.
    Event,
    /// Messages for whoever subscribed.
    Topic,
}

impl NamedKind {
    /// The word that people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Variable => "variable",
            Self::Queue => "queue",
            Self::Lock => "lock",
            Self::Semaphore => "semaphore",
            Self::Event => "event",
            Self::Topic => "topic",
        }
    }
}

impl std::fmt::Display for NamedKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.label())
    }
}

/// Something to do with what is shared by name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// All of a kind; answered by `List`.
    List(NamedKind),
    /// One of a kind; answered by a `List` of one.
    Describe {
        /// Which kind.
        kind: NamedKind,
        /// Its name.
        name: String,
    },
    /// On a dataset.
    Dataset {
        /// Its name.
        name: String,
        /// What to do.
        operation: DatasetOperation,
    },
    /// On a variable.
    Variable {
        /// Its name.
        name: String,
        /// What to do.
        operation: VariableOperation,
    },
    /// On a queue.
    Queue {
        /// Its name.
        name: String,
        /// What to do.
        operation: QueueOperation,
    },
    /// On a lock or a semaphore.
    Lease {
        /// A lock or a semaphore.
        kind: LeaseKind,
        /// Its name.
        name: String,
        /// What to do.
        operation: LeaseOperation,
    },
    /// On an event.
    Event {
        /// Its name.
        name: String,
        /// What to do.
        operation: EventOperation,
    },
    /// On a topic.
    Topic {
        /// Its name.
        name: String,
        /// What to do.
        operation: TopicOperation,
    },
}

/// On a dataset.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum DatasetOperation {
    /// Name these calls; their results are kept until the name is given up.
    Publish {
        /// The calls.
        keys: Vec<Key>,
        /// Whatever has the name loses it.
        replace: bool,
    },
    /// Answered by `Items`, all of them calls.
    Get,
    /// Give the name up.
    Unpublish,
}

/// On a variable.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum VariableOperation {
    /// It holds this from now on.
    Set(Item),
    /// Answered by `Items` with one, as soon as it is set.
    Get {
        /// How long to wait.
        wait_ms: Option<u64>,
    },
    /// It holds nothing from now on.
    Delete,
}

/// On a queue, which exists from its first use until it is deleted.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum QueueOperation {
    /// Add an item at the end, as soon as there is room.
    Put {
        /// The item.
        item: Item,
        /// Items that the queue may hold; 0 takes it as it is.
        items_max: u32,
        /// How long to wait.
        wait_ms: Option<u64>,
    },
    /// Take items from the front, as soon as there is one; answered by `Items`.
    Get {
        /// At most so many.
        count_max: u32,
        /// Items that the queue may hold; 0 takes it as it is.
        items_max: u32,
        /// How long to wait.
        wait_ms: Option<u64>,
    },
    /// Drop it with its items; whoever waits for it is refused.
    Delete,
}

/// What hands out leases.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LeaseKind {
    /// One lease.
    Lock,
    /// So many leases as its users agree on.
    Semaphore,
}

impl LeaseKind {
    /// The kind of the name.
    #[must_use]
    pub fn named(self) -> NamedKind {
        match self {
            Self::Lock => NamedKind::Lock,
            Self::Semaphore => NamedKind::Semaphore,
        }
    }
}

/// On a lock or a semaphore. A lease ends when it is released, when its client is gone, or when it
/// was not renewed in time.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum LeaseOperation {
    /// Wait for a lease; answered by `Lease`.
    Acquire {
        /// Leases at a time; all users must say the same.
        leases_max: u32,
        /// The lease ends if it is not renewed for that long.
        lease_ms: Option<u64>,
        /// How long to wait.
        wait_ms: Option<u64>,
    },
    /// The holder is still there.
    Renew(LeaseId),
    /// The holder is done.
    Release(LeaseId),
}

/// On an event, which is not set at first.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum EventOperation {
    /// Whoever waits goes on, and whoever comes to wait.
    Set,
    /// Whoever comes from now on waits.
    Clear,
    /// Answered by `Done` when it is set.
    Wait {
        /// How long to wait.
        wait_ms: Option<u64>,
    },
    /// Answered by `Truth`.
    IsSet,
}

/// On a topic, which exists from its first use until it is deleted.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum TopicOperation {
    /// Tell all subscribers.
    Publish(Value),
    /// Be told what comes; answered by the `Messages` that are kept.
    Subscribe,
    /// Not any more.
    Unsubscribe,
    /// Answered by the `Messages` that are kept.
    Recent,
    /// Drop it with its messages; its subscribers are told no more.
    Delete,
}

/// What an operation gave.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Coordinated {
    /// It is done.
    Done,
    /// It did not come about in time, or was abandoned.
    TimedOut,
    /// What there is, in the order of names.
    List(Vec<NamedInfo>),
    /// Items to take over.
    Items(Vec<Item>),
    /// A lease.
    Lease(LeaseId),
    /// Yes or no.
    Truth(bool),
    /// Messages of a topic, oldest first.
    Messages(Vec<TopicMessage>),
}

/// One message of a topic.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct TopicMessage {
    /// Counts the topic's messages from 0.
    pub number: u64,
    /// What was published.
    pub value: Value,
}

/// Something that has a name.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct NamedInfo {
    /// What it is.
    pub kind: NamedKind,
    /// Its name.
    pub name: String,
    /// Calls of a dataset, items of a variable or queue, holders of a lock or semaphore, messages
    /// kept by a topic; 1 for an event that is set.
    pub size: u64,
    /// What `size` may grow to.
    pub size_max: u64,
    /// Operations that wait for it.
    pub waiting: u64,
    /// Clients that are told its messages.
    pub subscribers: u64,
}
