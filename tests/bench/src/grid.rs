//! A grid of processes under measurement.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use grid_client::{Client, ClientOptions};
use grid_proto::report::BundleInfo;
use serde_json::Value;

/// `grid up` with a directory of its own; stopped when dropped.
pub(crate) struct Grid {
    process: Child,
    pub(crate) address: String,
    pub(crate) scheduler_pid: u32,
    pub(crate) worker_pids: Vec<u32>,
    pub(crate) home: std::rc::Rc<tempfile::TempDir>,
}

pub(crate) fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")),
        PathBuf::from,
    );
    std::env::var_os("GRID_BIN").map_or_else(|| target.join("debug/grid"), PathBuf::from)
}

pub(crate) fn bundle(name: &str) -> anyhow::Result<Vec<u8>> {
    let target = binary().ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    let path = target.join("bundles").join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

impl Grid {
    /// A scheduler and workers with this many slots each, in processes.
    pub(crate) fn up(workers: usize, slots: usize) -> anyhow::Result<Self> {
        Self::up_in(std::rc::Rc::new(tempfile::tempdir()?), workers, slots)
    }

    pub(crate) fn up_in(
        home: std::rc::Rc<tempfile::TempDir>,
        workers: usize,
        slots: usize,
    ) -> anyhow::Result<Self> {
        Self::up_with(home, workers, slots, &[])
    }

    /// With other arguments besides.
    pub(crate) fn up_with(
        home: std::rc::Rc<tempfile::TempDir>,
        workers: usize,
        slots: usize,
        args: &[&str],
    ) -> anyhow::Result<Self> {
        let mut process = Command::new(binary())
            .args(["up", "--json", "--listen=127.0.0.1:0"])
            .arg(format!("--workers={workers}"))
            .arg(format!("--slots={slots}"))
            .args(args)
            .env("GRID_IDENTITY", home.path().join("identity"))
            .env("GRID_STATE", home.path().join("state"))
            .env("GRID_CACHE", home.path().join("native"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `grid up`; run by `cargo xtask bench`")?;
        let stdout = process.stdout.take().context("no output")?;
        let mut text = String::new();
        let mut reader = BufReader::new(stdout);
        while !text.trim_end().ends_with("\n}") {
            anyhow::ensure!(reader.read_line(&mut text)? > 0, "`grid up` ended");
        }
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
        let said: Value = serde_json::from_str(&text)?;
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0);
        Ok(Self {
            process,
            address: said["address"].as_str().unwrap_or_default().to_owned(),
            scheduler_pid: number(&said["scheduler_pid"]),
            worker_pids: said["worker_pids"]
                .as_array()
                .map(|pids| pids.iter().map(number).collect())
                .unwrap_or_default(),
            home,
        })
    }

    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        self.client_that(true).await
    }

    /// One that shares memory with workers, or not.
    pub(crate) async fn client_that(&self, shared_memory: bool) -> anyhow::Result<Client> {
        let options = ClientOptions {
            shared_memory,
            scheduler: self.address.clone(),
            identity_dir: self.home.path().join("identity"),
            timeout: Duration::from_secs(5),
            ..ClientOptions::new("")
        };
        Ok(Client::connect_with(&options).await?)
    }

    pub(crate) async fn with(&self, name: &str) -> anyhow::Result<(Client, BundleInfo)> {
        let client = self.client().await?;
        let info = client.deploy(&bundle(name)?, false).await?.info;
        Ok((client, info))
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
