//! The connection to the scheduler, and what came over it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use grid_net::{Connection, Endpoint, Inbox, Outbox};
use grid_proto::message::{Answer, BulkRequest, FromClient, Query, Submission, ToClient};
use grid_proto::report::BundleInfo;
use grid_proto::{Key, RequestId};
use tokio::sync::{Notify, oneshot};

use crate::error::ClientError;
use crate::slot::{Slot, Standing};

/// Messages to the scheduler that wait to be written; a submitter waits beyond that.
pub(crate) const OUTBOX_MAX: usize = 256;

/// Keys that are released by one message: it shall keep the scheduler from nobody else for long.
const RELEASES_PER_MESSAGE_MAX: usize = 2_000;

/// What all handles of one client share.
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    pub(crate) scheduler: Connection,
    pub(crate) address: String,
    outbox: Outbox<FromClient>,
    state: Mutex<State>,
    releases: Arc<Notify>,
    requests: AtomicU64,
    peers: Mutex<HashMap<String, Connection>>,
}

#[derive(Default)]
struct State {
    futures: HashMap<Key, Interest>,
    /// Keys whose last future is gone; told together.
    released: Vec<Key>,
    questions: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// Keys of submissions that are neither accepted nor refused yet.
    submitted: HashMap<RequestId, Vec<Key>>,
    bundles: HashMap<String, BundleInfo>,
    lost: Option<ClientError>,
}

struct Interest {
    slot: Arc<Slot>,
    futures: usize,
}

impl Link {
    pub(crate) fn start(
        endpoint: Endpoint,
        scheduler: Connection,
        address: String,
        outbox: Outbox<FromClient>,
        inbox: Inbox<ToClient>,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            endpoint,
            scheduler,
            address,
            outbox,
            state: Mutex::default(),
            releases: Arc::default(),
            requests: AtomicU64::new(1),
            peers: Mutex::default(),
        });
        tokio::spawn(listen(Arc::downgrade(&link), inbox));
        tokio::spawn(release(Arc::downgrade(&link), Arc::clone(&link.releases)));
        link
    }

    /// Counts a new future on a key.
    pub(crate) fn hold(&self, key: Key) -> Arc<Slot> {
        let mut state = self.state();
        let lost = state.lost.clone();
        let interest = state.futures.entry(key).or_insert_with(|| {
            let slot = Slot::new();
            if let Some(error) = lost {
                slot.set(Standing::Lost(error));
            }
            Interest { slot: Arc::new(slot), futures: 0 }
        });
        interest.futures += 1;
        Arc::clone(&interest.slot)
    }

    /// A future is gone.
    pub(crate) fn let_go(&self, key: Key) {
        let mut state = self.state();
        let Some(interest) = state.futures.get_mut(&key) else { return };
        interest.futures -= 1;
        if interest.futures == 0 {
            state.futures.remove(&key);
            state.released.push(key);
            if state.released.len() == 1 {
                self.releases.notify_one();
            }
        }
    }

    /// Sends a submission, after the releases that came before it.
    pub(crate) async fn submit(
        &self,
        pieces: Vec<Submission>,
        wanted: &[Key],
    ) -> Result<(), ClientError> {
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        self.flush_releases().await?;
        self.state().submitted.insert(request, wanted.to_vec());
        for piece in pieces {
            self.send(FromClient::Submit(Submission { request, ..piece })).await?;
        }
        Ok(())
    }

    async fn flush_releases(&self) -> Result<(), ClientError> {
        let keys: Vec<_> = {
            let mut state = self.state();
            let released = std::mem::take(&mut state.released);
            // A key that was let go and taken up again is still wanted.
            released.into_iter().filter(|key| !state.futures.contains_key(key)).collect()
        };
        for keys in keys.chunks(RELEASES_PER_MESSAGE_MAX) {
            self.send(FromClient::Release(keys.to_vec())).await?;
        }
        Ok(())
    }

    pub(crate) async fn send(&self, message: FromClient) -> Result<(), ClientError> {
        match self.outbox.send(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.state().lost.clone().unwrap_or_else(|| error.into())),
        }
    }

    pub(crate) async fn ask(&self, query: Query) -> Result<Answer, ClientError> {
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.state().questions.insert(request, sender);
        self.send(FromClient::Query { request, query }).await?;
        match answer.await {
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.state().lost.clone().unwrap_or_else(lost)),
        }
    }

    pub(crate) fn remember_bundle(&self, info: BundleInfo) {
        let mut state = self.state();
        state.bundles.insert(info.description.name.clone(), info);
    }

    pub(crate) fn known_bundle(&self, name: &str) -> Option<BundleInfo> {
        self.state().bundles.get(name).cloned()
    }

    pub(crate) fn peer(&self, address: &str) -> Option<Connection> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }

    pub(crate) fn set_peer(&self, address: &str, connection: Option<Connection>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match connection {
            Some(connection) => peers.insert(address.to_owned(), connection),
            None => peers.remove(address),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_message(&self, message: ToClient) {
        match message {
            ToClient::Ready { key, inline: Some(value), .. } => {
                self.set(key, Standing::Here(value));
            }
            ToClient::Ready { key, meta, holders, inline: None } => {
                self.set(key, Standing::Elsewhere(meta, holders));
            }
            ToClient::Output { key, text } => {
                if let Some(slot) = self.slot(&key) {
                    slot.set_output(text);
                }
            }
            ToClient::Failed { key, failure } => self.set(key, Standing::Failed(Box::new(failure))),
            ToClient::Accepted(request) => {
                self.state().submitted.remove(&request);
            }
            ToClient::Refused { request, error } => {
                let keys = self.state().submitted.remove(&request).unwrap_or_default();
                for key in keys {
                    self.set_if_pending(key, Standing::Lost(ClientError::Refused(error.clone())));
                }
            }
            ToClient::Answer { request, answer } => {
                let question = self.state().questions.remove(&request);
                if let Some(question) = question {
                    // Whoever asked may have lost patience.
                    let _ = question.send(answer);
                }
            }
        }
    }

    fn slot(&self, key: &Key) -> Option<Arc<Slot>> {
        self.state().futures.get(key).map(|interest| Arc::clone(&interest.slot))
    }

    fn set(&self, key: Key, standing: Standing) {
        if let Some(slot) = self.slot(&key) {
            slot.set(standing);
        }
    }

    fn set_if_pending(&self, key: Key, standing: Standing) {
        if let Some(slot) = self.slot(&key).filter(|slot| slot.is_pending()) {
            slot.set(standing);
        }
    }

    /// The connection is gone: nothing more will be told.
    fn on_lost(&self, error: &ClientError) {
        let slots: Vec<_> = {
            let mut state = self.state();
            state.lost = Some(error.clone());
            state.questions.clear();
            state.futures.values().map(|interest| Arc::clone(&interest.slot)).collect()
        };
        for slot in slots.into_iter().filter(|slot| slot.is_pending()) {
            slot.set(Standing::Lost(error.clone()));
        }
    }

    /// A request and the stream that its answer comes on.
    pub(crate) async fn bulk(
        connection: &Connection,
        request: &BulkRequest,
    ) -> Result<(grid_net::SendStream, grid_net::RecvStream), grid_net::NetError> {
        let (mut send, recv) = connection.open(grid_net::Kind::Bulk).await?;
        send.send(request).await?;
        Ok((send, recv))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.scheduler.close("the client is done");
        // Lets the task that tells of releases see that there is nothing left to tell.
        self.releases.notify_one();
    }
}

fn lost() -> ClientError {
    ClientError::Net("the connection to the scheduler is lost".to_owned())
}

async fn listen(link: Weak<Link>, mut inbox: Inbox<ToClient>) {
    loop {
        let received = inbox.recv().await;
        let Some(link) = link.upgrade() else { return };
        match received {
            Ok(Some(batch)) => {
                for message in batch {
                    link.on_message(message);
                }
            }
            Ok(None) | Err(_) => {
                let reason = link.scheduler.closed().await;
                let error = ClientError::Net(format!(
                    "the connection to the scheduler at `{}` is lost: {reason}",
                    link.address
                ));
                link.on_lost(&error);
                return;
            }
        }
    }
}

/// Tells of futures that are gone, many at a time.
async fn release(link: Weak<Link>, releases: Arc<Notify>) {
    loop {
        releases.notified().await;
        let Some(link) = link.upgrade() else { return };
        if link.flush_releases().await.is_err() {
            return;
        }
    }
}
