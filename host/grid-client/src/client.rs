//! The client's face.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grid_net::{Endpoint, Identity, Kind, channel};
use grid_proto::message::{Answer, FromClient, Query};
use grid_proto::report::{
    BundleInfo, CallInfo, GridStatus, QuarantineInfo, StoryStep, TaskCounts, WorkerInfo,
};
use grid_proto::{Amount, BundleHash, Key};

use crate::error::ClientError;
use crate::io::{GOODBYE_MAX, Io};
use crate::link::{Link, OUTBOX_MAX};

/// Bytes of results that a program takes at a time unless it says otherwise.
const GATHER_BYTES_MAX: u64 = 4 << 30;

/// How to reach a grid.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The scheduler, `HOST:PORT`.
    pub scheduler: String,
    /// The grid's identity; made if there is none.
    pub identity_dir: PathBuf,
    /// How long connecting may take.
    pub timeout: Duration,
    /// Bytes of results that the program takes at a time: of one, or of all that it gathers.
    pub gather_bytes_max: u64,
    /// Whether large values go to and come from workers on this host in memory that both share. Otherwise,
    /// and between hosts, they go over the network.
    pub shared_memory: bool,
}

/// A connection to a grid. Clones share it. It has a thread of its own: a program may compute, or
/// block, as long as it likes between its calls.
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
}

impl ClientOptions {
    /// The scheduler's address and the defaults: the identity where `GRID_IDENTITY` says, else in
    /// `$XDG_DATA_HOME/grid/identity` or `~/.local/share/grid/identity`; three seconds; 4 GiB.
    #[must_use]
    pub fn new(scheduler: impl Into<String>) -> Self {
        Self {
            scheduler: scheduler.into(),
            identity_dir: default_identity_dir(),
            timeout: Duration::from_secs(3),
            gather_bytes_max: GATHER_BYTES_MAX,
            shared_memory: true,
        }
    }
}

/// Where a grid's identity is unless somebody says otherwise.
#[must_use]
pub fn default_identity_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("GRID_IDENTITY") {
        return directory.into();
    }
    let data = set("XDG_DATA_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let home = set("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
        home.join(".local/share")
    });
    data.join("grid").join("identity")
}

impl Client {
    /// Connects to the scheduler at an address, with the default options. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Incompatible`].
    pub async fn connect(scheduler: &str) -> Result<Self, ClientError> {
        Self::connect_with(&ClientOptions::new(scheduler)).await
    }

    /// Connects with options.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Incompatible`].
    pub async fn connect_with(options: &ClientOptions) -> Result<Self, ClientError> {
        let identity = Identity::load_or_create(&options.identity_dir)?;
        let (scheduler, timeout) = (options.scheduler.clone(), options.timeout);
        let (gather_bytes_max, shares) = (options.gather_bytes_max, options.shared_memory);
        let any = match options.scheduler.parse() {
            Ok(SocketAddr::V6(_)) => SocketAddr::from(([0u16; 8], 0)),
            _ => SocketAddr::from(([0u8; 4], 0)),
        };
        let io = Io::start().map_err(|error| ClientError::Net(error.to_string()))?;
        let opened = io.runtime().clone().spawn(async move {
            let endpoint = Endpoint::quic(any, &identity)?;
            let endpoint = if shares { endpoint } else { endpoint.without_shared_memory() };
            Self::open(endpoint, &scheduler, timeout, (Some(io), gather_bytes_max)).await
        });
        opened.await.unwrap_or_else(|error| Err(ClientError::Net(error.to_string())))
    }

    /// Connects over an endpoint that the caller made: a twin in memory, for instance. All of it then
    /// runs on the caller's runtime, which must not be blocked for long.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Incompatible`].
    pub async fn connect_over(
        endpoint: Endpoint,
        scheduler: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        Self::open(endpoint, scheduler, timeout, (None, GATHER_BYTES_MAX)).await
    }

    async fn open(
        endpoint: Endpoint,
        scheduler: &str,
        timeout: Duration,
        (io, gather_bytes_max): (Option<Io>, u64),
    ) -> Result<Self, ClientError> {
        let connection = endpoint.connect(scheduler, timeout).await?;
        let (send, recv) = connection.open(Kind::Client).await?;
        let (outbox, inbox) = channel(send, recv, OUTBOX_MAX);
        let ends = (outbox, inbox);
        let own = (io, gather_bytes_max);
        let link = Link::start(endpoint, connection, scheduler.to_owned(), ends, own);
        Ok(Self { link })
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Cancels a call: this client's interest in it and in all that depends on it, with `force`
    /// everybody's. What nobody wants then is stopped, even a running loop. With `force`, detached
    /// calls are stopped too, and calls that a dataset, variable or queue names fail as cancelled:
    /// the name stays, and its futures say so.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn cancel(&self, keys: Vec<Key>, force: bool) -> Result<(), ClientError> {
        self.link.send(FromClient::Cancel { keys, force }).await
    }

    /// Tells the scheduler that the process of a worker has ended, as whoever started it knows
    /// sooner than its silence tells, and why.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn worker_ended(&self, name: &str, why: &str) -> Result<(), ClientError> {
        let (name, why) = (name.to_owned(), why.to_owned());
        self.link.send(FromClient::WorkerEnded { name, why }).await
    }

    /// Says goodbye, so that the grid frees what this client wanted at once and not when it notices
    /// the silence. All futures and clones of this client are of no use afterwards.
    pub async fn close(self) {
        self.link.scheduler.close("the client is done");
        // Bounded: the scheduler may be gone itself.
        let _ = tokio::time::timeout(GOODBYE_MAX, self.link.endpoint.close()).await;
    }

    /// Everything at a glance.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn status(&self) -> Result<GridStatus, ClientError> {
        match self.link.ask(Query::Status).await? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// The connected workers.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, ClientError> {
        match self.link.ask(Query::Workers).await? {
            Answer::Workers(workers) => Ok(workers),
            other => Err(unexpected(&other)),
        }
    }

    /// Counters by task.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn counts(&self) -> Result<Vec<TaskCounts>, ClientError> {
        match self.link.ask(Query::Counts).await? {
            Answer::Counts(counts) => Ok(counts),
            other => Err(unexpected(&other)),
        }
    }

    /// Calls whose keys begin with `prefix`, in a state or in any; at most `count_max`.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn calls(
        &self,
        prefix: &str,
        state: Option<&str>,
        count_max: u32,
    ) -> Result<Vec<CallInfo>, ClientError> {
        let (prefix, state) = (prefix.to_owned(), state.map(str::to_owned));
        match self.link.ask(Query::Calls { prefix, state, count_max }).await? {
            Answer::Calls(calls) => Ok(calls),
            other => Err(unexpected(&other)),
        }
    }

    /// What happened to the calls whose keys begin with `prefix`, oldest first: the last steps that
    /// the scheduler remembers.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a prefix of less than four digits.
    pub async fn story(&self, prefix: &str) -> Result<Vec<StoryStep>, ClientError> {
        match self.link.ask(Query::Story { prefix: prefix.to_owned() }).await? {
            Answer::Story(steps) => Ok(steps),
            other => Err(unexpected(&other)),
        }
    }

    /// The tasks that are refused because of their strikes.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn quarantine(&self) -> Result<Vec<QuarantineInfo>, ClientError> {
        match self.link.ask(Query::Quarantine).await? {
            Answer::Quarantine(tasks) => Ok(tasks),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets a task, `bundle@version:task`, run again, or all; gives how many were refused.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the task is not in quarantine.
    pub async fn clear_quarantine(&self, task: Option<&str>) -> Result<u32, ClientError> {
        let task = task.map(str::to_owned);
        match self.link.ask(Query::ClearQuarantine { task }).await? {
            Answer::Cleared(cleared) => Ok(cleared),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes what a worker offers of abstract resources, from now on. Calls that run go on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no worker of this name.
    pub async fn set_resources(
        &self,
        worker: &str,
        resources: Vec<(String, Amount)>,
    ) -> Result<(), ClientError> {
        let worker = worker.to_owned();
        match self.link.ask(Query::SetResources { worker, resources }).await? {
            Answer::Workers(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The bundles that the grid has.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn bundles(&self) -> Result<Vec<BundleInfo>, ClientError> {
        match self.link.ask(Query::Bundles).await? {
            Answer::Bundles(bundles) => Ok(bundles),
            other => Err(unexpected(&other)),
        }
    }

    /// The bundle of a name, `name@version`, hash, or prefix of a hash.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none.
    pub async fn bundle(&self, wanted: &str) -> Result<BundleInfo, ClientError> {
        match self.link.ask(Query::Bundle(wanted.to_owned())).await? {
            Answer::Bundle(info) => {
                self.link.remember_bundle(info.clone());
                Ok(info)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The hash of the bundle that this client uses for a name, if it has used it.
    #[must_use]
    pub fn known_bundle(&self, name: &str) -> Option<BundleHash> {
        self.link.known_bundle(name).map(|info| info.hash)
    }
}

pub(crate) fn unexpected(answer: &Answer) -> ClientError {
    ClientError::Net(format!("the scheduler answered something else: {answer:?}"))
}
