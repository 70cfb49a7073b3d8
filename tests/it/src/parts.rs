//! A scheduler process, and worker processes that a test starts, stops and kills one by one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

use grid_client::{Client, ClientOptions};
use grid_proto::Key;
use grid_proto::report::CallInfo;

use crate::support::{PATIENCE, bundle_bytes, eventually, grid};

/// The processes, in a home of their own. Killed when dropped.
pub(crate) struct Parts {
    home: tempfile::TempDir,
    scheduler: Child,
    workers: Vec<Child>,
    address: String,
    pub(crate) client: Client,
}

impl Parts {
    /// A scheduler, a client, and these bundles; there is no worker yet.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut scheduler = grid(home.path(), &["scheduler", "--listen=127.0.0.1:0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("run `cargo xtask test`, which builds `grid`");
        let mut line = String::new();
        BufReader::new(scheduler.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        let options = ClientOptions {
            scheduler: address.clone(),
            identity_dir: home.path().join("identity"),
            timeout: PATIENCE,
            ..ClientOptions::new("")
        };
        let client = Client::connect_with(&options).await.unwrap();
        Self { home, scheduler, workers: Vec::new(), address, client }
    }

    /// Starts a worker with one slot, unless `args` say otherwise; gives its process.
    pub(crate) async fn worker(&mut self, name: &str, args: &[&str]) -> u64 {
        let slots = args.iter().any(|arg| arg.starts_with("--slots"));
        let worker = grid(self.home.path(), &["worker", "--no-supervisor", "--name", name])
            .args(["--scheduler", &self.address])
            .args((!slots).then_some("--slots=1"))
            .args(args)
            .spawn()
            .unwrap();
        let pid = u64::from(worker.id());
        self.workers.push(worker);
        let connected = async || {
            let workers = self.client.workers().await.unwrap();
            workers.iter().any(|worker| worker.name == name)
        };
        eventually("the worker connects", connected).await;
        pid
    }

    pub(crate) async fn deploy(&self, bundles: &[&str]) {
        for bundle in bundles {
            self.client.deploy(&bundle_bytes(bundle), false).await.unwrap();
        }
    }

    /// Runs `grid` against this grid.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        grid(self.home.path(), args).env("GRID_SCHEDULER", &self.address).output().unwrap()
    }

    /// A call as the scheduler lists it.
    pub(crate) async fn call(&self, key: Key) -> CallInfo {
        call(&self.client, key).await
    }

    /// Waits until a call is explained with these words.
    pub(crate) async fn explained(&self, key: Key, words: &str) {
        explained(&self.client, key, words).await;
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for process in self.workers.iter_mut().chain([&mut self.scheduler]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A call as the scheduler lists it.
pub(crate) async fn call(client: &Client, key: Key) -> CallInfo {
    let mut calls = client.calls(&key.to_string(), None, 1).await.unwrap();
    calls.pop().expect("the grid knows the call")
}

/// Waits until a call is explained with these words.
pub(crate) async fn explained(client: &Client, key: Key, words: &str) {
    eventually(words, async || call(client, key).await.explanation.contains(words)).await;
}
