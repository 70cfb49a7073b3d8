//! Shared memory between processes of one host: how they find each other, and messages with descriptors.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use grid_proto::frame::{FRAME_BYTES_MAX, Message};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_share::{Guard, Listener, Secret, Stream};
use rkyv::util::AlignedVec;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::endpoint::Connection;
use crate::error::NetError;
use crate::stream::Kind;

/// How long the other end may take to say where it shares memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a process shares memory.
#[derive(Debug)]
pub struct HostListener(Listener);

/// A connection of two processes of one host.
#[derive(Debug)]
pub struct HostStream(Stream);

/// The use of a connection's [`HostStream`] for one request and its answer. Given back when those have
/// gone well; otherwise the stream may be in the middle of a message, and the next one is a new one.
#[derive(Debug)]
pub struct HostLease {
    way: OwnedMutexGuard<Way>,
    stream: HostStream,
}

/// The way to the other end's shared memory, found when it is first needed.
#[derive(Clone)]
pub(crate) struct OnHost(Arc<Mutex<Way>>);

#[derive(Debug)]
enum Way {
    Untried,
    /// The other end is elsewhere, or shares nothing.
    None,
    Open(HostStream),
}

impl HostListener {
    /// Begins to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind() -> io::Result<Self> {
        Listener::bind(FRAME_BYTES_MAX).map(Self)
    }

    /// What to tell those who ask for it, and are of the grid.
    #[must_use]
    pub fn door(&self) -> BulkHeader {
        let (name, Secret(secret)) = self.0.door();
        BulkHeader::Door { name, secret }
    }

    /// Waits for whoever connects, and gives what will be a stream when both have proved themselves.
    ///
    /// # Errors
    /// What the system says, for instance that there are no descriptors left.
    pub async fn accept(&self) -> io::Result<impl Future<Output = io::Result<HostStream>> + use<>> {
        let socket = self.0.accept().await?;
        Ok(admit(self.0.guard(), socket))
    }
}

async fn admit(guard: Guard, socket: UnixStream) -> io::Result<HostStream> {
    guard.admit(socket).await.map(HostStream)
}

impl HostStream {
    /// Sends a message, and a descriptor with it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send<M: Message>(
        &mut self,
        message: &M,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), NetError> {
        let frame = message.encode()?;
        Ok(self.0.send(&frame, fd).await?)
    }

    /// Sends bytes behind a message.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        Ok(self.0.send_bytes(bytes).await?)
    }

    /// The next message and the descriptor that came with it; `None` at the end.
    ///
    /// # Errors
    /// The other end is gone, or it sends what is no message.
    pub async fn recv<M: Message>(&mut self) -> Result<Option<(M, Option<OwnedFd>)>, NetError> {
        let Some((bytes, fd)) = self.0.recv().await? else { return Ok(None) };
        let mut frame = AlignedVec::with_capacity(bytes.len());
        frame.extend_from_slice(&bytes);
        Ok(Some((M::decode(&frame)?, fd)))
    }

    /// So many bytes behind a message.
    ///
    /// # Errors
    /// The other end is gone before.
    pub async fn recv_bytes(&mut self, count: usize) -> Result<Vec<u8>, NetError> {
        Ok(self.0.recv_bytes(count).await?)
    }
}

impl HostLease {
    /// The stream.
    pub fn stream(&mut self) -> &mut HostStream {
        &mut self.stream
    }

    /// The answer has come whole.
    pub fn give_back(mut self) {
        *self.way = Way::Open(self.stream);
    }
}

impl OnHost {
    pub(crate) fn new(shares: bool) -> Self {
        Self(Arc::new(Mutex::new(if shares { Way::Untried } else { Way::None })))
    }

    pub(crate) async fn lease(&self, connection: &Connection) -> Option<HostLease> {
        let mut way = Arc::clone(&self.0).lock_owned().await;
        let stream = match std::mem::replace(&mut *way, Way::Untried) {
            Way::Open(stream) => stream,
            Way::None => {
                *way = Way::None;
                return None;
            }
            Way::Untried => match find(connection).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "no shared memory with a peer");
                    *way = Way::None;
                    return None;
                }
            },
        };
        Some(HostLease { way, stream })
    }
}

async fn find(connection: &Connection) -> Result<HostStream, NetError> {
    let asked = async {
        let (mut send, mut recv) = connection.open(Kind::Bulk).await?;
        send.send(&BulkRequest::Share).await?;
        send.finish().await?;
        recv.recv::<BulkHeader>().await
    };
    let silent = |_| NetError::Closed("it does not say where it shares memory".to_owned());
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await.map_err(silent)?? {
        Some(BulkHeader::Door { name, secret }) => {
            let stream = grid_share::connect(name, Secret(secret), FRAME_BYTES_MAX).await?;
            Ok(HostStream(stream))
        }
        Some(BulkHeader::Refused(reason)) => Err(NetError::Closed(reason)),
        _ => Err(NetError::Closed("it shares no memory".to_owned())),
    }
}
