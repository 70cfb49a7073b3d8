//! Objects on their way in: bounded in bytes together, verified, and kept in memory or, if they are
//! large, in a file that they are written to as they come.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grid_net::{NetError, RecvStream};
use grid_proto::{Key, ObjectMeta};
use grid_store::{Object, Receiver, Reserved, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::host;

/// What transfers together may hold of a worker's memory.
const SHARE_MAX: u64 = 10;
/// Unless that is less.
const BYTES_MIN: u64 = 16 << 20;
/// Bytes that one permit stands for.
const PERMIT_BYTES: u64 = 64 << 10;
/// What has come before goes to disk first, if memory is full; a disk that is slower than this for one
/// object is not waited for.
const BEHIND_MAX: Duration = Duration::from_secs(1);
const BEHIND_LOOK: Duration = Duration::from_millis(2);
/// Pieces in which large objects are written.
const PIECE_BYTES: usize = 4 << 20;
/// Hashing more than this takes longer than the io thread has.
const HASHED_HERE_MAX: u64 = 256 << 10;

/// Takes objects in for one store. Clones share the bound.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    store: Store,
    permits: Arc<Semaphore>,
    permits_max: u32,
}

/// An object of which a part has come, or all.
#[derive(Debug)]
pub(crate) struct Partial {
    meta: ObjectMeta,
    part: Part,
}

#[derive(Debug)]
enum Part {
    /// All of it is counted from the beginning.
    Memory(Vec<u8>, Reserved),
    File(Option<Box<Receiver>>),
}

/// An object that has come whole and unchanged.
pub(crate) enum Arrived {
    Object(Object),
    /// It is in a file, which the store does not know yet.
    File(Box<Receiver>),
}

impl Incoming {
    /// For a store whose worker may hold so many bytes.
    pub(crate) fn new(store: Store, limit_bytes: u64) -> Self {
        let bytes = (limit_bytes / SHARE_MAX).max(BYTES_MIN);
        let permits = bytes / PERMIT_BYTES;
        let permits_max = u32::try_from(permits).unwrap_or(u32::MAX).min(1 << 28);
        let permits = Arc::new(Semaphore::new(permits_max as usize));
        Self { store, permits, permits_max }
    }

    /// Waits until an object of this size may be asked for: others are on their way too. A larger one
    /// than all may hold comes alone.
    pub(crate) async fn room(&self, size: u64) -> OwnedSemaphorePermit {
        let permits = u32::try_from(size / PERMIT_BYTES).unwrap_or(u32::MAX);
        let permits = permits.min(self.permits_max);
        let permit = match Arc::clone(&self.permits).acquire_many_owned(permits).await {
            Ok(permit) => permit,
            // Nobody closes it.
            Err(_) => std::future::pending().await,
        };
        let started = Instant::now();
        while self.store.is_behind() && started.elapsed() < BEHIND_MAX {
            tokio::time::sleep(BEHIND_LOOK).await;
        }
        permit
    }

    /// Reads the bytes of an object off a stream.
    ///
    /// # Errors
    /// When the stream ends early, the bytes are not what they should be, or the disk takes no more.
    pub(crate) async fn take(
        &self,
        key: Key,
        meta: ObjectMeta,
        recv: &mut RecvStream,
    ) -> Result<Arrived, NetError> {
        let mut partial = self.begin(key, meta).await?;
        partial.go_on(recv).await?;
        self.finish(key, partial).await
    }

    /// An object of which nothing has come yet.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub(crate) async fn begin(&self, key: Key, meta: ObjectMeta) -> Result<Partial, NetError> {
        let part = if self.store.is_large(meta.size) {
            let store = self.store.clone();
            Part::File(Some(on_disk(move || store.receive(key, meta).map(Box::new)).await?))
        } else {
            Part::Memory(Vec::new(), self.store.gauge().reserve(meta.size))
        };
        Ok(Partial { meta, part })
    }

    /// An object all of which has come.
    ///
    /// # Errors
    /// It is not what it should be.
    pub(crate) async fn finish(&self, key: Key, partial: Partial) -> Result<Arrived, NetError> {
        match partial.part {
            Part::Memory(bytes, reserved) => {
                drop(reserved);
                self.verify(key, partial.meta, bytes).await
            }
            Part::File(Some(receiver)) if receiver.is_whole() => Ok(Arrived::File(receiver)),
            Part::File(_) => Err(changed(&key)),
        }
    }

    /// An object of bytes that have come, if they are what they should be.
    ///
    /// # Errors
    /// They are not.
    pub(crate) async fn verify(
        &self,
        key: Key,
        meta: ObjectMeta,
        bytes: Vec<u8>,
    ) -> Result<Arrived, NetError> {
        let gauge = self.store.gauge().clone();
        let verify = move || Object::verified(meta, bytes, &gauge);
        let object = match meta.size > HASHED_HERE_MAX {
            true => spawn_blocking(verify).await.unwrap_or(None),
            false => verify(),
        };
        object.map(Arrived::Object).ok_or_else(|| changed(&key))
    }

    /// Whether an object of this size has to come through a file.
    pub(crate) fn is_large(&self, size: u64) -> bool {
        self.store.is_large(size)
    }

    /// An object in the memory of another process of this host, if it is what it should be.
    ///
    /// # Errors
    /// It is not, or it cannot be mapped.
    pub(crate) async fn map(
        &self,
        key: Key,
        meta: ObjectMeta,
        fd: OwnedFd,
    ) -> Result<Arrived, NetError> {
        let gauge = self.store.gauge().clone();
        let object = on_disk(move || host::map(meta, fd, &gauge)).await?;
        object.map(Arrived::Object).ok_or_else(|| changed(&key))
    }

    /// Keeps what has arrived. Says whether it is kept.
    pub(crate) fn keep(&self, key: Key, arrived: Arrived) -> bool {
        match arrived {
            Arrived::Object(object) => {
                self.store.insert(key, object);
                true
            }
            Arrived::File(receiver) => match self.store.insert_received(*receiver) {
                Ok(kept) => kept,
                Err(error) => {
                    tracing::warn!(key = %key, %error, "a large object could not be kept on disk");
                    false
                }
            },
        }
    }
}

impl Partial {
    pub(crate) fn meta(&self) -> ObjectMeta {
        self.meta
    }

    /// How much of it has come.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.part {
            Part::Memory(bytes, _) => bytes.len() as u64,
            Part::File(receiver) => receiver.as_ref().map_or(0, |it| it.received_bytes()),
        }
    }

    /// Reads what is left off a stream. What has come is not lost if that ends early, or takes too
    /// long.
    ///
    /// # Errors
    /// When the stream ends early, or the disk takes no more.
    pub(crate) async fn go_on(&mut self, recv: &mut RecvStream) -> Result<(), NetError> {
        let size = self.meta.size;
        match &mut self.part {
            Part::Memory(bytes, _) => {
                recv.recv_rest(bytes, usize::try_from(size).unwrap_or(usize::MAX)).await
            }
            Part::File(place) => {
                while let Some(left) = place.as_ref().map(|it| size - it.received_bytes())
                    && left > 0
                {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                    let mut piece = Vec::new();
                    let received = recv.recv_rest(&mut piece, length).await;
                    // Away only while it writes: dropped in the middle of that, it is of no use.
                    let Some(mut receiver) = place.take() else { break };
                    let written = on_disk(move || receiver.write(&piece).map(|()| receiver));
                    *place = Some(written.await?);
                    received?;
                }
                Ok(())
            }
        }
    }
}

impl Arrived {
    pub(crate) fn meta(&self) -> ObjectMeta {
        match self {
            Self::Object(object) => object.meta,
            Self::File(receiver) => receiver.meta(),
        }
    }
}

fn changed(key: &Key) -> NetError {
    NetError::NotGrid(format!("object {key} arrived changed"))
}

/// Does what may wait for a disk where that keeps nobody waiting.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, NetError> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(NetError::from)
}
