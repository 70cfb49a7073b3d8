use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use grid_client::coordination::{Lease, Lock as Leases};
use grid_proto::coordination::NamedKind;
use rustix::process::{Pid, kill_process};
use tokio::process::Command;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::seconds;
use crate::stop::{self, Signals};

/// Locks: one holder at a time in the whole grid.
#[derive(Subcommand, Debug)]
pub(crate) enum Lock {
    /// List the locks that are held.
    List,
    /// Run a program while holding a lock.
    Run {
        /// The lock's name.
        name: String,
        /// Seconds to wait for the lock at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
        /// The program and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
}

/// Semaphores: so many holders at a time in the whole grid.
#[derive(Subcommand, Debug)]
pub(crate) enum Semaphore {
    /// List the semaphores that are held.
    List,
    /// Run a program while holding one lease of a semaphore.
    Run {
        /// The semaphore's name.
        name: String,
        /// Its leases; all its users say the same.
        leases: u32,
        /// Seconds to wait for a lease at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
        /// The program and its arguments.
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
}

impl Lock {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => named::list(&client, NamedKind::Lock, output).await,
            Self::Run { name, timeout, command } => {
                run_holding(&client.lock(name), timeout, command).await
            }
        }
    }
}

impl Semaphore {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => named::list(&client, NamedKind::Semaphore, output).await,
            Self::Run { name, leases, timeout, command } => {
                run_holding(&client.semaphore(name, leases), timeout, command).await
            }
        }
    }
}

/// The program's exit code is the command's. Signals are the program's: the lease is held until it
/// has really ended.
async fn run_holding(
    leases: &Leases,
    timeout: Option<Duration>,
    command: Vec<String>,
) -> Result<(), CliError> {
    let mut signals = Signals::listen()?;
    let lease = tokio::select! {
        lease = acquire(leases, timeout) => lease?,
        signal = signals.next() => {
            return Err(CliError::Interrupted { signal, what: "there was no lease yet" });
        }
    };
    let name = &command[0];
    let ended = run_to_its_end(&command, &mut signals).await;
    let was_held = lease.is_held();
    let released = lease.release().await;
    let status = ended.with_context(|| format!("cannot run `{name}`"))?;
    if !was_held {
        return Err(anyhow::anyhow!("the lease ended before `{name}` did").into());
    }
    released?;
    match status.code().or_else(|| status.signal().map(|signal| stop::exit_code(signal).into())) {
        Some(0) => Ok(()),
        Some(code) => Err(CliError::Shown(u8::try_from(code).unwrap_or(u8::MAX))),
        None => Err(anyhow::anyhow!("`{name}` ended as no process ends: {status}").into()),
    }
}

async fn acquire(leases: &Leases, timeout: Option<Duration>) -> Result<Lease, CliError> {
    let Some(patience) = timeout else { return Ok(leases.acquire().await?) };
    let lease = leases.acquire_within(patience).await?;
    lease.ok_or_else(|| named::timed_out("there was no lease"))
}

/// Passes on what asks this process to end.
async fn run_to_its_end(command: &[String], signals: &mut Signals) -> io::Result<ExitStatus> {
    let mut child = Command::new(&command[0]).args(&command[1..]).spawn()?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal,
        };
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid.filter(|_| !stop::is_from_terminal(signal)) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }
}
