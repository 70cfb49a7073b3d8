//! Data that clients bring: taken off the stream, verified, and given to the driver to keep.

use std::time::Duration;

use grid_net::{NetError, RecvStream, SendStream};
use grid_proto::data::ITEMS_MAX;
use grid_proto::message::BulkHeader;
use grid_proto::{Key, ObjectMeta};
use tokio::sync::{mpsc, oneshot};

use crate::incoming::{Arrived, Incoming};

/// A client whose bytes come slower than this is not waited for: what it brings takes room from
/// others' transfers.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What has arrived is kept when it is so many bytes or objects, at the latest.
const BATCH_BYTES: u64 = 1 << 20;
const BATCH_OBJECTS: usize = 256;

/// What has arrived, for the driver to keep; it says of each whether it has.
pub(crate) struct Brought {
    pub(crate) objects: Vec<(Key, Arrived)>,
    pub(crate) kept: oneshot::Sender<Vec<bool>>,
}

/// Takes in what clients bring.
#[derive(Clone)]
pub(crate) struct Taking {
    pub(crate) incoming: Incoming,
    /// Objects larger than this are not taken.
    pub(crate) bytes_max: u64,
    pub(crate) keeper: mpsc::Sender<Brought>,
}

impl Taking {
    /// Takes these objects, and says of each that it is kept, in order.
    ///
    /// # Errors
    /// When the stream ends early, or brings something else than it said.
    pub(crate) async fn take(
        &self,
        items: Vec<(Key, ObjectMeta)>,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<(), NetError> {
        if let Err(reason) = self.check(&items) {
            return send.send(&BulkHeader::Refused(reason)).await;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (key, meta) in items {
            let room = self.incoming.room(meta.size).await;
            let time = ANSWER_TIMEOUT + Duration::from_secs(meta.size / BYTES_PER_SECOND_MIN);
            let take = self.incoming.take(key, meta, recv);
            let late = |_| NetError::Closed(format!("its bytes did not come within {time:?}"));
            batch.push((key, tokio::time::timeout(time, take).await.map_err(late)??));
            bytes += meta.size;
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_OBJECTS {
                self.keep_and_say(std::mem::take(&mut batch), send).await?;
                bytes = 0;
            }
            drop(room);
        }
        self.keep_and_say(batch, send).await
    }

    /// Nobody may bring bytes under the key of something else.
    pub(crate) fn check(&self, items: &[(Key, ObjectMeta)]) -> Result<(), String> {
        if items.len() > ITEMS_MAX {
            return Err(format!("{} objects at once; at most {ITEMS_MAX} are taken", items.len()));
        }
        for (key, meta) in items {
            if *key != Key::of_data(meta) {
                return Err(format!("`{key}` is not the key of the value that it stands for"));
            }
            if meta.size > self.bytes_max {
                let (size, most) = (meta.size, self.bytes_max);
                return Err(format!("{size} bytes; this worker holds at most {most}"));
            }
        }
        Ok(())
    }

    /// Gives objects to the driver; says of each whether it is kept.
    ///
    /// # Errors
    /// The worker is stopping.
    pub(crate) async fn keep(&self, objects: Vec<(Key, Arrived)>) -> Result<Vec<bool>, NetError> {
        let stopping = || NetError::Closed("the worker is stopping".to_owned());
        let (kept, answer) = oneshot::channel();
        self.keeper.send(Brought { objects, kept }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn keep_and_say(
        &self,
        objects: Vec<(Key, Arrived)>,
        send: &mut SendStream,
    ) -> Result<(), NetError> {
        if objects.is_empty() {
            return Ok(());
        }
        let metas: Vec<_> = objects.iter().map(|(_, arrived)| arrived.meta()).collect();
        for (meta, kept) in metas.into_iter().zip(self.keep(objects).await?) {
            let header = match kept {
                true => BulkHeader::Found(meta),
                false => BulkHeader::Refused("its disk takes no more".to_owned()),
            };
            send.send(&header).await?;
        }
        Ok(())
    }
}
