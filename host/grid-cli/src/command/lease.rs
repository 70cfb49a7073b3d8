use std::process::Command;

use anyhow::Context;
use clap::Subcommand;
use grid_client::coordination::Lock as Leases;
use grid_proto::coordination::NamedKind;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;

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
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
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
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<f64>,
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

/// The program's exit code is the command's.
async fn run_holding(
    leases: &Leases,
    timeout: Option<f64>,
    command: Vec<String>,
) -> Result<(), CliError> {
    let lease = match timeout {
        None => leases.acquire().await?,
        Some(seconds) => {
            let lease = leases.acquire_within(named::patience(seconds)?).await?;
            lease.ok_or_else(|| named::timed_out("there was no lease"))?
        }
    };
    let name = command[0].clone();
    let running = move || Command::new(&command[0]).args(&command[1..]).status();
    let ended = tokio::task::spawn_blocking(running).await.context("the program's thread")?;
    let status = ended.with_context(|| format!("cannot run `{name}`"))?;
    let was_held = lease.is_held();
    let released = lease.release().await;
    if !was_held {
        return Err(anyhow::anyhow!("the lease ended before `{name}` did").into());
    }
    released?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(CliError::Shown(u8::try_from(code).unwrap_or(u8::MAX))),
        None => Err(anyhow::anyhow!("`{name}` was stopped by a signal").into()),
    }
}
