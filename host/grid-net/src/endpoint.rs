//! Endpoints and connections, over QUIC or in memory: the same calls.

use std::net::SocketAddr;
use std::time::Duration;

use grid_proto::PROTOCOL_VERSION;

use crate::error::NetError;
use crate::host::{HostLease, OnHost};
use crate::identity::Identity;
use crate::memory::{MemoryConnection, MemoryEndpoint, MemoryHub};
use crate::quic::{QuicConnection, QuicEndpoint};
use crate::stream::{self, Kind, RecvStream, SendStream};

/// A process's place in the network: it listens, and it connects to others.
#[derive(Clone)]
pub struct Endpoint {
    inner: AnyEndpoint,
    version: u16,
    shares: bool,
}

#[derive(Clone)]
enum AnyEndpoint {
    Quic(QuicEndpoint),
    Memory(MemoryEndpoint),
}

/// The connection of two processes. Clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    inner: AnyConnection,
    version: u16,
    on_host: OnHost,
}

#[derive(Clone)]
enum AnyConnection {
    Quic(QuicConnection),
    Memory(MemoryConnection),
}

impl Endpoint {
    /// Listens on a UDP port for QUIC, and connects from it. Port 0 takes any free one. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::PortInUse`], [`NetError::Bind`], [`NetError::Identity`].
    pub fn quic(listen: SocketAddr, identity: &Identity) -> Result<Self, NetError> {
        let inner = AnyEndpoint::Quic(QuicEndpoint::bind(listen, identity)?);
        Ok(Self { inner, version: PROTOCOL_VERSION, shares: true })
    }

    /// Takes a name in a hub of this process.
    ///
    /// # Errors
    /// [`NetError::PortInUse`] when the name is taken.
    pub fn memory(hub: &MemoryHub, name: &str) -> Result<Self, NetError> {
        let inner = AnyEndpoint::Memory(hub.listen(name)?);
        Ok(Self { inner, version: PROTOCOL_VERSION, shares: false })
    }

    /// Speaks as another protocol version, to test what the other end makes of it.
    #[must_use]
    pub fn with_version(self, version: u16) -> Self {
        Self { version, ..self }
    }

    /// Uses no memory that is shared with other processes of the host.
    #[must_use]
    pub fn without_shared_memory(self) -> Self {
        Self { shares: false, ..self }
    }

    /// Whether it shares memory with other processes of the host.
    #[must_use]
    pub fn shares_memory(&self) -> bool {
        self.shares
    }

    /// What others connect to.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.inner {
            AnyEndpoint::Quic(endpoint) => endpoint.address(),
            AnyEndpoint::Memory(endpoint) => endpoint.address(),
        }
    }

    /// The next connection that somebody opens; `None` when the endpoint is closed. Connections
    /// that fail to prove that they belong to the grid are dropped on the way.
    pub async fn accept(&self) -> Option<Connection> {
        let inner = match &self.inner {
            AnyEndpoint::Quic(endpoint) => AnyConnection::Quic(endpoint.accept().await?),
            AnyEndpoint::Memory(endpoint) => AnyConnection::Memory(endpoint.accept().await?),
        };
        Some(self.connection(inner))
    }

    /// Connects to another endpoint.
    ///
    /// # Errors
    /// [`NetError::BadAddress`], [`NetError::Unreachable`] after the time-out,
    /// [`NetError::Refused`] by TLS.
    pub async fn connect(&self, address: &str, timeout: Duration) -> Result<Connection, NetError> {
        let connect = async {
            match &self.inner {
                AnyEndpoint::Quic(endpoint) => {
                    endpoint.connect(address).await.map(AnyConnection::Quic)
                }
                AnyEndpoint::Memory(endpoint) => {
                    endpoint.connect(address).await.map(AnyConnection::Memory)
                }
            }
        };
        let unreachable = |_| NetError::Unreachable { address: address.to_owned(), after: timeout };
        let inner = tokio::time::timeout(timeout, connect).await.map_err(unreachable)??;
        Ok(self.connection(inner))
    }

    fn connection(&self, inner: AnyConnection) -> Connection {
        Connection { inner, version: self.version, on_host: OnHost::new(self.shares) }
    }

    /// Closes all connections and waits until the others were told.
    pub async fn close(&self) {
        match &self.inner {
            AnyEndpoint::Quic(endpoint) => endpoint.close().await,
            AnyEndpoint::Memory(endpoint) => endpoint.close(),
        }
    }
}

impl Connection {
    /// Opens a stream. A control stream is ready when the other end has agreed to the version.
    ///
    /// # Errors
    /// [`NetError::Version`], [`NetError::Closed`].
    pub async fn open(&self, kind: Kind) -> Result<(SendStream, RecvStream), NetError> {
        let (mut send, mut recv) = match &self.inner {
            AnyConnection::Quic(connection) => connection.open().await?,
            AnyConnection::Memory(connection) => connection.open().await?,
        };
        stream::open(kind, self.version, &mut send, &mut recv)
            .await
            .map_err(|error| self.explained(error))?;
        Ok((send, recv))
    }

    /// The way to the other end's shared memory, for one request at a time; `None` if it is on another
    /// host, or shares none.
    pub async fn on_host(&self) -> Option<HostLease> {
        self.on_host.lease(self).await
    }

    /// The next stream that the other end opens.
    ///
    /// # Errors
    /// [`NetError::Closed`] when the connection is; [`NetError::Version`] and
    /// [`NetError::NotGrid`] when that one stream is of no use.
    pub async fn accept(&self) -> Result<(Kind, SendStream, RecvStream), NetError> {
        let (mut send, mut recv) = match &self.inner {
            AnyConnection::Quic(connection) => connection.accept().await?,
            AnyConnection::Memory(connection) => connection.accept().await?,
        };
        let kind = stream::accept(self.version, &mut send, &mut recv).await?;
        Ok((kind, send, recv))
    }

    /// The other end may have so many bytes on their way to this one: what waits in the socket for its
    /// turn keeps the packets of others waiting too. In memory nothing is on its way.
    pub fn bound_in_flight(&self, bytes: u32) {
        match &self.inner {
            AnyConnection::Quic(connection) => connection.bound_in_flight(bytes),
            AnyConnection::Memory(_) => {}
        }
    }

    /// Closes the connection and tells the other end why.
    pub fn close(&self, reason: &str) {
        match &self.inner {
            AnyConnection::Quic(connection) => connection.close(reason),
            AnyConnection::Memory(connection) => connection.close(reason),
        }
    }

    /// Whether it is closed, by whomever.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.inner {
            AnyConnection::Quic(connection) => connection.close_reason().is_some(),
            AnyConnection::Memory(connection) => connection.is_closed(),
        }
    }

    /// Waits until the connection is closed, by whomever, and says why.
    pub async fn closed(&self) -> String {
        match &self.inner {
            AnyConnection::Quic(connection) => connection.closed().await,
            AnyConnection::Memory(connection) => connection.closed().await,
        }
    }

    /// A stream ends with a bare word; the connection may know the reason.
    fn explained(&self, error: NetError) -> NetError {
        match (&self.inner, error) {
            (AnyConnection::Quic(connection), NetError::Closed(reason)) => {
                connection.close_reason().unwrap_or(NetError::Closed(reason))
            }
            (_, error) => error,
        }
    }
}
