//! Sessions: one connection each, its messages on their way to the driver.

use std::sync::Arc;

use grid_net::{Connection, Endpoint, Inbox, Kind, NetError, channel};
use grid_proto::frame::Message;
use grid_proto::message::{FromClient, FromWorker, ToClient, ToWorker};
use grid_proto::pieces::CALLS_PER_PIECE_MAX;
use grid_proto::{ClientId, Key, WorkerId};
use tokio::sync::Semaphore;

use crate::bulk;
use crate::bundle_files::BundleFiles;
use crate::driver::{Input, Inputs};

/// Messages that wait for a client or worker to take them; one that is further behind is cut off.
const OUTBOX_MAX: usize = 1 << 18;
/// Bytes of one client on their way to the scheduler.
const CLIENT_IN_FLIGHT_BYTES: u32 = 1 << 20;
/// Parts of batches of one client that wait for the driver.
const WAITING_PER_CLIENT_MAX: usize = 2;
/// A part of a batch ends where it names this many calls.
const CALLS_PER_PART: usize = 500;

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(endpoint: Endpoint, files: Arc<BundleFiles>, inputs: Inputs) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(connected(connection, Arc::clone(&files), inputs.clone()));
    }
}

async fn connected(connection: Connection, files: Arc<BundleFiles>, inputs: Inputs) {
    loop {
        match connection.accept().await {
            Ok((Kind::Bulk, send, recv)) => {
                let answer = bulk::answer(send, recv, Arc::clone(&files), inputs.clone());
                tokio::spawn(async move {
                    if let Err(error) = answer.await {
                        tracing::debug!(%error, "a bulk stream ended early");
                    }
                });
            }
            Ok((Kind::Client, send, recv)) => {
                connection.bound_in_flight(CLIENT_IN_FLIGHT_BYTES);
                let (outbox, inbox) = channel::<ToClient, FromClient>(send, recv, OUTBOX_MAX);
                let id = ClientId(inputs.next_id());
                inputs.send(Input::Client(id, connection.clone(), outbox)).await;
                tokio::spawn(serve_client(id, connection.clone(), inbox, inputs.clone()));
            }
            Ok((Kind::Worker, send, recv)) => {
                let (outbox, inbox) = channel::<ToWorker, FromWorker>(send, recv, OUTBOX_MAX);
                let id = WorkerId(inputs.next_id());
                inputs.send(Input::Worker(id, connection.clone(), outbox)).await;
                tokio::spawn(serve_worker(id, connection.clone(), inbox, inputs.clone()));
            }
            Err(error @ (NetError::Version { .. } | NetError::NotGrid(_))) => {
                tracing::warn!(%error, "a stream was refused");
            }
            Err(_) => return,
        }
    }
}

async fn serve_client(
    id: ClientId,
    connection: Connection,
    mut inbox: Inbox<FromClient>,
    inputs: Inputs,
) {
    // Who sends much waits for its own turn: the messages of others are not behind all of it.
    let turns = Arc::new(Semaphore::new(WAITING_PER_CLIENT_MAX));
    while let Some(batch) = next(&mut inbox, &connection).await {
        for part in parts(batch) {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            inputs.send(Input::FromClient(id, part, turn)).await;
        }
    }
    inputs.send(Input::ClientGone(id)).await;
}

/// Cuts a batch, and messages that are larger than our own clients send them, into parts that take the
/// driver about a millisecond each.
fn parts(batch: Vec<FromClient>) -> Vec<Vec<FromClient>> {
    let mut parts = vec![Vec::new()];
    let mut weight = 0;
    for message in batch.into_iter().flat_map(pieces) {
        weight += match &message {
            FromClient::Submit(piece) => piece.weight(),
            FromClient::Scatter(scattering) => scattering.items.len().max(1),
            FromClient::Release(keys)
            | FromClient::Cancel { keys, .. }
            | FromClient::Replicate { keys, .. }
            | FromClient::Rebalance { keys, .. }
            | FromClient::Retry { keys, .. } => keys.len().max(1),
            FromClient::Locate { keys, failed } => (keys.len() + failed.len()).max(1),
            _ => 1,
        };
        parts.last_mut().expect("there is a first part").push(message);
        if weight >= CALLS_PER_PART {
            parts.push(Vec::new());
            weight = 0;
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn pieces(message: FromClient) -> Vec<FromClient> {
    match message {
        FromClient::Submit(piece) if piece.weight() > 2 * CALLS_PER_PIECE_MAX => {
            piece.into_pieces().into_iter().map(FromClient::Submit).collect()
        }
        FromClient::Release(keys) if keys.len() > CALLS_PER_PART => {
            let release = |keys: &[Key]| FromClient::Release(keys.to_vec());
            keys.chunks(CALLS_PER_PART).map(release).collect()
        }
        FromClient::Cancel { keys, force } if keys.len() > CALLS_PER_PART => {
            let cancel = |keys: &[Key]| FromClient::Cancel { keys: keys.to_vec(), force };
            keys.chunks(CALLS_PER_PART).map(cancel).collect()
        }
        // Each key and each failed holder is looked at by itself.
        FromClient::Locate { keys, failed } if keys.len() + failed.len() > CALLS_PER_PART => {
            let failed = failed.chunks(CALLS_PER_PART).map(|failed| (Vec::new(), failed.to_vec()));
            let keys = keys.chunks(CALLS_PER_PART).map(|keys| (keys.to_vec(), Vec::new()));
            failed.chain(keys).map(|(keys, failed)| FromClient::Locate { keys, failed }).collect()
        }
        message => vec![message],
    }
}

async fn serve_worker(
    id: WorkerId,
    connection: Connection,
    mut inbox: Inbox<FromWorker>,
    inputs: Inputs,
) {
    while let Some(batch) = next(&mut inbox, &connection).await {
        inputs.send(Input::FromWorker(id, batch)).await;
    }
    let ended = if connection.is_closed() { None } else { Some("its stream ended") };
    // Of no effect if it is closed already.
    connection.close(ended.unwrap_or_default());
    let reason = connection.closed().await;
    inputs.send(Input::WorkerGone(id, ended.map_or(reason, str::to_owned))).await;
}

/// The next batch; `None` after the connection's end. A peer that sends what is no message is told so
/// and cut off.
async fn next<T>(inbox: &mut Inbox<T>, connection: &Connection) -> Option<Vec<T>>
where
    Vec<T>: Message,
{
    let received = tokio::select! {
        biased;
        received = inbox.recv() => received,
        // In memory, streams outlive their connection.
        _ = connection.closed() => return None,
    };
    match received {
        Ok(batch) => batch,
        Err(error @ NetError::Frame(_)) => {
            tracing::warn!(%error, "a peer is cut off");
            connection.close(&error.to_string());
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use grid_proto::message::Submission;

    use super::*;

    #[test]
    fn cancel_and_locate_are_cut_and_retry_is_weighed() {
        let keys: Vec<_> = (0..10_000_u32)
            .map(|number| {
                let mut key = Key([0; 32]);
                key.0[..4].copy_from_slice(&number.to_le_bytes());
                key
            })
            .collect();
        let failed: Vec<_> = keys.iter().map(|key| (*key, WorkerId(1))).collect();
        let batch = vec![
            FromClient::Cancel { keys: keys.clone(), force: true },
            FromClient::Locate { keys: keys.clone(), failed: failed.clone() },
            FromClient::Retry { request: grid_proto::RequestId(1), keys: keys.clone() },
            FromClient::Release(Vec::new()),
        ];
        let parts = parts(batch);
        assert_eq!(parts.len(), 62, "20 and 40 of {CALLS_PER_PART}, a retry, and the rest");
        let (mut cancelled, mut located, mut lacked) = (Vec::new(), Vec::new(), Vec::new());
        for message in parts.into_iter().flatten() {
            match message {
                FromClient::Cancel { keys, force: true } => cancelled.extend(keys),
                FromClient::Locate { keys, failed } => {
                    located.extend(keys);
                    lacked.extend(failed);
                }
                FromClient::Retry { keys: retried, .. } => assert_eq!(retried, keys),
                FromClient::Release(released) => assert!(released.is_empty()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((&cancelled, &located, &lacked), (&keys, &keys, &failed));
    }

    #[test]
    fn what_names_very_many_calls_is_taken_in_in_parts() {
        let keys: Vec<_> = (0..3_000_u32)
            .map(|number| {
                let mut key = Key([0; 32]);
                key.0[..4].copy_from_slice(&number.to_le_bytes());
                key
            })
            .collect();
        let submission = Submission { wanted: keys.clone(), ..Submission::default() };
        let batch = vec![FromClient::Submit(submission), FromClient::Release(keys.clone())];
        let parts = parts(batch);
        assert!(parts.len() >= 12, "{}", parts.len());
        let (mut wanted, mut released, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for message in parts.into_iter().flatten() {
            match message {
                FromClient::Submit(piece) => {
                    more.push(piece.more);
                    wanted.extend(piece.wanted);
                }
                FromClient::Release(keys) => released.extend(keys),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((&wanted, &released), (&keys, &keys));
        assert_eq!(more.iter().filter(|more| !**more).count(), 1);
        assert_eq!(more.last(), Some(&false));
    }
}
