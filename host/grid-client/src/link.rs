//! The connection to the scheduler, and what came over it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use grid_net::{Connection, Endpoint, Inbox, NetError, Outbox};
use grid_proto::message::{Answer, BulkRequest, FromClient, Query, Submission, ToClient};
use grid_proto::report::BundleInfo;
use grid_proto::{Key, RequestId};
use grid_sdk::CallNode;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::asking::{LeasePlace, Question, Telling};
use crate::error::ClientError;
use crate::hearing;
use crate::io::Io;
use crate::slot::{Slot, Standing};

/// Messages to the scheduler that wait to be written; a submitter waits beyond that.
pub(crate) const OUTBOX_MAX: usize = 256;

/// A worker that does not answer by then counts as gone for a result.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Keys that are released by one message: it shall keep the scheduler from nobody else for long.
const RELEASES_PER_MESSAGE_MAX: usize = 2_000;

/// What all handles of one client share.
pub(crate) struct Link {
    /// Where the connections live, unless that is the caller's runtime.
    io: Option<Io>,
    /// Bytes of results that the program takes at a time.
    pub(crate) gather_bytes_max: u64,
    pub(crate) endpoint: Endpoint,
    pub(crate) scheduler: Connection,
    pub(crate) address: String,
    outbox: Outbox<FromClient>,
    state: Mutex<State>,
    /// Held while what was to be said later is on its way to the queue, so that nothing that is
    /// said after it comes before it.
    telling: tokio::sync::Mutex<()>,
    releases: Arc<Notify>,
    /// Held while the pieces of a submission are on their way to the queue.
    submitting: Arc<tokio::sync::Mutex<()>>,
    requests: AtomicU64,
    peers: Mutex<HashMap<String, Connection>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) futures: HashMap<Key, Interest>,
    /// Keys whose last future is gone; told together.
    released: Vec<Key>,
    /// What else is to be said without waiting.
    pub(crate) telling: Telling,
    pub(crate) questions: HashMap<RequestId, Question>,
    /// Submissions that are neither accepted nor refused yet.
    pub(crate) submitted: HashMap<RequestId, Submitted>,
    /// Nodes of graphs whose futures are held: they are named by key when they come again. The node
    /// stays alive, so that its address means it.
    persisted: HashMap<usize, (Arc<CallNode>, Key)>,
    bundles: HashMap<String, BundleInfo>,
    /// Whom the key of every call is told that fails.
    failure_tellers: Vec<mpsc::UnboundedSender<Key>>,
    pub(crate) lost: Option<ClientError>,
}

pub(crate) struct Interest {
    pub(crate) slot: Arc<Slot>,
    futures: usize,
    claim: Claim,
    /// Addresses of nodes in `persisted`.
    nodes: Vec<usize>,
}

/// What there is to say about a key that a submission names for the first time. News of it that comes
/// before the submission is accepted is of an earlier life: it was let go, and somebody else may have
/// cancelled it since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It is about to be submitted.
    Fresh,
    /// It was, and the scheduler has not answered.
    Sent(RequestId),
    /// The scheduler knows that this client wants it.
    Known,
}

/// Whom the end of a submission concerns.
pub(crate) struct Submitted {
    pub(crate) keys: Vec<Key>,
    pub(crate) told: oneshot::Sender<Result<(), ClientError>>,
}

impl Link {
    pub(crate) fn start(
        endpoint: Endpoint,
        scheduler: Connection,
        address: String,
        (outbox, inbox): (Outbox<FromClient>, Inbox<ToClient>),
        (io, gather_bytes_max): (Option<Io>, u64),
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            io,
            gather_bytes_max,
            endpoint,
            scheduler,
            address,
            outbox,
            state: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            releases: Arc::default(),
            submitting: Arc::default(),
            requests: AtomicU64::new(1),
            peers: Mutex::default(),
        });
        tokio::spawn(hearing::listen(Arc::downgrade(&link), inbox));
        tokio::spawn(release(Arc::downgrade(&link), Arc::clone(&link.releases)));
        link
    }

    /// Counts a new future on a key that the scheduler knows this client to want.
    pub(crate) fn hold(&self, key: Key) -> Arc<Slot> {
        self.hold_as(key, Claim::Known)
    }

    /// Counts a new future on a key that is about to be submitted.
    pub(crate) fn claim(&self, key: Key) -> Arc<Slot> {
        self.hold_as(key, Claim::Fresh)
    }

    fn hold_as(&self, key: Key, claim: Claim) -> Arc<Slot> {
        let mut state = self.state();
        let lost = state.lost.clone();
        let interest = state.futures.entry(key).or_insert_with(|| {
            let slot = Slot::new();
            if let Some(error) = lost {
                slot.set(Standing::Lost(error));
            }
            Interest { slot: Arc::new(slot), futures: 0, claim, nodes: Vec::new() }
        });
        interest.futures += 1;
        if claim == Claim::Known {
            interest.claim = claim;
        }
        Arc::clone(&interest.slot)
    }

    /// The slot of a key, if news of it may be believed.
    pub(crate) fn slot(&self, key: &Key) -> Option<Arc<Slot>> {
        let state = self.state();
        let interest = state.futures.get(key).filter(|interest| interest.claim == Claim::Known);
        interest.map(|interest| Arc::clone(&interest.slot))
    }

    /// A submission was accepted, or refused: news of what it named may be believed.
    pub(crate) fn end_submission(&self, request: RequestId) -> Option<Submitted> {
        let mut state = self.state();
        let submitted = state.submitted.remove(&request)?;
        for key in &submitted.keys {
            if let Some(interest) = state.futures.get_mut(key)
                && interest.claim == Claim::Sent(request)
            {
                interest.claim = Claim::Known;
            }
        }
        Some(submitted)
    }

    /// A future is gone.
    pub(crate) fn let_go(&self, key: Key) {
        let mut state = self.state();
        let Some(interest) = state.futures.get_mut(&key) else { return };
        interest.futures -= 1;
        if interest.futures == 0 {
            let nodes = std::mem::take(&mut interest.nodes);
            state.futures.remove(&key);
            let forgotten: Vec<_> =
                nodes.into_iter().filter_map(|node| state.persisted.remove(&node)).collect();
            state.released.push(key);
            if state.released.len() == 1 {
                self.releases.notify_one();
            }
            drop(state);
            // A long chain of nodes takes its time to drop.
            drop(forgotten);
        }
    }

    /// This node is the call of this key as long as a future on it exists.
    pub(crate) fn persist(&self, node: &Arc<CallNode>, key: Key) {
        let address = Arc::as_ptr(node).addr();
        let mut state = self.state();
        let Some(interest) = state.futures.get_mut(&key) else { return };
        if !interest.nodes.contains(&address) {
            interest.nodes.push(address);
            state.persisted.insert(address, (Arc::clone(node), key));
        }
    }

    /// The key of a node that was persisted and did not fail.
    pub(crate) fn persisted(&self, node: &Arc<CallNode>) -> Option<Key> {
        let state = self.state();
        let (_, key) = state.persisted.get(&Arc::as_ptr(node).addr())?;
        let interest = state.futures.get(key)?;
        (!interest.slot.has_failed()).then_some(*key)
    }

    /// Sends a submission, after the releases that came before it. What is given tells whether it
    /// was accepted; nobody has to listen.
    pub(crate) async fn submit(
        &self,
        pieces: Vec<Submission>,
        wanted: &[Key],
    ) -> Result<oneshot::Receiver<Result<(), ClientError>>, ClientError> {
        let request = self.next_request();
        // Pieces of two would be taken for those of one.
        let turn = Arc::clone(&self.submitting).lock_owned().await;
        self.flush_releases().await?;
        let (told, accepted) = oneshot::channel();
        {
            let mut state = self.state();
            for key in wanted {
                if let Some(interest) = state.futures.get_mut(key)
                    && interest.claim == Claim::Fresh
                {
                    interest.claim = Claim::Sent(request);
                }
            }
            state.submitted.insert(request, Submitted { keys: wanted.to_vec(), told });
        }
        let messages = pieces.into_iter();
        let mut messages =
            messages.map(move |piece| FromClient::Submit(Submission { request, ..piece }));
        if messages.len() == 1 {
            if let Some(message) = messages.next() {
                self.send(message).await?;
            }
            return Ok(accepted);
        }
        // To the last piece, though whoever submits may not wait for it any more.
        let outbox = self.outbox.clone();
        let sending = tokio::spawn(async move {
            let _turn = turn;
            for message in messages {
                outbox.send(message).await?;
            }
            Ok::<_, NetError>(())
        });
        match sending.await {
            Ok(sent) => sent.map_err(|error| self.why_ended(error))?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        Ok(accepted)
    }

    fn why_ended(&self, error: NetError) -> ClientError {
        self.state().lost.clone().unwrap_or_else(|| error.into())
    }

    pub(crate) fn next_request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells of every call that fails from now on, until the receiver is gone.
    pub(crate) fn tell_of_failures(&self, teller: mpsc::UnboundedSender<Key>) {
        let mut state = self.state();
        state.failure_tellers.retain(|teller| !teller.is_closed());
        state.failure_tellers.push(teller);
    }

    /// The slot of this key says so already.
    pub(crate) fn tell_failure(&self, key: Key) {
        self.state().failure_tellers.retain(|teller| teller.send(key).is_ok());
    }

    /// Says what was to be said later; whatever is sent afterwards comes after it.
    pub(crate) async fn flush_releases(&self) -> Result<(), ClientError> {
        let _telling = self.telling.lock().await;
        let (keys, rest) = {
            let mut state = self.state();
            let released = std::mem::take(&mut state.released);
            // A key that was let go and taken up again is still wanted.
            let keys: Vec<_> =
                released.into_iter().filter(|key| !state.futures.contains_key(key)).collect();
            (keys, state.telling.take(|| self.next_request()))
        };
        for keys in keys.chunks(RELEASES_PER_MESSAGE_MAX) {
            self.send(FromClient::Release(keys.to_vec())).await?;
        }
        for message in rest {
            self.send(message).await?;
        }
        Ok(())
    }

    /// Changes what is to be said later, and has it said.
    pub(crate) fn tell_later(&self, change: impl FnOnce(&mut Telling)) {
        change(&mut self.state().telling);
        self.releases.notify_one();
    }

    pub(crate) async fn send(&self, message: FromClient) -> Result<(), ClientError> {
        match self.outbox.send(message).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why_ended(error)),
        }
    }

    pub(crate) async fn ask(&self, query: Query) -> Result<Answer, ClientError> {
        let request = self.next_request();
        let answer = self.question(request, None);
        self.send(FromClient::Query { request, query }).await?;
        self.answered(answer.await)
    }

    /// Expects an answer to a request; `lease` says what it may be a lease of.
    pub(crate) fn question(
        &self,
        request: RequestId,
        lease: Option<LeasePlace>,
    ) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        // Without a connection nobody will answer: the sender goes, and who waits learns so.
        if state.lost.is_none() {
            state.questions.insert(request, Question { sender, lease });
        }
        answer
    }

    /// An answer, a refusal, or why none will come.
    pub(crate) fn answered(
        &self,
        answer: Result<Answer, oneshot::error::RecvError>,
    ) -> Result<Answer, ClientError> {
        match answer {
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.why_lost().unwrap_or_else(lost)),
        }
    }

    pub(crate) fn why_lost(&self) -> Option<ClientError> {
        self.state().lost.clone()
    }

    pub(crate) fn remember_bundle(&self, info: BundleInfo) {
        let mut state = self.state();
        state.bundles.insert(info.description.name.clone(), info);
    }

    pub(crate) fn known_bundle(&self, name: &str) -> Option<BundleInfo> {
        self.state().bundles.get(name).cloned()
    }

    /// Connects to a worker.
    pub(crate) async fn connect(&self, address: &str) -> Result<Connection, NetError> {
        let (endpoint, address) = (self.endpoint.clone(), address.to_owned());
        let connect = async move { endpoint.connect(&address, CONNECT_TIMEOUT).await };
        match &self.io {
            Some(io) => io
                .runtime()
                .spawn(connect)
                .await
                .unwrap_or_else(|error| Err(NetError::Closed(error.to_string()))),
            None => connect.await,
        }
    }

    /// The connection to a worker.
    pub(crate) async fn worker(&self, address: &str) -> Result<Connection, NetError> {
        if let Some(connection) = self.peer(address) {
            return Ok(connection);
        }
        let connection = self.connect(address).await?;
        self.set_peer(address, Some(connection.clone()));
        Ok(connection)
    }

    fn peer(&self, address: &str) -> Option<Connection> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }

    pub(crate) fn set_peer(&self, address: &str, connection: Option<Connection>) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        match connection {
            Some(connection) => peers.insert(address.to_owned(), connection),
            None => peers.remove(address),
        };
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request and the stream that its answer comes on.
    pub(crate) async fn bulk(
        connection: &Connection,
        request: &BulkRequest,
    ) -> Result<(grid_net::SendStream, grid_net::RecvStream), NetError> {
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
        if let Some(io) = &mut self.io {
            io.end(self.endpoint.clone());
        }
    }
}

pub(crate) fn lost() -> ClientError {
    ClientError::Net("the connection to the scheduler is lost".to_owned())
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
