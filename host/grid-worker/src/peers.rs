//! Fetching objects from other workers: one connection per peer, one request at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use grid_net::{Connection, Endpoint, Kind, NetError};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{Key, WorkerId};

use crate::incoming::{Arrived, Incoming};

/// A peer that does not answer by then is asked no further; the input comes from elsewhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Nor one that takes longer to begin with an object, however alive its connection is,
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// or that then is slower than this.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// What came of one request.
pub(crate) struct Fetched {
    pub(crate) from: WorkerId,
    pub(crate) objects: Vec<(Key, Arrived)>,
    pub(crate) failed: Vec<Key>,
    pub(crate) took: Duration,
}

/// Connections to peers, by address.
#[derive(Clone)]
pub(crate) struct Peers {
    endpoint: Endpoint,
    incoming: Incoming,
    connections: Arc<Mutex<BTreeMap<String, Connection>>>,
}

impl Peers {
    pub(crate) fn new(endpoint: Endpoint, incoming: Incoming) -> Self {
        Self { endpoint, incoming, connections: Arc::default() }
    }

    /// Asks one peer for objects. Whatever does not arrive whole and unchanged has failed.
    pub(crate) async fn fetch(
        self,
        from: WorkerId,
        address: Option<String>,
        keys: Vec<Key>,
    ) -> Fetched {
        let started = Instant::now();
        let mut objects = Vec::new();
        if let Some(address) = address
            && let Err(error) = self.fetch_from(&address, &keys, &mut objects).await
        {
            tracing::info!(%address, %error, "fetching from a peer failed");
            self.hang_up(&address);
        }
        let arrived = |key: &Key| objects.iter().any(|(arrived, _)| arrived == key);
        let failed = keys.into_iter().filter(|key| !arrived(key)).collect();
        Fetched { from, objects, failed, took: started.elapsed() }
    }

    async fn fetch_from(
        &self,
        address: &str,
        keys: &[Key],
        objects: &mut Vec<(Key, Arrived)>,
    ) -> Result<(), NetError> {
        let connection = self.connect(address).await?;
        let (mut send, mut recv) = connection.open(Kind::Bulk).await?;
        send.send(&BulkRequest::Objects(keys.to_vec())).await?;
        send.finish().await?;
        for key in keys {
            match in_time(ANSWER_TIMEOUT, recv.recv::<BulkHeader>()).await? {
                Some(BulkHeader::Found(meta)) => {
                    let _room = self.incoming.room(meta.size).await;
                    let take = self.incoming.take(*key, meta, &mut recv);
                    objects.push((*key, in_time(time_for(meta.size), take).await?));
                }
                Some(BulkHeader::Missing) => {}
                Some(BulkHeader::Refused(reason)) => return Err(NetError::Closed(reason)),
                None => return Err(NetError::Closed("the peer stopped early".to_owned())),
            }
        }
        Ok(())
    }

    /// Ends the connection to a peer, and with it whatever it was asked for.
    pub(crate) fn hang_up(&self, address: &str) {
        if let Some(connection) = self.lock().remove(address) {
            connection.close("not answered in time, or said to be gone");
        }
    }

    async fn connect(&self, address: &str) -> Result<Connection, NetError> {
        let known = self.lock().get(address).cloned();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let connection = self.endpoint.connect(address, CONNECT_TIMEOUT).await?;
        self.lock().insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time_for(size: u64) -> Duration {
    ANSWER_TIMEOUT + Duration::from_secs(size / BYTES_PER_SECOND_MIN)
}

async fn in_time<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    let late = |_| NetError::Closed(format!("the peer was silent for {time:?}"));
    tokio::time::timeout(time, answer).await.map_err(late)?
}
