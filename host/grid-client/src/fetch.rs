//! Reading results: from the news itself, or from a worker that holds them.

use std::time::Duration;

use grid_net::{Backoff, NetError};
use grid_proto::message::{BulkHeader, BulkRequest, FromClient, Holder};
use grid_proto::{Key, ObjectMeta, Value, WorkerId};

use crate::error::ClientError;
use crate::link::Link;
use crate::slot::{Slot, Standing};

/// Rounds over all holders before the caller is told; about half a minute.
const ROUNDS_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Waits until a call has ended and gives its value.
pub(crate) async fn value(link: &Link, slot: &Slot, key: Key) -> Result<Value, ClientError> {
    let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX, u64::from(key.0[0]));
    let mut reason = String::new();
    for _ in 0..ROUNDS_MAX {
        let (news, standing) = slot.ended_after(None).await;
        let (meta, holders) = match standing {
            Standing::Here(value) => return Ok(value),
            Standing::Failed(failure) => return Err(ClientError::Failed(failure)),
            Standing::Lost(error) => return Err(error),
            Standing::Elsewhere(meta, holders) => (meta, holders),
            Standing::Pending => continue,
        };
        tokio::select! {
            fetched = from_any(link, key, meta, &holders) => match fetched {
                Ok(value) => return Ok(value),
                Err(error) => reason = error.to_string(),
            },
            // It is somewhere else now: no sense in waiting for who had it.
            _ = slot.ended_after(Some(news)) => continue,
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

async fn from_any(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    holders: &[Holder],
) -> Result<Value, NetError> {
    let mut last = NetError::Closed("no worker holds it at the moment".to_owned());
    for holder in holders {
        match from_one(link, key, meta, &holder.address).await {
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

async fn from_one(
    link: &Link,
    key: Key,
    meta: ObjectMeta,
    address: &str,
) -> Result<Value, NetError> {
    let connection = link.worker(address).await?;
    let (mut send, mut recv) = Link::bulk(&connection, &BulkRequest::Objects(vec![key])).await?;
    send.finish().await?;
    match recv.recv::<BulkHeader>().await? {
        Some(BulkHeader::Found(found)) if found == meta => {
            let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
            let value = Value { codec: meta.codec, bytes: recv.recv_bytes(size).await? };
            match value.meta() == meta {
                true => Ok(value),
                false => Err(NetError::NotGrid("the result arrived changed".to_owned())),
            }
        }
        Some(BulkHeader::Found(_)) => Err(NetError::Closed("it holds another result".to_owned())),
        Some(BulkHeader::Missing) | None => {
            Err(NetError::Closed("it does not hold the result any more".to_owned()))
        }
        Some(BulkHeader::Refused(reason)) => Err(NetError::Closed(reason)),
    }
}
