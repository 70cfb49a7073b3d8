//! QUIC by quinn.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use socket2::SockRef;
use tokio::sync::{Mutex, mpsc};

use crate::error::NetError;
use crate::identity::{Identity, SERVER_NAME};
use crate::stream::{RecvStream, SendStream};

/// A peer that was silent that long is gone; idle peers are asked every second.
const IDLE_TIMEOUT_MS: u32 = 6_000;
/// A connection that was not yet made would be waited for three seconds.
const CLOSE_WAIT: Duration = Duration::from_millis(250);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Datagrams that wait for the endpoint, and for the kernel, in bytes.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// Ten segments of this size fit one send; larger ones collapse to single packets.
const UDP_PAYLOAD_BYTES_MAX: u16 = 6_400;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Bulk streams that the other end may have open at once; more wait at their opener.
const STREAMS_MAX: u32 = 1_024;
/// Connections whose handshake is done and that wait to be accepted; more wait in quinn.
const ACCEPTED_MAX: usize = 64;

#[derive(Clone)]
pub(crate) struct QuicEndpoint {
    endpoint: quinn::Endpoint,
    accepted: Arc<Mutex<mpsc::Receiver<quinn::Connection>>>,
}

#[derive(Clone)]
pub(crate) struct QuicConnection {
    connection: quinn::Connection,
}

/// One peer that sends much must not make the kernel drop another's datagram: that waits for a
/// time-out to be sent again. The kernel gives what `net.core.rmem_max` and `wmem_max` allow.
fn enlarge_buffers(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    let asked = [
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES),
    ];
    for error in asked.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "the socket keeps its small buffer");
    }
}

impl QuicEndpoint {
    pub(crate) fn bind(listen: SocketAddr, identity: &Identity) -> Result<Self, NetError> {
        let bind = |reason: String| NetError::Bind { address: listen.to_string(), reason };
        let socket = UdpSocket::bind(listen).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => NetError::PortInUse { address: listen.to_string() },
            _ => bind(error.to_string()),
        })?;
        enlarge_buffers(&socket);
        let (server, client) = identity.tls()?;
        let transport = Arc::new(transport());
        let server = QuicServerConfig::try_from(server).map_err(|e| bind(e.to_string()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(server));
        server.transport_config(Arc::clone(&transport));
        let client = QuicClientConfig::try_from(client).map_err(|e| bind(e.to_string()))?;
        let mut client = quinn::ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        let mut config = quinn::EndpointConfig::default();
        config.max_udp_payload_size(UDP_PAYLOAD_BYTES_MAX).map_err(|e| bind(e.to_string()))?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let mut endpoint = quinn::Endpoint::new(config, Some(server), socket, runtime)
            .map_err(|error| bind(error.to_string()))?;
        endpoint.set_default_client_config(client);
        let (done, accepted) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(handshakes(endpoint.clone(), done));
        Ok(Self { endpoint, accepted: Arc::new(Mutex::new(accepted)) })
    }

    pub(crate) fn address(&self) -> String {
        self.endpoint.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
    }

    pub(crate) async fn accept(&self) -> Option<QuicConnection> {
        let connection = self.accepted.lock().await.recv().await?;
        Some(QuicConnection { connection })
    }

    pub(crate) async fn connect(&self, address: &str) -> Result<QuicConnection, NetError> {
        let bad = |reason: String| NetError::BadAddress { address: address.to_owned(), reason };
        let mut found =
            tokio::net::lookup_host(address).await.map_err(|error| bad(error.to_string()))?;
        let remote = found.next().ok_or_else(|| bad("the name has no address".to_owned()))?;
        let connecting =
            self.endpoint.connect(remote, SERVER_NAME).map_err(|error| bad(error.to_string()))?;
        let connection = connecting.await.map_err(|error| refused(address, &error))?;
        Ok(QuicConnection { connection })
    }

    pub(crate) async fn close(&self) {
        self.endpoint.close(0u8.into(), b"closed");
        // The peers are told at once; what takes its time is to be there should that be lost.
        let _ = tokio::time::timeout(CLOSE_WAIT, self.endpoint.wait_idle()).await;
    }
}

impl QuicConnection {
    pub(crate) async fn open(&self) -> Result<(SendStream, RecvStream), NetError> {
        let opened = self.connection.open_bi().await;
        let (send, recv) = opened.map_err(|error| describe(&self.address(), &error))?;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    pub(crate) async fn accept(&self) -> Result<(SendStream, RecvStream), NetError> {
        let accepted = self.connection.accept_bi().await;
        let (send, recv) = accepted.map_err(|error| describe(&self.address(), &error))?;
        Ok((SendStream::new(send), RecvStream::new(recv)))
    }

    pub(crate) fn bound_in_flight(&self, bytes: u32) {
        self.connection.set_receive_window(bytes.into());
    }

    pub(crate) fn close(&self, reason: &str) {
        if self.connection.close_reason().is_some() {
            // That would be forgotten.
            return;
        }
        self.connection.close(0u8.into(), reason.as_bytes());
    }

    pub(crate) async fn closed(&self) -> String {
        words(&self.connection.closed().await)
    }

    pub(crate) fn close_reason(&self) -> Option<NetError> {
        let reason = self.connection.close_reason()?;
        Some(describe(&self.address(), &reason))
    }

    fn address(&self) -> String {
        self.connection.remote_address().to_string()
    }
}

/// Each handshake in a task of its own, so that a slow one keeps nobody waiting.
async fn handshakes(endpoint: quinn::Endpoint, done: mpsc::Sender<quinn::Connection>) {
    while let Some(incoming) = endpoint.accept().await {
        let done = done.clone();
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => drop(done.send(connection).await),
                Err(error) => tracing::debug!(%error, "a connection was refused"),
            }
        });
    }
}

fn transport() -> quinn::TransportConfig {
    let mut discovery = quinn::MtuDiscoveryConfig::default();
    discovery.upper_bound(UDP_PAYLOAD_BYTES_MAX);
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(quinn::VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u8.into());
    transport
}

fn refused(address: &str, error: &quinn::ConnectionError) -> NetError {
    match error {
        quinn::ConnectionError::TimedOut => NetError::Unreachable {
            address: address.to_owned(),
            after: Duration::from_millis(IDLE_TIMEOUT_MS.into()),
        },
        other => describe(address, other),
    }
}

/// TLS's refusal may arrive only when a connection is already in use: QUIC lets a client begin
/// before the server has judged its certificate.
fn describe(address: &str, error: &quinn::ConnectionError) -> NetError {
    let refused = |reason: String| NetError::Refused { address: address.to_owned(), reason };
    match error {
        quinn::ConnectionError::TransportError(error) => refused(error.to_string()),
        quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) >= 0x100 => {
            refused(close.to_string())
        }
        other => NetError::Closed(words(other)),
    }
}

fn words(error: &quinn::ConnectionError) -> String {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            String::from_utf8_lossy(&close.reason).into_owned()
        }
        quinn::ConnectionError::LocallyClosed => "closed by this end".to_owned(),
        quinn::ConnectionError::TimedOut => "the other end was silent".to_owned(),
        other => other.to_string(),
    }
}
