//! Bytes on their way to workers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};

use grid_net::{Connection, NetError, RecvStream, SendStream};
use grid_proto::message::{BulkHeader, BulkRequest, Holder};
use grid_proto::{Codec, Key, ObjectMeta, Value, WorkerId};
use grid_share::Sealed;
use tokio::task::spawn_blocking;

use crate::link::Link;

/// Pieces in which files are read.
const PIECE_BYTES: usize = 1 << 20;
/// Hashing more than this takes longer than others on this thread should wait.
const HASHED_HERE_MAX: usize = 256 << 10;
/// Files that hold more are not read into memory, shared or not.
const SHARED_FILE_BYTES_MAX: u64 = 64 << 20;

/// What is brought to the grid.
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) meta: ObjectMeta,
    source: Source,
    /// The same bytes where processes of this host can map them, once that was asked for.
    shared: OnceLock<Option<Sealed>>,
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

impl Item {
    /// The bytes where processes of this host can map them; copied there once.
    fn share(&self) -> Option<Sealed> {
        let copied = self.shared.get_or_init(|| {
            let copied = match &self.source {
                Source::Memory(bytes) => Sealed::copy_of(bytes),
                Source::File(file) => {
                    let mut from = FromStart { file, at: 0 };
                    Sealed::read_from(&mut from, self.meta.size)
                }
            };
            copied.inspect_err(|error| tracing::debug!(%error, "memory cannot be shared")).ok()
        });
        copied.clone()
    }

    /// Whether it goes to workers on this host through shared memory.
    fn is_shared(&self) -> bool {
        let most = match self.source {
            Source::Memory(_) => u64::MAX,
            Source::File(_) => SHARED_FILE_BYTES_MAX,
        };
        (grid_share::BYTES_MIN..=most).contains(&self.meta.size)
    }
}

/// Reads a file without moving the place at which others read it.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
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
        Ok(Item {
            key: Key::of_data(&meta),
            meta,
            source: Self::File(Arc::new(file)),
            shared: OnceLock::new(),
        })
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
    Item {
        key: Key::of_data(&meta),
        meta,
        source: Source::Memory(value.bytes),
        shared: OnceLock::new(),
    }
}

/// Uploads some items to one worker, unless it is said to be gone meanwhile.
pub(crate) async fn to_worker(
    link: Arc<Link>,
    items: Arc<Vec<Item>>,
    home: Holder,
    places: Vec<usize>,
    gone: impl Future<Output = ()>,
) -> Uploaded {
    let mut kept = BTreeSet::new();
    let done = tokio::select! {
        done = upload(&link, &items, &home.address, &places, &mut kept) => done,
        () = gone => Err(NetError::Closed("the worker is gone".to_owned())),
    };
    let rest = places.into_iter().filter(|place| !kept.contains(place)).collect();
    let error = done.err();
    if let Some(error) = &error {
        tracing::info!(address = %home.address, %error, "a worker did not take data");
        link.set_peer(&home.address, None);
    }
    Uploaded { worker: home.worker, rest, error }
}

async fn upload(
    link: &Link,
    items: &Arc<Vec<Item>>,
    address: &str,
    places: &[usize],
    kept: &mut BTreeSet<usize>,
) -> Result<(), NetError> {
    let connection = link.worker(address).await?;
    bring_on_host(&connection, items, places, kept).await;
    let places: Vec<_> = places.iter().copied().filter(|place| !kept.contains(place)).collect();
    let places = &places[..];
    if places.is_empty() {
        return Ok(());
    }
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

/// Hands large values to a worker on this host, in memory that both share. What it does not take is left.
async fn bring_on_host(
    connection: &Connection,
    items: &Arc<Vec<Item>>,
    places: &[usize],
    kept: &mut BTreeSet<usize>,
) {
    for place in places.iter().filter(|place| items[**place].is_shared()) {
        let Some(mut lease) = connection.on_host().await else { return };
        let (all, own) = (Arc::clone(items), *place);
        let shared = spawn_blocking(move || all[own].share()).await.unwrap_or(None);
        let Some(shared) = shared else { return lease.give_back() };
        let item = &items[*place];
        let brought = async {
            let request = BulkRequest::Put(vec![(item.key, item.meta)]);
            lease.stream().send(&request, Some(shared.as_fd())).await?;
            lease.stream().recv::<BulkHeader>().await
        };
        let answer = tokio::select! {
            answer = brought => answer,
            _ = connection.closed() => return,
        };
        let Ok(Some((header, _))) = answer else { return };
        lease.give_back();
        match header {
            BulkHeader::Found(meta) if meta == item.meta => _ = kept.insert(*place),
            // The network has the last word.
            other => tracing::debug!(?other, "shared memory was not taken"),
        }
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
    kept: &mut BTreeSet<usize>,
    recv: &mut RecvStream,
) -> Result<Option<String>, NetError> {
    for place in places {
        match recv.recv::<BulkHeader>().await? {
            Some(BulkHeader::Found(meta)) if meta == items[*place].meta => _ = kept.insert(*place),
            Some(BulkHeader::Found(_)) => {
                return Err(NetError::Closed("it keeps something else".to_owned()));
            }
            Some(BulkHeader::Refused(reason)) => return Ok(Some(reason)),
            Some(BulkHeader::Missing | BulkHeader::OverNetwork | BulkHeader::Door { .. })
            | None => {
                return Err(NetError::Closed("it stopped in the middle".to_owned()));
            }
        }
    }
    Ok(None)
}
