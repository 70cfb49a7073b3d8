//! The twin in memory: the same calls without sockets, for one process that is a whole grid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

use crate::error::NetError;
use crate::stream::{RecvStream, SendStream};

/// Bytes that a stream holds before its writer waits.
const STREAM_BYTES: usize = 1 << 20;
/// Streams and connections that wait to be accepted before their opener waits.
const WAITING_MAX: usize = 64;

type Listeners = BTreeMap<String, mpsc::Sender<MemoryConnection>>;

/// The names of one process's endpoints.
#[derive(Clone, Default)]
pub struct MemoryHub {
    listeners: Arc<Mutex<Listeners>>,
}

#[derive(Clone)]
pub(crate) struct MemoryEndpoint {
    hub: MemoryHub,
    name: String,
    accepted: Arc<tokio::sync::Mutex<mpsc::Receiver<MemoryConnection>>>,
}

#[derive(Clone)]
pub(crate) struct MemoryConnection {
    open: mpsc::Sender<DuplexStream>,
    opened: Arc<tokio::sync::Mutex<mpsc::Receiver<DuplexStream>>>,
    /// Why it was closed, once it is; shared by both ends.
    closed: Arc<watch::Sender<Option<String>>>,
}

impl MemoryHub {
    /// An empty hub.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn listen(&self, name: &str) -> Result<MemoryEndpoint, NetError> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if listeners.get(name).is_some_and(|listener| !listener.is_closed()) {
            return Err(NetError::PortInUse { address: format!("memory:{name}") });
        }
        listeners.insert(name.to_owned(), sender);
        let accepted = Arc::new(tokio::sync::Mutex::new(receiver));
        Ok(MemoryEndpoint { hub: self.clone(), name: name.to_owned(), accepted })
    }
}

impl MemoryEndpoint {
    pub(crate) fn address(&self) -> String {
        format!("memory:{}", self.name)
    }

    pub(crate) async fn accept(&self) -> Option<MemoryConnection> {
        self.accepted.lock().await.recv().await
    }

    pub(crate) async fn connect(&self, address: &str) -> Result<MemoryConnection, NetError> {
        let Some(name) = address.strip_prefix("memory:") else {
            let reason = "expected memory:NAME".to_owned();
            return Err(NetError::BadAddress { address: address.to_owned(), reason });
        };
        let listener = {
            let listeners = self.hub.listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.get(name).cloned()
        };
        let gone = || NetError::Closed(format!("nobody listens at `{address}`"));
        let listener = listener.ok_or_else(gone)?;
        let (to_them, from_us) = mpsc::channel(WAITING_MAX);
        let (to_us, from_them) = mpsc::channel(WAITING_MAX);
        let closed = Arc::new(watch::Sender::new(None));
        let end = |open, opened| MemoryConnection {
            open,
            opened: Arc::new(tokio::sync::Mutex::new(opened)),
            closed: Arc::clone(&closed),
        };
        let ours = end(to_them, from_them);
        let theirs = end(to_us, from_us);
        listener.send(theirs).await.map_err(|_| gone())?;
        Ok(ours)
    }

    pub(crate) fn close(&self) {
        let mut listeners = self.hub.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.remove(&self.name);
    }
}

impl MemoryConnection {
    pub(crate) async fn open(&self) -> Result<(SendStream, RecvStream), NetError> {
        self.check()?;
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        self.open.send(theirs).await.map_err(|_| self.gone())?;
        Ok(halves(ours))
    }

    pub(crate) async fn accept(&self) -> Result<(SendStream, RecvStream), NetError> {
        self.check()?;
        let mut opened = self.opened.lock().await;
        tokio::select! {
            stream = opened.recv() => stream.map(halves).ok_or_else(|| self.gone()),
            reason = self.closed() => Err(NetError::Closed(reason)),
        }
    }

    pub(crate) fn close(&self, reason: &str) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert_with(|| reason.to_owned());
            first
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    pub(crate) async fn closed(&self) -> String {
        let mut watch = self.closed.subscribe();
        match watch.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the other end is gone".to_owned(),
        }
    }

    fn check(&self) -> Result<(), NetError> {
        match &*self.closed.borrow() {
            Some(reason) => Err(NetError::Closed(reason.clone())),
            None => Ok(()),
        }
    }

    fn gone(&self) -> NetError {
        self.check().err().unwrap_or_else(|| NetError::Closed("the other end is gone".to_owned()))
    }
}

fn halves(stream: DuplexStream) -> (SendStream, RecvStream) {
    let (read, write) = tokio::io::split(stream);
    (SendStream::new(write), RecvStream::new(read))
}
