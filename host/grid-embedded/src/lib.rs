//! A whole grid in one process: the scheduler and the workers of the separate processes, each on a
//! thread of its own, joined by the in-memory twin of the network or, where others shall connect,
//! by QUIC.
//!
//! What it is not: another scheduler or another worker. It only wires the same ones together.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let grid = grid_embedded::Embedded::start(grid_embedded::EmbeddedConfig::default())?;
//! let client = grid.client().await?;
//! client.deploy(&std::fs::read("target/bundles/hello.wasm")?, false).await?;
//! # Ok(()) }
//! ```

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use grid_client::{Client, ClientError};
use grid_net::{Endpoint, Identity, MemoryHub, NetError};
use grid_sandbox::EngineConfig;
use grid_server::{Server, ServerConfig, ServerError};
use grid_worker::{MemoryConfig, Worker, WorkerConfig, WorkerError};
use tokio::sync::{oneshot, watch};

/// How long the parts of one process may take to find each other.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The workers of one process are on one host, whatever it is called.
const EMBEDDED_HOST: &str = "embedded";

/// What a grid in one process is made of.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Workers; each has its engine and its io thread.
    pub workers: usize,
    /// Slots of each worker.
    pub slots: usize,
    /// Where bundles are kept.
    pub state_dir: PathBuf,
    /// The sandbox engines' configuration; `slots` above wins.
    pub engine: EngineConfig,
    /// What each worker may hold.
    pub memory: MemoryConfig,
    /// The scheduler's configuration.
    pub scheduler: grid_scheduler::Config,
    /// Listen for clients of other processes; `None` joins everything in memory.
    pub listen: Option<(SocketAddr, Identity)>,
    /// Whether large objects go through memory that is shared with other processes of the host. The
    /// in-memory twin needs none.
    pub shared_memory: bool,
}

/// Why a grid in one process could not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The network part.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The scheduler.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A worker.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A thread or its runtime.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread ended before it said that it is ready.
    #[error("a part of the grid ended before it was ready")]
    Ended,
}

/// A running grid. Dropping it stops everything and waits for it.
pub struct Embedded {
    hub: MemoryHub,
    identity: Option<Identity>,
    shared_memory: bool,
    address: String,
    stop: watch::Sender<bool>,
    broken: oneshot::Receiver<ServerError>,
    threads: Vec<JoinHandle<()>>,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            state_dir: std::env::temp_dir().join(format!("grid-{}", std::process::id())),
            engine: EngineConfig::default(),
            memory: MemoryConfig::unlimited(),
            scheduler: grid_scheduler::Config::default(),
            listen: None,
            shared_memory: true,
        }
    }
}

impl Embedded {
    /// Starts the scheduler and the workers; returns when the scheduler listens.
    ///
    /// # Errors
    /// [`EmbeddedError`].
    pub fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let hub = MemoryHub::new();
        let (stop, stopped) = watch::channel(false);
        let identity = config.listen.as_ref().map(|(_, identity)| identity.clone());
        let (ready, address) = mpsc::channel();
        let (break_down, broken) = oneshot::channel();
        let mut grid = Self {
            hub: hub.clone(),
            identity,
            shared_memory: config.shared_memory,
            address: String::new(),
            stop,
            broken,
            threads: Vec::new(),
        };

        let server_config = ServerConfig {
            state_dir: config.state_dir.clone(),
            scheduler: config.scheduler.clone(),
        };
        let (listen, server_hub, until) = (config.listen.clone(), hub, stopped.clone());
        grid.spawn("scheduler", async move {
            let endpoint = match &listen {
                Some((address, identity)) => Endpoint::quic(*address, identity),
                None => Endpoint::memory(&server_hub, "scheduler"),
            };
            let made = endpoint.map_err(EmbeddedError::from).and_then(|endpoint| {
                let address = endpoint.address();
                Ok((Server::new(server_config, endpoint.clone())?, endpoint, address))
            });
            match made {
                Ok((server, endpoint, address)) => {
                    let _ = ready.send(Ok(address));
                    let ended = server.run(stop_asked(until)).await;
                    endpoint.close().await;
                    if let Err(error) = ended {
                        tracing::error!(%error, "the scheduler is gone");
                        let _ = break_down.send(error);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        grid.address = address.recv().map_err(|_| EmbeddedError::Ended)??;
        for number in 0..config.workers {
            grid.start_worker(number, &config, stopped.clone())?;
        }
        Ok(grid)
    }

    fn start_worker(
        &mut self,
        number: usize,
        config: &EmbeddedConfig,
        until: watch::Receiver<bool>,
    ) -> Result<(), EmbeddedError> {
        let worker_config = WorkerConfig {
            host: EMBEDDED_HOST.to_owned(),
            labels: Vec::new(),
            resources: Vec::new(),
            memory: config.memory.clone(),
            name: format!("worker-{number}"),
            scheduler: self.address.clone(),
            slots: config.slots,
            engine: config.engine.clone(),
            connect_timeout: CONNECT_TIMEOUT,
        };
        let (ready, started) = mpsc::channel();
        let (hub, listen) = (self.hub.clone(), config.listen.clone());
        let shared_memory = config.shared_memory;
        self.spawn(&format!("worker-{number}"), async move {
            let made = worker_endpoint(&hub, listen.as_ref(), number)
                .map(|endpoint| sharing(endpoint, shared_memory))
                .map_err(EmbeddedError::from)
                .and_then(|endpoint| Ok((Worker::new(worker_config, endpoint.clone())?, endpoint)));
            match made {
                Ok((worker, endpoint)) => {
                    let _ = ready.send(Ok(()));
                    // It ends when it is asked to, or when the scheduler is gone for good.
                    let _ = worker.run(stop_asked(until)).await;
                    endpoint.close().await;
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        started.recv().map_err(|_| EmbeddedError::Ended)?
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), EmbeddedError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let builder = std::thread::Builder::new().name(name.to_owned());
        self.threads.push(builder.spawn(move || runtime.block_on(work))?);
        Ok(())
    }

    /// The scheduler's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the scheduler stops because its own state was wrong. Its clients are told so, and
    /// nothing runs any more.
    pub async fn broken(&mut self) -> ServerError {
        match (&mut self.broken).await {
            Ok(error) => error,
            // It stopped as it was asked to.
            Err(_) => std::future::pending().await,
        }
    }

    /// A new client of this grid. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`Client::connect_over`].
    pub async fn client(&self) -> Result<Client, ClientError> {
        static CLIENTS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = CLIENTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let endpoint = match &self.identity {
            Some(identity) => Endpoint::quic(([127, 0, 0, 1], 0).into(), identity)?,
            None => Endpoint::memory(&self.hub, &format!("client-{number}"))?,
        };
        let endpoint = sharing(endpoint, self.shared_memory);
        Client::connect_over(endpoint, &self.address, CONNECT_TIMEOUT).await
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn worker_endpoint(
    hub: &MemoryHub,
    listen: Option<&(SocketAddr, Identity)>,
    number: usize,
) -> Result<Endpoint, NetError> {
    match listen {
        Some((address, identity)) => Endpoint::quic((address.ip(), 0).into(), identity),
        None => Endpoint::memory(hub, &format!("worker-{number}")),
    }
}

fn sharing(endpoint: Endpoint, shared_memory: bool) -> Endpoint {
    if shared_memory { endpoint } else { endpoint.without_shared_memory() }
}

async fn stop_asked(mut until: watch::Receiver<bool>) {
    // An error means that the grid is gone: the same as asked.
    let _ = until.wait_for(|stop| *stop).await;
}
