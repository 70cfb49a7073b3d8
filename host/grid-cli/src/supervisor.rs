//! Processes that this one has started and watches: what they hold, and why they ended.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use grid_client::Client;
use grid_worker::MemoryConfig;
use tokio::process::{Child, Command};

use crate::args::Global;
use crate::error::CliError;
use crate::{machine, size};

/// How often they are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long they may take to stop before they are killed.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Between the death of a worker and the start of its successor.
pub(crate) const RESTART_WAIT: Duration = Duration::from_millis(500);
/// What a process of ours ends with that has panicked.
const PANICKED: i32 = 101;
/// What it ends with that cannot reach the grid, or that the grid does not take.
const NO_GRID: i32 = 5;

/// A worker's process. It stops when this one ends, however that ends: its standard input is a pipe
/// from here.
pub(crate) struct Watched {
    name: String,
    process: Child,
    /// Why it was ended from here.
    killed: Option<String>,
}

impl Watched {
    pub(crate) fn start(
        name: String,
        args: &[String],
        global: &Global,
        stdout: Stdio,
    ) -> Result<Self, CliError> {
        Ok(Self { name, process: spawn(args, global, stdout)?, killed: None })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    pub(crate) fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Beyond this mark the machine may end other processes. The worker itself may be too busy to
    /// notice, so it is not asked.
    pub(crate) fn kill_if_too_large(&mut self, memory: &MemoryConfig) {
        let most = memory.bytes_at(memory.marks.terminate);
        let held = self.process.id().map_or(0, machine::resident_bytes);
        if held > most && self.killed.is_none() && self.process.start_kill().is_ok() {
            self.killed = Some(format!(
                "it held {} of its {} and was ended, because that is above the mark of {}",
                size::human(held),
                size::human(memory.limit_bytes),
                memory.marks.terminate,
            ));
        }
    }

    /// Its end, and why that came.
    pub(crate) async fn why_ended(&mut self) -> Result<(ExitStatus, String), CliError> {
        let status = self.process.wait().await?;
        let why = self.killed.take().unwrap_or_else(|| format!("its process ended: {status}"));
        Ok((status, why))
    }
}

/// Whether a worker that ended so was ended: it has not said itself that it cannot work.
pub(crate) fn was_ended(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code == PANICKED)
}

/// Whether it ended because there was no grid for it, as far as it could see.
pub(crate) fn found_no_grid(status: ExitStatus) -> bool {
    status.code() == Some(NO_GRID)
}

/// Tells the scheduler, which would notice the silence: this way the worker's calls run elsewhere at
/// once, and its name is free.
pub(crate) async fn report(client: &Client, name: &str, why: &str) -> Result<(), CliError> {
    client.worker_ended(name, why).await?;
    client.status().await?;
    Ok(())
}

pub(crate) async fn stop_all(children: &mut [&mut Child], deadline: tokio::time::Instant) {
    // Closing their standard input asks them to stop.
    for child in children.iter_mut() {
        drop(child.stdin.take());
    }
    for child in children {
        if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}

/// Starts another process of this program.
pub(crate) fn spawn(args: &[String], global: &Global, stdout: Stdio) -> Result<Child, CliError> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command
        .args(args)
        .arg("--stop-with-stdin")
        .arg(format!("--identity={}", global.identity_dir().display()))
        .args(std::iter::repeat_n("-v", global.verbose.into()))
        .stdin(Stdio::piped())
        .stdout(stdout)
        .kill_on_drop(true)
        // Ctrl-C in the terminal reaches this process only, which then stops the others in order.
        .process_group(0);
    Ok(command.spawn().context("cannot start another process of `grid`")?)
}
