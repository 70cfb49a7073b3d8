//! What the tests share: bundles, grids in one process, grids of processes, polling.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use grid_client::{Client, ClientError, ClientOptions, RawCall};
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_proto::report::{BundleInfo, TaskCounts};
use grid_proto::{Arg, CallOptions, Codec, Failure, Value};
use grid_sandbox::EngineConfig;
use serde::Serialize;

/// How long a state may take to come about, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn target_dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"))
}

/// The bytes of a bundle that `cargo xtask guests` built.
pub(crate) fn bundle_bytes(name: &str) -> Vec<u8> {
    let path = bundle_path(name);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}

pub(crate) fn bundle_path(name: &str) -> PathBuf {
    let bundles = std::env::var_os("GRID_BUNDLES");
    let bundles = bundles.map_or_else(|| target_dir().join("bundles"), PathBuf::from);
    bundles.join(format!("{name}.wasm"))
}

/// A grid in this process, with a client and a directory that goes with it.
pub(crate) struct Grid {
    pub(crate) client: Client,
    pub(crate) embedded: Embedded,
    pub(crate) state: tempfile::TempDir,
}

impl Grid {
    pub(crate) async fn start(workers: usize, slots: usize) -> Self {
        Self::start_with(workers, slots, EngineConfig::default()).await
    }

    pub(crate) async fn start_with(workers: usize, slots: usize, engine: EngineConfig) -> Self {
        let state = tempfile::tempdir().unwrap();
        let embedded = Embedded::start(EmbeddedConfig {
            workers,
            slots,
            state_dir: state.path().to_owned(),
            engine,
            ..EmbeddedConfig::default()
        })
        .unwrap();
        let client = embedded.client().await.unwrap();
        let grid = Self { client, embedded, state };
        eventually("all workers connect", async || {
            grid.client.workers().await.unwrap().len() == workers
        })
        .await;
        grid
    }

    pub(crate) async fn deploy(&self, name: &str) -> BundleInfo {
        self.client.deploy(&bundle_bytes(name), false).await.unwrap().info
    }

    /// Counters of one task.
    pub(crate) async fn counts(&self, task: &str) -> TaskCounts {
        counts(&self.client, task).await
    }
}

pub(crate) async fn counts(client: &Client, task: &str) -> TaskCounts {
    let all = client.counts().await.unwrap();
    all.into_iter().find(|counts| counts.task == task).unwrap_or_default()
}

/// A grid of processes, in a home of its own. Stopped when dropped.
pub(crate) struct Processes {
    pub(crate) up: Child,
    pub(crate) address: String,
    pub(crate) scheduler_pid: u64,
    pub(crate) worker_pids: Vec<u64>,
    home: Option<tempfile::TempDir>,
}

/// `grid` with these arguments in a home.
pub(crate) fn grid(home: &std::path::Path, args: &[&str]) -> Command {
    let binary = std::env::var_os("GRID_BIN");
    let binary = binary.map_or_else(|| target_dir().join("debug/grid"), PathBuf::from);
    let mut command = Command::new(binary);
    command
        .args(args)
        .current_dir(home)
        .env("GRID_IDENTITY", home.join("identity"))
        .env("GRID_STATE", home.join("state"))
        .env("GRID_CACHE", home.join("native"))
        .env_remove("GRID_SCHEDULER")
        .stdin(Stdio::null());
    command
}

impl Processes {
    pub(crate) fn up(args: &[&str]) -> Self {
        Self::up_in(tempfile::tempdir().unwrap(), args)
    }

    pub(crate) fn up_in(home: tempfile::TempDir, args: &[&str]) -> Self {
        Self::up_with(home, args, Vec::new())
    }

    /// With these variables in its environment.
    pub(crate) fn up_with(
        home: tempfile::TempDir,
        args: &[&str],
        environment: Vec<(String, String)>,
    ) -> Self {
        let mut up = grid(home.path(), &["up", "--json", "--listen=127.0.0.1:0"])
            .args(args)
            .envs(environment)
            .stdout(Stdio::piped())
            .spawn()
            .expect("run `cargo xtask test`, which builds `grid`");
        let mut stdout = BufReader::new(up.stdout.take().unwrap());
        let mut said = String::new();
        while !said.trim_end().ends_with("\n}") {
            assert!(stdout.read_line(&mut said).unwrap() > 0, "`grid up` ended: {said}");
        }
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let pids = said["worker_pids"].as_array().unwrap();
        Self {
            up,
            address: said["address"].as_str().unwrap().to_owned(),
            scheduler_pid: said["scheduler_pid"].as_u64().unwrap(),
            worker_pids: pids.iter().map(|pid| pid.as_u64().unwrap()).collect(),
            home: Some(home),
        }
    }

    pub(crate) fn home(&self) -> &std::path::Path {
        self.home.as_ref().unwrap().path()
    }

    /// Stops it and leaves its home.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        self.home.take().unwrap()
    }

    /// Runs `grid` against this grid.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        grid(self.home(), args).env("GRID_SCHEDULER", &self.address).output().unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        let options = ClientOptions {
            scheduler: self.address.clone(),
            identity_dir: self.home().join("identity"),
            timeout: PATIENCE,
            ..ClientOptions::new("")
        };
        Client::connect_with(&options).await.unwrap()
    }

    pub(crate) fn all_pids(&self) -> Vec<u64> {
        let mut pids = self.worker_pids.clone();
        pids.push(self.scheduler_pid);
        pids
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        signal("-TERM", u64::from(self.up.id()));
        let _ = self.up.wait();
    }
}

pub(crate) fn signal(name: &str, pid: u64) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).output();
    assert!(sent.is_ok());
}

/// Whether a process runs; one that is dead and not yet collected does not.
pub(crate) fn runs(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A call by name with MessagePack arguments, pure or not as its author says.
pub(crate) fn raw_call(bundle: &BundleInfo, task: &str, args: Vec<Arg>) -> RawCall {
    let (_, described) = bundle.description.task(task).unwrap();
    RawCall {
        bundle: bundle.hash,
        task: task.to_owned(),
        pure: described.pure,
        args,
        options: CallOptions::default(),
    }
}

pub(crate) fn value(value: impl Serialize) -> Arg {
    let bytes = rmp_serde::to_vec_named(&value).unwrap();
    Arg::Value(Value { codec: Codec::Msgpack, bytes })
}

/// The failure of a call that must have none of a result.
pub(crate) fn failure<T: std::fmt::Debug>(ended: Result<T, ClientError>) -> Failure {
    match ended {
        Err(ClientError::Failed(failure)) => *failure,
        other => panic!("expected a failed call, got {other:?}"),
    }
}

/// Asks until the answer is yes.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < PATIENCE, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
