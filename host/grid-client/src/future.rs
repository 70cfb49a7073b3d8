//! Futures: handles on calls.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use grid_proto::{Key, Value};
use grid_sdk::objects::{Reader, Written};
use grid_sdk::{ArgNode, FromValue, IntoArg};

use crate::bytes::ResultBytes;
use crate::error::ClientError;
use crate::fetch;
use crate::link::Link;
use crate::slot::Slot;
use crate::value::decode;

/// A handle on a call whose result is a `T`. Clones are handles on the same call; when the last one
/// is dropped, the grid frees the result, or stops the call if nobody else wants it.
pub struct Future<T> {
    key: Key,
    link: Arc<Link>,
    slot: Arc<Slot>,
    output: PhantomData<fn() -> T>,
}

impl<T> Future<T> {
    /// On what the scheduler knows this client to want, or is about to be told by something else than
    /// a submission.
    pub(crate) fn new(link: &Arc<Link>, key: Key) -> Self {
        Self::of(link, key, link.hold(key))
    }

    /// On what is about to be submitted.
    pub(crate) fn claim(link: &Arc<Link>, key: Key) -> Self {
        Self::of(link, key, link.claim(key))
    }

    fn of(link: &Arc<Link>, key: Key, slot: Arc<Slot>) -> Self {
        Self { key, link: Arc::clone(link), slot, output: PhantomData }
    }

    /// The same, whatever it is.
    pub(crate) fn untyped(&self) -> Future<()> {
        Future::claim(&self.link, self.key)
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The call's key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether the call has ended, with or without a result.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.slot.is_pending()
    }

    /// Waits until the call has ended, with or without a result; fetches nothing.
    pub async fn wait(&self) {
        self.slot.ended().await;
    }

    /// What the call wrote to standard output and standard error, control sequences removed: its
    /// end, once the call has a result and if this client waited for it. A failure carries its last
    /// lines itself.
    #[must_use]
    pub fn output(&self) -> String {
        self.slot.output()
    }

    /// Waits for the result and gives its bytes.
    ///
    /// # Errors
    /// [`ClientError::Failed`] when the call has no result; [`ClientError::TooLarge`] when it holds more
    /// than [`ClientOptions::gather_bytes_max`](crate::ClientOptions); others when it cannot be had.
    pub async fn value(&self) -> Result<Value, ClientError> {
        fetch::value(&self.link, &self.slot, self.key).await
    }

    /// Waits for the result and gives its bytes where they are: those of a large result of a worker on
    /// this host are mapped and not copied.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub async fn bytes(&self) -> Result<ResultBytes, ClientError> {
        fetch::bytes(&self.link, &self.slot, self.key).await
    }
}

impl<T> Future<T> {
    /// Waits for the result and writes its bytes to a file, without holding them in memory. The file
    /// has its name when all of it is there; what had the name before is replaced. Gives the number
    /// of bytes.
    ///
    /// # Errors
    /// [`ClientError::Failed`] when the call has no result; [`ClientError::File`] when the file cannot
    /// be written; others when the result cannot be had.
    pub async fn save(&self, path: &std::path::Path) -> Result<u64, ClientError> {
        fetch::to_file(&self.link, &self.slot, self.key, path).await
    }
}

impl<T: FromValue> Future<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`ClientError::Failed`] when the call has no result; [`ClientError::Value`] when it is not a
    /// `T`; others when it cannot be had.
    pub async fn result(&self) -> Result<T, ClientError> {
        self.read(self.value().await?)
    }

    /// A value as what it should be.
    pub(crate) fn read(&self, value: Value) -> Result<T, ClientError> {
        decode(value).map_err(|error| {
            let key = self.key.short();
            ClientError::Value(format!("the result of `{key}` cannot be read: {error}"))
        })
    }
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        // Of the same standing: nobody claims it anew.
        Self::claim(&self.link, self.key)
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        self.link.let_go(self.key);
    }
}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("key", &self.key).field("done", &self.is_done()).finish()
    }
}

macro_rules! reads {
    ($($given:ty),+) => {$(
        /// For a task that reads it piece by piece.
        impl IntoArg<Reader> for &Future<$given> {
            fn into_arg(self) -> ArgNode {
                ArgNode::Key(self.key.0)
            }
        }
    )+};
}

reads!(grid_sdk::Raw, grid_sdk::Value, Written);

/// For a task that is given it as a whole.
impl IntoArg<grid_sdk::Raw> for &Future<Written> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Key(self.key.0)
    }
}

impl<T> IntoArg<T> for &Future<T> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Key(self.key.0)
    }
}
