//! Reading results: from the news itself, or from a worker that holds them.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use grid_net::{Backoff, NetError, RecvStream};
use grid_proto::message::{BulkHeader, BulkRequest, FromClient, Holder};
use grid_proto::{Key, ObjectMeta, Value, WorkerId};
use grid_share::Sealed;
use tokio::task::spawn_blocking;

use crate::bytes::ResultBytes;
use crate::error::{ClientError, too_large};
use crate::link::Link;
use crate::partial::PartialFile;
use crate::slot::{Slot, Standing};

/// Rounds over all holders before the caller is told; about half a minute.
const ROUNDS_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pieces in which results go to files.
const PIECE_BYTES: u64 = 1 << 20;

/// Where a result's bytes go.
#[derive(Clone, Copy)]
enum Into<'a> {
    Memory,
    File(&'a Path),
}

/// A result, or the file that its bytes are in.
enum Got {
    Bytes(ResultBytes),
    File(PartialFile),
}

/// What has come of a result whose holder broke off in the middle: another one gives the rest.
#[derive(Default)]
struct Begun {
    meta: Option<ObjectMeta>,
    bytes: Vec<u8>,
}

impl Begun {
    /// What to ask for: the rest, if it is the same result.
    fn request(&mut self, key: Key, meta: ObjectMeta) -> BulkRequest {
        if self.meta.replace(meta) != Some(meta) {
            self.bytes = Vec::new();
        }
        match self.bytes.len() {
            0 => BulkRequest::Objects(vec![key]),
            offset => BulkRequest::Rest { key, meta, offset: offset as u64 },
        }
    }
}

/// Waits until a call has ended and gives its value.
pub(crate) async fn value(link: &Link, slot: &Slot, key: Key) -> Result<Value, ClientError> {
    let bytes = bytes(link, slot, key).await?;
    if !bytes.is_shared() {
        return Ok(bytes.into_value());
    }
    // Many, which others on this thread should not wait for.
    match spawn_blocking(move || bytes.into_value()).await {
        Ok(value) => Ok(value),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Waits until a call has ended and gives the bytes of its value, where they are.
pub(crate) async fn bytes(link: &Link, slot: &Slot, key: Key) -> Result<ResultBytes, ClientError> {
    match get(link, slot, key, Into::Memory).await? {
        Got::Bytes(bytes) => Ok(bytes),
        Got::File(_) => Err(ClientError::File("a result went to a file".to_owned())),
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
    let written = match get(link, slot, key, Into::File(path)).await? {
        Got::File(file) => file.finish(),
        Got::Bytes(bytes) => PartialFile::create(path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.finish()
        }),
    };
    written.map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> ClientError {
    ClientError::File(format!("`{}` cannot be written: {error}", path.display()))
}

/// Reads a result in place, if its holder is on this host and shares memory; `None` if it has to come over
/// the network.
async fn from_host(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    address: &str,
    into: Into<'_>,
) -> Result<Option<Got>, Broken> {
    let connection = link.worker(address).await.map_err(Broken::Link)?;
    let Some(mut lease) = connection.on_host().await else { return Ok(None) };
    let stream = lease.stream();
    let asked = async {
        stream.send(&BulkRequest::Objects(vec![key]), None).await?;
        stream.recv::<BulkHeader>().await
    };
    let answer = tokio::select! {
        answer = asked => answer,
        reason = connection.closed() => return Err(Broken::Link(NetError::Closed(reason))),
    };
    let Ok(Some((header, fd))) = answer else { return Ok(None) };
    lease.give_back();
    let fd = match (header, fd) {
        (BulkHeader::Found(found), Some(fd)) if found == meta => fd,
        _ => return Ok(None),
    };
    refuse_too_large(link, into, meta)?;
    let path = match into {
        Into::Memory => None,
        Into::File(path) => Some(path.to_owned()),
    };
    let read = spawn_blocking(move || read_shared(fd, meta, path.as_deref()));
    read.await.unwrap_or_else(|error| Err(Broken::Link(NetError::Closed(error.to_string()))))
}

/// Verifies what is shared, and writes it to the file if there is one.
fn read_shared(fd: OwnedFd, meta: ObjectMeta, path: Option<&Path>) -> Result<Option<Got>, Broken> {
    let Ok(sealed) = Sealed::from_peer(fd, meta.size) else { return Ok(None) };
    if grid_proto::hash_of(&sealed) != meta.hash {
        return Err(Broken::Link(changed()));
    }
    let Some(path) = path else {
        return Ok(Some(Got::Bytes(ResultBytes::shared(meta.codec, sealed))));
    };
    let written = PartialFile::create(path).and_then(|mut file| {
        file.write_all(&sealed)?;
        Ok(file)
    });
    written
        .map(|file| Some(Got::File(file)))
        .map_err(|error| Broken::Here(cannot_write(path, &error)))
}

fn refuse_too_large(link: &Link, into: Into<'_>, meta: ObjectMeta) -> Result<(), Broken> {
    match into {
        Into::Memory if meta.size > link.gather_bytes_max => {
            let refused = too_large("the result holds", meta.size, link.gather_bytes_max);
            Err(Broken::Here(refused))
        }
        Into::Memory | Into::File(_) => Ok(()),
    }
}

async fn read(
    link: &Link,
    into: Into<'_>,
    meta: ObjectMeta,
    recv: &mut RecvStream,
    begun: &mut Begun,
) -> Result<Got, Broken> {
    refuse_too_large(link, into, meta)?;
    let path = match into {
        Into::File(path) => path,
        Into::Memory => {
            let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
            recv.recv_rest(&mut begun.bytes, size).await.map_err(Broken::Link)?;
            let value = Value { codec: meta.codec, bytes: std::mem::take(&mut begun.bytes) };
            return match value.meta() == meta {
                true => Ok(Got::Bytes(value.into())),
                false => Err(Broken::Link(changed())),
            };
        }
    };
    receive(path, meta, recv).await.map(Got::File)
}

/// Why bytes did not come: another holder may give them, or it is for this program to mend.
enum Broken {
    Link(NetError),
    Here(ClientError),
}

async fn receive(
    path: &Path,
    meta: ObjectMeta,
    recv: &mut RecvStream,
) -> Result<PartialFile, Broken> {
    let cannot = |error: io::Error| Broken::Here(cannot_write(path, &error));
    let mut file = PartialFile::create(path).map_err(cannot)?;
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
        (hasher, file) = written.map_err(cannot)?;
    }
    match hasher.finalize() == meta.hash {
        true => Ok(file),
        false => Err(Broken::Link(changed())),
    }
}

fn changed() -> NetError {
    NetError::NotGrid("the result arrived changed".to_owned())
}

/// Waits until a call has ended, and reads its value from one of its holders unless it was told.
async fn get(link: &Link, slot: &Slot, key: Key, into: Into<'_>) -> Result<Got, ClientError> {
    let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX, u64::from(key.0[0]));
    let mut reason = String::new();
    let mut begun = Begun::default();
    for _ in 0..ROUNDS_MAX {
        let (news, standing) = slot.ended_after(None).await;
        let (meta, holders) = match standing {
            Standing::Here(value) => return Ok(Got::Bytes(value.into())),
            Standing::Failed(failure) => return Err(ClientError::Failed(failure)),
            Standing::Lost(error) => return Err(error),
            Standing::Elsewhere(meta, holders) => (meta, holders),
            Standing::Pending => continue,
        };
        tokio::select! {
            fetched = from_any(link, key, meta, &holders, into, &mut begun) => match fetched {
                Ok(got) => return Ok(got),
                Err(Broken::Here(error)) => return Err(error),
                Err(Broken::Link(error)) => reason = error.to_string(),
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

async fn from_any(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    holders: &[Holder],
    into: Into<'_>,
    begun: &mut Begun,
) -> Result<Got, Broken> {
    let mut last = NetError::Closed("no worker holds it at the moment".to_owned());
    for holder in holders {
        match from_one(link, key, meta, &holder.address, into, begun).await {
            Err(Broken::Link(error)) => {
                tracing::info!(address = %holder.address, %error, "a holder gave no result");
                link.set_peer(&holder.address, None);
                last = error;
            }
            ended => return ended,
        }
    }
    Err(Broken::Link(last))
}

async fn from_one(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    address: &str,
    into: Into<'_>,
    begun: &mut Begun,
) -> Result<Got, Broken> {
    if meta.size >= grid_share::BYTES_MIN
        && let Some(got) = from_host(link, key, meta, address, into).await?
    {
        return Ok(got);
    }
    let asked = async {
        let connection = link.worker(address).await?;
        let request = begun.request(key, meta);
        let (mut send, mut recv) = Link::bulk(&connection, &request).await?;
        send.finish().await?;
        let header = recv.recv::<BulkHeader>().await?;
        Ok((header, recv))
    };
    let (header, mut recv) = asked.await.map_err(Broken::Link)?;
    let reason = match header {
        Some(BulkHeader::Found(found)) if found == meta => {
            return read(link, into, meta, &mut recv, begun).await;
        }
        Some(BulkHeader::Found(_)) => "it holds another result".to_owned(),
        Some(BulkHeader::Missing) | None => "it does not hold the result any more".to_owned(),
        Some(BulkHeader::Refused(reason)) => reason,
        Some(BulkHeader::OverNetwork | BulkHeader::Door { .. }) => "it said nothing".to_owned(),
    };
    Err(Broken::Link(NetError::Closed(reason)))
}
