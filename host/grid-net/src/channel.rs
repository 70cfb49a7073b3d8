//! Control streams: typed messages, batched by whoever is slower.
//!
//! A writer task takes all that is queued and sends it as one frame; while it writes, more gathers.
//! So a lone message leaves at once and a crowd shares frames.

use std::marker::PhantomData;

use grid_proto::frame::Message;
use tokio::sync::mpsc;

use crate::error::NetError;
use crate::stream::{RecvStream, SendStream, is_too_long};

/// Messages that one frame carries at most.
const BATCH_MAX: usize = 2048;
/// Bytes of a frame that is made of more than one message, about: whoever takes it apart has others to
/// serve.
const BATCH_BYTES: usize = 256 << 10;
/// Messages of the first frame, before it is known how long they are.
const BATCH_FIRST: usize = 64;

/// The sending end. Clones share one queue; when all are gone, the stream is finished.
#[derive(Debug)]
pub struct Outbox<T> {
    queue: mpsc::Sender<T>,
}

/// The receiving end.
pub struct Inbox<T> {
    stream: RecvStream,
    message: PhantomData<T>,
}

/// Makes a typed channel of a control stream. The queue holds `capacity` messages; a sender that
/// must not wait and finds it full learns so ([`Outbox::push`]), one that may wait does
/// ([`Outbox::send`]). Must be called inside a tokio runtime.
#[must_use]
pub fn channel<Tx, Rx>(
    send: SendStream,
    recv: RecvStream,
    capacity: usize,
) -> (Outbox<Tx>, Inbox<Rx>)
where
    Tx: Send + 'static,
    Vec<Tx>: Message,
    Vec<Rx>: Message,
{
    let (queue, messages) = mpsc::channel(capacity);
    tokio::spawn(write(send, messages));
    (Outbox { queue }, Inbox { stream: recv, message: PhantomData })
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T> Outbox<T> {
    /// Queues a message without waiting.
    ///
    /// # Errors
    /// [`NetError::Overrun`] when the queue is full, [`NetError::Closed`] when the stream is.
    pub fn push(&self, message: T) -> Result<(), NetError> {
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NetError::Overrun(self.queue.max_capacity()),
            mpsc::error::TrySendError::Closed(_) => closed(),
        })
    }

    /// Queues a message, waiting for room.
    ///
    /// # Errors
    /// [`NetError::Closed`] when the stream is closed.
    pub async fn send(&self, message: T) -> Result<(), NetError> {
        self.queue.send(message).await.map_err(|_| closed())
    }
}

impl<T> Inbox<T>
where
    Vec<T>: Message,
{
    /// The next batch; `None` when the other end has finished. The future may be dropped: nothing
    /// that arrived is lost.
    ///
    /// # Errors
    /// When a frame is too long or invalid, or the connection is lost.
    pub async fn recv(&mut self) -> Result<Option<Vec<T>>, NetError> {
        self.stream.recv().await
    }
}

async fn write<T>(mut stream: SendStream, mut messages: mpsc::Receiver<T>)
where
    T: Send + 'static,
    Vec<T>: Message,
{
    let mut batch = Vec::new();
    let mut limit = BATCH_FIRST;
    while messages.recv_many(&mut batch, limit).await > 0 {
        let count = batch.len();
        match write_batch(&mut stream, std::mem::take(&mut batch)).await {
            // As long as the last ones, the next would fill a frame.
            Ok(bytes) => limit = (BATCH_BYTES * count / bytes.max(1)).clamp(1, BATCH_MAX),
            Err(error) => {
                tracing::debug!(%error, "a control stream ended");
                return;
            }
        }
    }
    let _ = stream.finish().await;
}

/// One frame, or several when the messages are large. Gives their bytes.
async fn write_batch<T>(stream: &mut SendStream, batch: Vec<T>) -> Result<usize, NetError>
where
    Vec<T>: Message,
{
    let mut bytes = 0;
    let mut rest = vec![batch];
    while let Some(mut batch) = rest.pop() {
        match batch.encode() {
            Ok(frame) => {
                bytes += frame.len();
                stream.send_bytes(&frame).await?;
            }
            Err(error) if is_too_long(&error) && batch.len() > 1 => {
                let second = batch.split_off(batch.len() / 2);
                rest.push(second);
                rest.push(batch);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

fn closed() -> NetError {
    NetError::Closed("the other end is gone".to_owned())
}
