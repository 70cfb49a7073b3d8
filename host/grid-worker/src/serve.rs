//! Serving objects to other workers and to clients, and taking in what clients bring.

use grid_net::{Connection, Endpoint, Kind, NetError, RecvStream, SendStream};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{Key, ObjectMeta};
use grid_store::{LoadError, Reader, Store};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::brought::Taking;

/// Pieces in which spilled objects are read and sent.
const PIECE_BYTES: usize = 1 << 20;

/// What is served and taken in, and who is told of objects that turn out to be lost.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) store: Store,
    pub(crate) lost: mpsc::Sender<Key>,
    pub(crate) taking: Taking,
    /// Where memory is shared with processes of this host.
    pub(crate) door: Option<BulkHeader>,
}

/// Answers whoever connects, until the endpoint is closed.
pub(crate) async fn serve(endpoint: Endpoint, serving: Serving) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(serve_peer(connection, serving.clone()));
    }
}

async fn serve_peer(connection: Connection, serving: Serving) {
    loop {
        match connection.accept().await {
            Ok((Kind::Bulk, send, recv)) => {
                let serving = serving.clone();
                tokio::spawn(async move {
                    if let Err(error) = answer(send, recv, &serving).await {
                        tracing::debug!(%error, "a request for objects ended early");
                    }
                });
            }
            Ok((Kind::Client | Kind::Worker, ..)) => {
                connection.close("this is a worker; control streams go to the scheduler");
                return;
            }
            Err(NetError::Version { .. } | NetError::NotGrid(_)) => {}
            Err(_) => return,
        }
    }
}

async fn answer(
    mut send: SendStream,
    mut recv: RecvStream,
    serving: &Serving,
) -> Result<(), NetError> {
    let keys = match recv.recv::<BulkRequest>().await? {
        Some(BulkRequest::Objects(keys)) => keys,
        Some(BulkRequest::Put(items)) => {
            serving.taking.take(items, &mut send, &mut recv).await?;
            return send.finish().await;
        }
        Some(BulkRequest::Share) => {
            let none = || BulkHeader::Refused("this worker shares no memory".to_owned());
            send.send(&serving.door.clone().unwrap_or_else(none)).await?;
            return send.finish().await;
        }
        Some(BulkRequest::Rest { key, meta, offset }) => {
            send_rest(key, meta, offset, &mut send, serving).await?;
            return send.finish().await;
        }
        Some(BulkRequest::Bundle(_) | BulkRequest::Deploy { .. }) => {
            let reason = "this is a worker; bundles are with the scheduler".to_owned();
            return send.send(&BulkHeader::Refused(reason)).await;
        }
        None => return Ok(()),
    };
    for key in keys {
        match serving.store.find(&key) {
            Some(object) => {
                send.send(&BulkHeader::Found(object.meta)).await?;
                send.send_bytes(&object.bytes).await?;
            }
            None => {
                if let Some(reader) = open(key, 0, serving).await {
                    send_from_file(key, reader, &mut send, serving).await?;
                } else {
                    send.send(&BulkHeader::Missing).await?;
                }
            }
        }
    }
    send.finish().await
}

/// Sends what is left of an object, if it is still this one.
async fn send_rest(
    key: Key,
    meta: ObjectMeta,
    offset: u64,
    send: &mut SendStream,
    serving: &Serving,
) -> Result<(), NetError> {
    if serving.store.meta(&key) != Some(meta) || offset > meta.size {
        return send.send(&BulkHeader::Missing).await;
    }
    match open(key, offset, serving).await {
        Some(reader) if reader.meta() == meta => send_from_file(key, reader, send, serving).await,
        _ => send.send(&BulkHeader::Missing).await,
    }
}

/// An object, wherever it is, from this byte on. One that cannot be read is lost.
async fn open(key: Key, offset: u64, serving: &Serving) -> Option<Reader> {
    let store = serving.store.clone();
    let opened = blocking(move || {
        let mut reader = store.reader(&key)?;
        reader.skip(offset)?;
        Ok(reader)
    });
    match opened.await {
        Ok(reader) => Some(reader),
        Err(LoadError::Missing) => None,
        Err(error) => {
            serving.tell_lost(key, &error).await;
            None
        }
    }
}

/// Sends an object that may not be in memory, piece by piece. One that cannot be read is lost: whoever
/// wanted it sees the stream end early, or bytes that do not have the object's hash.
async fn send_from_file(
    key: Key,
    mut reader: Reader,
    send: &mut SendStream,
    serving: &Serving,
) -> Result<(), NetError> {
    send.send(&BulkHeader::Found(reader.meta())).await?;
    loop {
        let (read, rest) = blocking(move || next_piece(reader)).await;
        match read {
            Ok(piece) if piece.is_empty() => return Ok(()),
            Ok(piece) => send.send_bytes(&piece).await?,
            Err(error) => {
                serving.tell_lost(key, &error).await;
                return Err(NetError::Closed(error.to_string()));
            }
        }
        reader = rest;
    }
}

fn next_piece(mut reader: Reader) -> (Result<Vec<u8>, LoadError>, Reader) {
    let mut piece = vec![0; PIECE_BYTES];
    let read = reader.read(&mut piece).map(|count| {
        piece.truncate(count);
        piece
    });
    (read, reader)
}

/// Does what may wait for a disk where that keeps nobody waiting.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Serving {
    async fn tell_lost(&self, key: Key, error: &LoadError) {
        tracing::warn!(key = %key, %error, "a spilled object is lost");
        let _ = self.lost.send(key).await;
    }
}
