//! Reading results: from the news itself, or from a worker that holds them.

use std::io;
use std::path::Path;
use std::time::Duration;

use grid_net::{Backoff, NetError, RecvStream};
use grid_proto::message::{BulkHeader, BulkRequest, FromClient, Holder};
use grid_proto::{Key, ObjectMeta, Value, WorkerId};
use tokio::task::spawn_blocking;

use crate::error::ClientError;
use crate::link::Link;
use crate::partial::PartialFile;
use crate::slot::{Slot, Standing};

/// Rounds over all holders before the caller is told; about half a minute.
const ROUNDS_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pieces in which results go to files.
const PIECE_BYTES: u64 = 1 << 20;

/// A result as it was told, or what was made of it while it came.
enum Got<T> {
    Told(Value),
    Read(T),
}

/// Waits until a call has ended and gives its value.
pub(crate) async fn value(link: &Link, slot: &Slot, key: Key) -> Result<Value, ClientError> {
    let read = async |meta: ObjectMeta, recv: &mut RecvStream| {
        let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
        let value = Value { codec: meta.codec, bytes: recv.recv_bytes(size).await? };
        match value.meta() == meta {
            true => Ok(value),
            false => Err(changed()),
        }
    };
    match get(link, slot, key, read).await? {
        Got::Told(value) | Got::Read(value) => Ok(value),
    }
}

/// Waits until a call has ended and writes the bytes of its value to a file, which is there when all
/// of them are. Gives their number.
pub(crate) async fn to_file(
    link: &Link,
    slot: &Slot,
    key: Key,
    path: &Path,
) -> Result<u64, ClientError> {
    let cannot = |error: io::Error| {
        ClientError::File(format!("`{}` cannot be written: {error}", path.display()))
    };
    // Of this machine, and not of the worker's.
    let mut own = None;
    let read = async |meta: ObjectMeta, recv: &mut RecvStream| match receive(path, meta, recv).await
    {
        Ok(file) => Ok(file),
        Err(Broken::Link(error)) => Err(error),
        Err(Broken::File(error)) => {
            own = Some(error);
            Ok(None)
        }
    };
    let got = get(link, slot, key, read).await?;
    if let Some(error) = own {
        return Err(cannot(error));
    }
    let file = match got {
        Got::Told(value) => {
            let mut file = PartialFile::create(path).map_err(cannot)?;
            file.write_all(&value.bytes).map_err(cannot)?;
            file
        }
        Got::Read(Some(file)) => file,
        Got::Read(None) => return Ok(0),
    };
    file.finish().map_err(cannot)
}

enum Broken {
    Link(NetError),
    File(io::Error),
}

async fn receive(
    path: &Path,
    meta: ObjectMeta,
    recv: &mut RecvStream,
) -> Result<Option<PartialFile>, Broken> {
    let mut file = PartialFile::create(path).map_err(Broken::File)?;
    let mut hasher = blake3::Hasher::new();
    let mut left = meta.size;
    while left > 0 {
        let length = usize::try_from(left.min(PIECE_BYTES)).unwrap_or(usize::MAX);
        let piece = recv.recv_bytes(length).await.map_err(Broken::Link)?;
        left -= piece.len() as u64;
        let written = spawn_blocking(move || {
            hasher.update(&piece);
            file.write_all(&piece).map(|()| (hasher, file))
        });
        let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        (hasher, file) = written.map_err(Broken::File)?;
    }
    match hasher.finalize() == meta.hash {
        true => Ok(Some(file)),
        false => Err(Broken::Link(changed())),
    }
}

fn changed() -> NetError {
    NetError::NotGrid("the result arrived changed".to_owned())
}

/// Waits until a call has ended, and reads its value from one of its holders unless it was told.
async fn get<T>(
    link: &Link,
    slot: &Slot,
    key: Key,
    mut read: impl AsyncFnMut(ObjectMeta, &mut RecvStream) -> Result<T, NetError>,
) -> Result<Got<T>, ClientError> {
    let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX, u64::from(key.0[0]));
    let mut reason = String::new();
    for _ in 0..ROUNDS_MAX {
        let (news, standing) = slot.ended_after(None).await;
        let (meta, holders) = match standing {
            Standing::Here(value) => return Ok(Got::Told(value)),
            Standing::Failed(failure) => return Err(ClientError::Failed(failure)),
            Standing::Lost(error) => return Err(error),
            Standing::Elsewhere(meta, holders) => (meta, holders),
            Standing::Pending => continue,
        };
        tokio::select! {
            fetched = from_any(link, key, meta, &holders, &mut read) => match fetched {
                Ok(value) => return Ok(Got::Read(value)),
                Err(error) => reason = error.to_string(),
            },
            // It is somewhere else now: no sense in waiting for who had it.
            () = left(slot, news, &holders) => continue,
        }
        // The news may be old: a holder may have died, and the call may be running once more.
        tokio::time::sleep(backoff.next_wait()).await;
        let failed: Vec<(Key, WorkerId)> =
            holders.iter().map(|holder| (key, holder.worker)).collect();
        slot.set(Standing::Pending);
        link.send(FromClient::Locate { keys: vec![key], failed }).await?;
    }
    Err(ClientError::Fetch { key: key.short(), reason })
}

/// Waits until it is told that none of these holds the result any more, or only others do.
async fn left(slot: &Slot, news: u64, holders: &[Holder]) {
    let mut known = news;
    loop {
        let (news, standing) = slot.ended_after(Some(known)).await;
        match standing {
            Standing::Elsewhere(_, now) if holders.iter().all(|holder| now.contains(holder)) => {
                known = news;
            }
            _ => return,
        }
    }
}

async fn from_any<T>(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    holders: &[Holder],
    read: &mut impl AsyncFnMut(ObjectMeta, &mut RecvStream) -> Result<T, NetError>,
) -> Result<T, NetError> {
    let mut last = NetError::Closed("no worker holds it at the moment".to_owned());
    for holder in holders {
        match from_one(link, key, meta, &holder.address, read).await {
            Ok(value) => return Ok(value),
            Err(error) => {
                tracing::info!(address = %holder.address, %error, "a holder gave no result");
                link.set_peer(&holder.address, None);
                last = error;
            }
        }
    }
    Err(last)
}

async fn from_one<T>(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    address: &str,
    read: &mut impl AsyncFnMut(ObjectMeta, &mut RecvStream) -> Result<T, NetError>,
) -> Result<T, NetError> {
    let connection = link.worker(address).await?;
    let (mut send, mut recv) = Link::bulk(&connection, &BulkRequest::Objects(vec![key])).await?;
    send.finish().await?;
    match recv.recv::<BulkHeader>().await? {
        Some(BulkHeader::Found(found)) if found == meta => read(meta, &mut recv).await,
        Some(BulkHeader::Found(_)) => Err(NetError::Closed("it holds another result".to_owned())),
        Some(BulkHeader::Missing) | None => {
            Err(NetError::Closed("it does not hold the result any more".to_owned()))
        }
        Some(BulkHeader::Refused(reason)) => Err(NetError::Closed(reason)),
    }
}
