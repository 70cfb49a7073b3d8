//! There and back between two processes over QUIC alone, beside plain quinn streams with the settings
//! that are best for them, measured in the same run.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use grid_client::Client;
use grid_sdk::Raw;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::grid::Grid;
use crate::{median, report};

const BYTES: usize = 256 << 20;
const ROUNDS: usize = 5;
const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// What is tried for the plain stream; the best counts.
#[derive(Clone, Copy, clap::ValueEnum, Debug)]
pub(crate) enum Settings {
    /// quinn's own windows and packets.
    Default,
    /// Windows that never hold anything up, quinn's packets.
    Windows,
    /// The same with packets as large as the kernel segments well on this host.
    Large,
}

const ALL: [Settings; 3] = [Settings::Default, Settings::Windows, Settings::Large];

pub(crate) async fn run() -> anyhow::Result<()> {
    let grid = Grid::up(1, 1)?;
    let client = grid.client_that(false).await?;
    through_grid(&client, 1 << 20).await?;
    let mut ours = Vec::new();
    let mut plain = ALL.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        ours.push(through_grid(&client, BYTES).await?);
        for (settings, took) in ALL.into_iter().zip(&mut plain) {
            took.push(through_quinn(settings).await?);
        }
    }
    let ours = median(ours);
    let mut best = f64::INFINITY;
    for (settings, took) in ALL.into_iter().zip(plain) {
        let seconds = median(took);
        report(
            &format!("256 MiB there and back, quinn, {settings:?}"),
            &format!("{seconds:.2} s"),
            "",
        );
        best = best.min(seconds);
    }
    let measured = format!("{ours:.2} s: {:.2} of the best", best / ours);
    report("256 MiB there and back, grid over QUIC, verified", &measured, "0.9");
    Ok(())
}

async fn through_grid(client: &Client, size: usize) -> anyhow::Result<f64> {
    let mut bytes = vec![1; size];
    bytes[..8].copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
    let started = Instant::now();
    let future = client.scatter(Raw(bytes)).await?;
    let back = future.result().await?;
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(back.0.len() == size, "another value came back");
    Ok(took)
}

fn transport(settings: Settings) -> anyhow::Result<Arc<quinn::TransportConfig>> {
    let mut transport = quinn::TransportConfig::default();
    if !matches!(settings, Settings::Default) {
        transport
            .stream_receive_window((64_u32 << 20).into())
            .receive_window((64_u32 << 20).into())
            .send_window(64 << 20);
    }
    if matches!(settings, Settings::Large) {
        let mut discovery = quinn::MtuDiscoveryConfig::default();
        discovery.upper_bound(6_400);
        transport.mtu_discovery_config(Some(discovery));
    }
    Ok(Arc::new(transport))
}

fn endpoint(
    settings: Settings,
    server: Option<quinn::ServerConfig>,
) -> anyhow::Result<quinn::Endpoint> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    let buffers = socket2::SockRef::from(&socket);
    buffers.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    buffers.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    let mut config = quinn::EndpointConfig::default();
    if matches!(settings, Settings::Large) {
        config.max_udp_payload_size(6_400)?;
    }
    Ok(quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime))?)
}

/// The other process: takes all that comes on a stream, and sends it back.
pub(crate) async fn echo(settings: Settings) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["grid".to_owned()])?.self_signed(&key)?;
    let der = certificate.der().clone();
    let crypto = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(
            vec![der.clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    let mut server =
        quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(crypto)?));
    server.transport_config(transport(settings)?);
    let endpoint = endpoint(settings, Some(server))?;
    let hex: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{} {hex}", endpoint.local_addr()?);
    let connection = endpoint.accept().await.context("nobody connects")?.await?;
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        let bytes = recv.read_to_end(usize::MAX).await?;
        send.write_all(&bytes).await?;
        send.finish()?;
    }
    Ok(())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn through_quinn(settings: Settings) -> anyhow::Result<f64> {
    let name = clap::ValueEnum::to_possible_value(&settings).context("no name")?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(format!("--echo={}", name.get_name()))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let _echo = Echo(child);
    let (address, hex) = line.trim().split_once(' ').context("it said nothing")?;
    let address: SocketAddr = address.parse()?;
    let der = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(der.collect::<Result<Vec<_>, _>>()?))?;
    let crypto = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(crypto)?));
    config.transport_config(transport(settings)?);
    let endpoint = endpoint(settings, None)?;
    let connection = endpoint.connect_with(config, address, "grid")?.await?;
    // The packets' size is found, and the window opens.
    there_and_back(&connection, 16 << 20).await?;
    let took = there_and_back(&connection, BYTES).await?;
    connection.close(0_u8.into(), b"done");
    tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await.ok();
    Ok(took)
}

async fn there_and_back(connection: &quinn::Connection, size: usize) -> anyhow::Result<f64> {
    let bytes = vec![1; size];
    let started = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await?;
    send.write_all(&bytes).await?;
    send.finish()?;
    let back = recv.read_to_end(usize::MAX).await?;
    let took = started.elapsed().as_secs_f64();
    anyhow::ensure!(back.len() == size, "bytes are missing");
    Ok(took)
}
