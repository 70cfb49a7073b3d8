//! Fetching objects from other workers: one connection per peer, one request at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use grid_net::{Connection, Endpoint, HostStream, Kind, NetError, RecvStream};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{Key, WorkerId};
use tokio::sync::mpsc;

use crate::incoming::{Arrived, Incoming, Partial};
use crate::partials::Partials;

/// A peer that does not answer by then is asked no further; the input comes from elsewhere.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Nor one that takes longer to begin with an object, however alive its connection is,
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// or that then is slower than this.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// How often one peer is asked for what is left, should it break off again and again.
const RESUMED_MAX: u32 = 3;

/// What has arrived is handed over when it is so many bytes, at the latest: until then nobody can use it,
/// nor send it to disk.
const PART_BYTES: u64 = 1 << 20;

/// What came of one request, or of a part of it.
pub(crate) struct Fetched {
    pub(crate) from: WorkerId,
    pub(crate) objects: Vec<(Key, Arrived)>,
    pub(crate) failed: Vec<Key>,
    pub(crate) took: Duration,
    /// More of it is to come.
    pub(crate) more: bool,
}

/// What comes of one request, on its way to whoever keeps it.
struct Arrivals {
    from: WorkerId,
    objects: Vec<(Key, Arrived)>,
    bytes: u64,
    /// All that has come so far, handed over or not.
    seen: BTreeSet<Key>,
    since: Instant,
    keeper: Option<mpsc::Sender<Fetched>>,
}

impl Arrivals {
    fn new(from: WorkerId, keeper: Option<mpsc::Sender<Fetched>>) -> Self {
        let (objects, seen) = (Vec::new(), BTreeSet::new());
        Self { from, objects, bytes: 0, seen, since: Instant::now(), keeper }
    }

    async fn add(&mut self, key: Key, arrived: Arrived) {
        self.bytes += arrived.meta().size;
        self.seen.insert(key);
        self.objects.push((key, arrived));
        if self.bytes >= PART_BYTES
            && let Some(keeper) = self.keeper.clone()
        {
            // Taken out only when there is room: whoever waits here may be dropped. Nobody keeps
            // anything when the worker stops.
            if let Ok(room) = keeper.reserve().await {
                room.send(self.take(Vec::new(), true));
            }
        }
    }

    fn take(&mut self, failed: Vec<Key>, more: bool) -> Fetched {
        self.bytes = 0;
        let since = std::mem::replace(&mut self.since, Instant::now());
        let objects = std::mem::take(&mut self.objects);
        Fetched { from: self.from, objects, failed, took: since.elapsed(), more }
    }
}

/// What became of one object that was asked for.
enum Taken {
    Arrived(Arrived),
    Missing,
    OverNetwork,
}

/// Connections to peers, by address.
#[derive(Clone)]
pub(crate) struct Peers {
    endpoint: Endpoint,
    incoming: Incoming,
    connections: Arc<Mutex<BTreeMap<String, Connection>>>,
    partials: Partials,
}

impl Peers {
    pub(crate) fn new(endpoint: Endpoint, incoming: Incoming) -> Self {
        Self { endpoint, incoming, connections: Arc::default(), partials: Partials::default() }
    }

    /// Asks one peer for objects. Whatever does not arrive whole and unchanged has failed. A peer that is
    /// there and has broken off in the middle of an object is asked for the rest of it; so is the next
    /// one, if it has the same. With a keeper what arrives is handed over in parts, and what is given
    /// here is the last of them.
    pub(crate) async fn fetch(
        self,
        from: WorkerId,
        address: Option<String>,
        keys: Vec<Key>,
        keeper: Option<mpsc::Sender<Fetched>>,
    ) -> Fetched {
        let mut arrivals = Arrivals::new(from, keeper);
        let mut failed = keys;
        let Some(address) = address else { return arrivals.take(failed, false) };
        for again in 1..=RESUMED_MAX {
            let before = self.partials.bytes_of(&failed);
            let fetched = self.fetch_from(&address, &failed, &mut arrivals).await;
            failed.retain(|key| !arrivals.seen.contains(key));
            let Err(error) = fetched else { break };
            tracing::info!(%address, %error, "fetching from a peer failed");
            let goes_on = self.partials.bytes_of(&failed) > before && self.is_there(&address);
            if !goes_on || again == RESUMED_MAX {
                self.hang_up(&address);
                break;
            }
        }
        arrivals.take(failed, false)
    }

    fn is_there(&self, address: &str) -> bool {
        self.lock().get(address).is_some_and(|connection| !connection.is_closed())
    }

    async fn fetch_from(
        &self,
        address: &str,
        keys: &[Key],
        arrivals: &mut Arrivals,
    ) -> Result<(), NetError> {
        let connection = self.connect(address).await?;
        let mut keys = self.fetch_on_host(&connection, keys, arrivals).await;
        for key in keys.clone() {
            if let Some(partial) = self.partials.take(&key)
                && let Some(arrived) = self.fetch_rest(&connection, key, partial).await?
            {
                arrivals.add(key, arrived).await;
                keys.retain(|other| *other != key);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let (mut send, mut recv) = connection.open(Kind::Bulk).await?;
        send.send(&BulkRequest::Objects(keys.clone())).await?;
        send.finish().await?;
        for key in &keys {
            match in_time(ANSWER_TIMEOUT, recv.recv::<BulkHeader>()).await? {
                Some(BulkHeader::Found(meta)) => {
                    let _room = self.incoming.room(meta.size).await;
                    let partial = self.incoming.begin(*key, meta).await?;
                    let arrived = self.receive(*key, partial, &mut recv).await?;
                    arrivals.add(*key, arrived).await;
                }
                Some(BulkHeader::Missing) => {}
                Some(BulkHeader::Refused(reason)) => return Err(NetError::Closed(reason)),
                Some(BulkHeader::OverNetwork | BulkHeader::Door { .. }) | None => {
                    return Err(NetError::Closed("the peer stopped early".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Fetches what is left of an object; `None` if the peer has another one, or none.
    async fn fetch_rest(
        &self,
        connection: &Connection,
        key: Key,
        partial: Partial,
    ) -> Result<Option<Arrived>, NetError> {
        let (meta, offset) = (partial.meta(), partial.bytes());
        let asked = async {
            let (mut send, mut recv) = connection.open(Kind::Bulk).await?;
            send.send(&BulkRequest::Rest { key, meta, offset }).await?;
            send.finish().await?;
            let header = in_time(ANSWER_TIMEOUT, recv.recv::<BulkHeader>()).await?;
            Ok((header, recv))
        };
        match asked.await {
            Ok((Some(BulkHeader::Found(found)), mut recv)) if found == meta => {
                let _room = self.incoming.room(meta.size - offset).await;
                match self.receive(key, partial, &mut recv).await {
                    Ok(arrived) => Ok(Some(arrived)),
                    // It came to its end: what had come before may be what is wrong.
                    Err(_) if self.partials.bytes_of(&[key]) == 0 => Ok(None),
                    Err(error) => Err(error),
                }
            }
            Ok(_) => Ok(None),
            Err(error) => {
                self.partials.keep(key, partial);
                Err(error)
            }
        }
    }

    /// Reads what is left of an object off a stream. What has come of it when that breaks off is kept.
    async fn receive(
        &self,
        key: Key,
        mut partial: Partial,
        recv: &mut RecvStream,
    ) -> Result<Arrived, NetError> {
        let left = partial.meta().size - partial.bytes();
        match in_time(time_for(left), partial.go_on(recv)).await {
            Ok(()) => self.incoming.finish(key, partial).await,
            Err(error) => {
                self.partials.keep(key, partial);
                Err(error)
            }
        }
    }

    /// Fetches what a peer on the same host has in memory. Gives the keys that have to come over the
    /// network: so does whatever did not come, because the peer did not answer in time or sent what it
    /// should not, for the network has the last word.
    async fn fetch_on_host(
        &self,
        connection: &Connection,
        keys: &[Key],
        arrivals: &mut Arrivals,
    ) -> Vec<Key> {
        let Some(mut lease) = connection.on_host().await else { return keys.to_vec() };
        let mut settled = BTreeSet::new();
        let ended = tokio::select! {
            ended = self.take_all_on_host(lease.stream(), keys, arrivals, &mut settled) => ended,
            reason = connection.closed() => Err(NetError::Closed(reason)),
        };
        match ended {
            Ok(()) => lease.give_back(),
            Err(error) => tracing::debug!(%error, "shared memory failed: the network is used"),
        }
        keys.iter().filter(|key| !settled.contains(key)).copied().collect()
    }

    async fn take_all_on_host(
        &self,
        stream: &mut HostStream,
        keys: &[Key],
        arrivals: &mut Arrivals,
        settled: &mut BTreeSet<Key>,
    ) -> Result<(), NetError> {
        stream.send(&BulkRequest::Objects(keys.to_vec()), None).await?;
        for key in keys {
            match self.take_on_host(*key, stream).await? {
                Taken::Arrived(arrived) => arrivals.add(*key, arrived).await,
                Taken::Missing => {}
                Taken::OverNetwork => continue,
            }
            settled.insert(*key);
        }
        Ok(())
    }

    async fn take_on_host(&self, key: Key, stream: &mut HostStream) -> Result<Taken, NetError> {
        // What is behind a descriptor is here: to look at it takes as long as it takes.
        let answer = in_time(ANSWER_TIMEOUT, stream.recv::<BulkHeader>()).await?;
        let Some((header, fd)) = answer else {
            return Err(NetError::Closed("the peer shares memory no longer".to_owned()));
        };
        match (header, fd) {
            (BulkHeader::Found(meta), None) if meta.size < grid_share::BYTES_MIN => {
                let count = usize::try_from(meta.size).unwrap_or(usize::MAX);
                let bytes = in_time(ANSWER_TIMEOUT, stream.recv_bytes(count)).await?;
                self.incoming.verify(key, meta, bytes).await.map(Taken::Arrived)
            }
            (BulkHeader::Found(meta), Some(_)) if self.incoming.is_large(meta.size) => {
                Ok(Taken::OverNetwork)
            }
            (BulkHeader::Found(meta), Some(fd)) => {
                self.incoming.map(key, meta, fd).await.map(Taken::Arrived)
            }
            (BulkHeader::Missing, _) => Ok(Taken::Missing),
            (BulkHeader::OverNetwork, _) => Ok(Taken::OverNetwork),
            _ => Err(NetError::NotGrid("the peer answers something else".to_owned())),
        }
    }

    /// Ends the connection to a peer, and with it whatever it was asked for.
    pub(crate) fn hang_up(&self, address: &str) {
        let connection = self.lock().remove(address);
        if let Some(connection) = connection {
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

#[cfg(test)]
mod tests;

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
