use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use grid_client::Client;
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_net::Identity;
use grid_worker::MemoryConfig;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::memory::MemoryArgs;
use super::scheduler::SchedulingArgs;
use super::worker::{SandboxArgs, TraitArgs};
use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, say};
use crate::reach::default_state_dir;
use crate::stop;
use crate::supervisor::{self, LOOK_EVERY, RESTART_WAIT, STOP_TIMEOUT, Watched};

/// How long the processes of a grid may take to find each other.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Run a whole grid on this machine until Ctrl-C: a scheduler and workers.
#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Where the scheduler listens (UDP); port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:8786", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Worker processes.
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Everything in one process.
    #[arg(long)]
    embedded: bool,
    /// Where bundles are kept. By default `~/.local/share/grid/state`.
    #[arg(long, env = "GRID_STATE", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    traits: TraitArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    #[command(flatten)]
    scheduling: SchedulingArgs,
    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// What `--json` says once the grid is up.
#[derive(Serialize)]
struct Running {
    address: String,
    scheduler_pid: u32,
    worker_pids: Vec<u32>,
}

impl Up {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        if self.embedded {
            return self.run_embedded(global, output).await;
        }
        let mut processes = Processes::start(&self, global).await?;
        let client = global.connect_to(&processes.address).await?;
        let ready = tokio::select! {
            ready = wait_for_workers(&client, self.workers) => ready,
            () = stop::asked(self.stop_with_stdin) => Ok(()),
        };
        if let Err(error) = ready {
            processes.stop().await;
            return Err(error);
        }
        drop(client);
        say_ready(output, &processes.running(), self.workers)?;
        let memory = self.memory.config(self.sandbox.slots_or(1));
        let mut stop = std::pin::pin!(stop::asked(self.stop_with_stdin));
        loop {
            tokio::select! {
                () = &mut stop => break,
                ended = processes.next_end(&memory) => {
                    if let Err(error) = processes.replace(ended, &self, global).await {
                        processes.stop().await;
                        return Err(error);
                    }
                }
            }
        }
        processes.stop().await;
        Ok(())
    }

    async fn run_embedded(self, global: &Global, output: Output) -> Result<(), CliError> {
        let identity = Identity::load_or_create(&global.identity_dir())?;
        let mut grid = Embedded::start(EmbeddedConfig {
            workers: self.workers,
            slots: self.sandbox.slots_or(1),
            state_dir: self.state_dir.clone().unwrap_or_else(default_state_dir),
            engine: self.sandbox.engine()?,
            memory: MemoryConfig {
                // It is that of all of them.
                watch_process: self.workers == 1,
                ..self.memory.config(self.sandbox.slots_or(1))
            },
            scheduler: self.scheduling.config()?,
            listen: Some((self.listen, identity)),
            shared_memory: self.memory.shares_memory(),
        })?;
        let client = grid.client().await?;
        wait_for_workers(&client, self.workers).await?;
        drop(client);
        let running = Running {
            address: grid.address().to_owned(),
            scheduler_pid: std::process::id(),
            worker_pids: vec![std::process::id()],
        };
        say_ready(output, &running, self.workers)?;
        tokio::select! {
            () = stop::asked(self.stop_with_stdin) => Ok(()),
            error = grid.broken() => Err(error.into()),
        }
    }

    fn scheduler_args(&self) -> Vec<String> {
        let mut args = vec!["scheduler".to_owned(), format!("--listen={}", self.listen)];
        if let Some(directory) = &self.state_dir {
            args.push(format!("--state-dir={}", directory.display()));
        }
        args.extend(self.scheduling.to_args());
        args
    }

    fn worker_args(&self, name: &str, scheduler: &str) -> Vec<String> {
        let listen = SocketAddr::new(self.listen.ip(), 0);
        let mut args = vec![
            "worker".to_owned(),
            format!("--name={name}"),
            format!("--listen={listen}"),
            format!("--scheduler={scheduler}"),
            format!("--slots={}", self.sandbox.slots_or(1)),
        ];
        args.extend(self.sandbox.to_args());
        args.extend(self.traits.to_args());
        args.extend(self.memory.to_args());
        args
    }
}

fn say_ready(output: Output, running: &Running, workers: usize) -> Result<(), CliError> {
    output.show(running, |running| {
        let pids: Vec<_> = running.worker_pids.iter().map(u32::to_string).collect();
        format!(
            "grid is up: scheduler {} (pid {}), {workers} workers (pid {})\nCtrl-C stops it",
            running.address,
            running.scheduler_pid,
            pids.join(", "),
        )
    })?;
    Ok(())
}

async fn wait_for_workers(client: &Client, workers: usize) -> Result<(), CliError> {
    let started = Instant::now();
    while client.workers().await?.len() < workers {
        if started.elapsed() > START_TIMEOUT {
            return Err(anyhow!("the workers did not connect within {START_TIMEOUT:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// The processes of a grid. They stop when this one ends, however it ends: their standard input is
/// a pipe from here.
struct Processes {
    address: String,
    scheduler: Child,
    workers: Vec<Member>,
}

/// A worker of the grid.
struct Member {
    number: usize,
    worker: Watched,
}

impl Processes {
    async fn start(up: &Up, global: &Global) -> Result<Self, CliError> {
        let mut scheduler = supervisor::spawn(&up.scheduler_args(), global, Stdio::piped())?;
        let stdout = scheduler.stdout.take().context("the scheduler has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START_TIMEOUT, lines.next_line()).await;
        let line = line.context("the scheduler said nothing")??;
        let Some(address) = line.as_deref().and_then(|line| line.rsplit(' ').next()) else {
            // It has said why on standard error.
            return Err(CliError::Shown(exit_code(scheduler.wait().await?)));
        };
        let mut processes = Self { address: address.to_owned(), scheduler, workers: Vec::new() };
        for number in 0..up.workers {
            let member = start_member(number, &processes.address, up, global)?;
            processes.workers.push(member);
        }
        Ok(processes)
    }

    fn running(&self) -> Running {
        Running {
            address: self.address.clone(),
            scheduler_pid: self.scheduler.id().unwrap_or(0),
            worker_pids: self.workers.iter().filter_map(|member| member.worker.id()).collect(),
        }
    }

    /// The next worker that ends, by its place; `None` for the scheduler. A worker that holds more
    /// memory than it may is ended.
    async fn next_end(&mut self, memory: &MemoryConfig) -> Option<usize> {
        loop {
            for member in &mut self.workers {
                member.worker.kill_if_too_large(memory);
            }
            if matches!(self.scheduler.try_wait(), Ok(Some(_)) | Err(_)) {
                return None;
            }
            if let Some(place) =
                self.workers.iter_mut().position(|member| member.worker.has_ended())
            {
                return Some(place);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts a successor for a worker that ended.
    async fn replace(
        &mut self,
        ended: Option<usize>,
        up: &Up,
        global: &Global,
    ) -> Result<(), CliError> {
        let Some(place) = ended else {
            // It has said why on standard error.
            return Err(CliError::Shown(exit_code(self.scheduler.wait().await?)));
        };
        let member = &mut self.workers[place];
        let (_, why) = member.worker.why_ended().await?;
        say(format_args!("{}: {why}; starting it anew", member.worker.name()));
        let client = global.connect_to(&self.address).await?;
        supervisor::report(&client, member.worker.name(), &why).await?;
        drop(client);
        tokio::time::sleep(RESTART_WAIT).await;
        *member = start_member(member.number, &self.address, up, global)?;
        Ok(())
    }

    /// Workers first: they say goodbye to a scheduler that still listens.
    async fn stop(&mut self) {
        let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
        let mut workers: Vec<_> =
            self.workers.iter_mut().map(|member| member.worker.process()).collect();
        supervisor::stop_all(&mut workers, deadline).await;
        supervisor::stop_all(&mut [&mut self.scheduler], deadline).await;
    }
}

/// The code of a scheduler that ended though nobody asked it to.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    say(format_args!("the scheduler ended ({status})"));
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.filter(|code| *code != 0).unwrap_or(6)
}

fn start_member(
    number: usize,
    scheduler: &str,
    up: &Up,
    global: &Global,
) -> Result<Member, CliError> {
    // A successor has the same name: calls may be pinned to it.
    let name = format!("worker-{number}");
    let args = up.worker_args(&name, scheduler);
    Ok(Member { number, worker: Watched::start(name, &args, global, Stdio::null())? })
}
