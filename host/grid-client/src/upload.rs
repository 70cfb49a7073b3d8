//! Bytes on their way to workers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use grid_net::{NetError, RecvStream, SendStream};
use grid_proto::message::{BulkHeader, BulkRequest, Holder};
use grid_proto::{Codec, Key, ObjectMeta, Value, WorkerId};
use tokio::task::spawn_blocking;

use crate::link::Link;

/// Pieces in which files are read.
const PIECE_BYTES: usize = 1 << 20;
/// Hashing more than this takes longer than others on this thread should wait.
const HASHED_HERE_MAX: usize = 256 << 10;

/// What is brought to the grid.
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) meta: ObjectMeta,
    source: Source,
}

pub(crate) enum Source {
    Memory(Vec<u8>),
    File(Arc<File>),
}

/// What became of an upload to one worker.
pub(crate) struct Uploaded {
    pub(crate) worker: WorkerId,
    /// What it does not have.
    pub(crate) rest: Vec<usize>,
    /// Why.
    pub(crate) error: Option<NetError>,
}

impl Source {
    /// The bytes of a file from its beginning, hashed.
    pub(crate) fn of_file(mut file: File) -> io::Result<Item> {
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut size = 0;
        loop {
            let count = file.read(&mut piece)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
            size += count as u64;
        }
        let meta = ObjectMeta { codec: Codec::Raw, size, hash: *hasher.finalize().as_bytes() };
        Ok(Item { key: Key::of_data(&meta), meta, source: Self::File(Arc::new(file)) })
    }
}

/// Values with their keys.
pub(crate) async fn items(values: Vec<Value>) -> Vec<Item> {
    let hashed = |values: Vec<Value>| values.into_iter().map(item).collect();
    let bytes: usize = values.iter().map(|value| value.bytes.len()).sum();
    if bytes <= HASHED_HERE_MAX {
        return hashed(values);
    }
    match spawn_blocking(move || hashed(values)).await {
        Ok(items) => items,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn item(value: Value) -> Item {
    let meta = value.meta();
    Item { key: Key::of_data(&meta), meta, source: Source::Memory(value.bytes) }
}

/// Uploads some items to one worker.
pub(crate) async fn to_worker(
    link: Arc<Link>,
    items: Arc<Vec<Item>>,
    home: Holder,
    places: Vec<usize>,
) -> Uploaded {
    let mut kept = 0;
    let done = upload(&link, &items, &home.address, &places, &mut kept).await;
    let rest = places[kept..].to_vec();
    let error = done.err();
    if let Some(error) = &error {
        tracing::info!(address = %home.address, %error, "a worker did not take data");
        link.set_peer(&home.address, None);
    }
    Uploaded { worker: home.worker, rest, error }
}

async fn upload(
    link: &Link,
    items: &[Item],
    address: &str,
    places: &[usize],
    kept: &mut usize,
) -> Result<(), NetError> {
    let connection = link.worker(address).await?;
    let named = places.iter().map(|place| (items[*place].key, items[*place].meta)).collect();
    let (send, mut recv) = Link::bulk(&connection, &BulkRequest::Put(named)).await?;
    // The worker answers on the way.
    let (sent, heard) =
        tokio::join!(send_all(items, places, send), hear_all(items, places, kept, &mut recv));
    match heard {
        // Then it stops reading, and sending fails for no reason of its own.
        Ok(Some(refused)) => Err(NetError::Closed(refused)),
        Ok(None) => sent,
        Err(error) => sent.and(Err(error)),
    }
}

async fn send_all(items: &[Item], places: &[usize], mut send: SendStream) -> Result<(), NetError> {
    for place in places {
        let item = &items[*place];
        match &item.source {
            Source::Memory(bytes) => send.send_bytes(bytes).await?,
            Source::File(file) => send_file(file, item.meta.size, &mut send).await?,
        }
    }
    send.finish().await
}

async fn send_file(file: &Arc<File>, size: u64, send: &mut SendStream) -> Result<(), NetError> {
    let mut sent = 0;
    while sent < size {
        let length = usize::try_from(size - sent).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let file = Arc::clone(file);
        let read = move || {
            let mut piece = vec![0; length];
            file.read_exact_at(&mut piece, sent).map(|()| piece)
        };
        let piece = spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        send.send_bytes(&piece.map_err(|_| changed())?).await?;
        sent += length as u64;
    }
    Ok(())
}

fn changed() -> NetError {
    NetError::Closed("the file changed while it was read".to_owned())
}

/// Counts what the worker says that it keeps, until it refuses something and says why.
async fn hear_all(
    items: &[Item],
    places: &[usize],
    kept: &mut usize,
    recv: &mut RecvStream,
) -> Result<Option<String>, NetError> {
    for place in places {
        match recv.recv::<BulkHeader>().await? {
            Some(BulkHeader::Found(meta)) if meta == items[*place].meta => *kept += 1,
            Some(BulkHeader::Found(_)) => {
                return Err(NetError::Closed("it keeps something else".to_owned()));
            }
            Some(BulkHeader::Refused(reason)) => return Ok(Some(reason)),
            Some(BulkHeader::Missing) | None => {
                return Err(NetError::Closed("it stopped in the middle".to_owned()));
            }
        }
    }
    Ok(None)
}
