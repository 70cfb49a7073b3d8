use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use grid_net::{Endpoint, Identity};
use grid_proto::{Amount, LimitBounds};
use grid_sandbox::{Compiler, DirGrant, EngineConfig};
use grid_worker::{Worker, WorkerConfig};

use super::memory::MemoryArgs;
use super::stores::StoreArgs;
use crate::args::Global;
use crate::error::CliError;
use crate::output::say;
use crate::reach::default_state_dir;
use crate::supervisor::{self, LOOK_EVERY, RESTART_WAIT, STOP_TIMEOUT, Watched};
use crate::{grant, machine, resource, seconds, size, stop};

/// Slots of one worker: each is a thread, and what the scheduler takes for possible.
const SLOTS_MAX: i64 = 1 << 16;

/// The longest between the death of a worker and the start of its successor.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(30);

/// Run a worker until Ctrl-C.
#[derive(Args, Debug)]
pub(crate) struct WorkerCommand {
    /// Its name, unique in the grid. By default the host's name and the process id.
    #[arg(long)]
    name: Option<String>,
    /// Where to listen for other workers and clients (UDP); port 0 takes any free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "HOST:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    #[command(flatten)]
    pub(crate) traits: TraitArgs,
    #[command(flatten)]
    memory: MemoryArgs,
    /// Do without a second process that ends this worker when it holds too much memory, starts it anew
    /// when it has ended so or crashed, and tells the grid why.
    #[arg(long)]
    no_supervisor: bool,
    /// Stop when standard input closes.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// What makes a worker different from others.
#[derive(Args, Debug, Clone)]
pub(crate) struct TraitArgs {
    /// A name that calls may be pinned to, beside the worker's own and its host's.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// An abstract resource that calls may take while they run, for instance `GPU=1`.
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = resource::parse)]
    resources: Vec<(String, Amount)>,
}

impl TraitArgs {
    pub(crate) fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    pub(crate) fn resources(&self) -> Vec<(String, Amount)> {
        self.resources.clone()
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|label| format!("--label={label}"));
        let resources =
            self.resources.iter().map(|(name, amount)| format!("--resource={name}={amount}"));
        labels.chain(resources).collect()
    }
}

/// What an operator says about the sandboxes of a worker.
#[derive(Args, Debug, Clone)]
pub(crate) struct SandboxArgs {
    /// Calls that a worker runs at a time. By default one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=SLOTS_MAX))]
    pub(crate) slots: Option<u32>,
    /// A directory that a bundle may see: BUNDLE:HOST_DIR:GUEST_DIR[:ro|rw]. BUNDLE may be `*`.
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant::parse)]
    grants: Vec<DirGrant>,
    #[command(flatten)]
    stores: StoreArgs,
    /// Memory of a call that does not say what it needs.
    #[arg(long, default_value = "256MiB", value_parser = size::parse)]
    memory_default: u64,
    /// The most memory that a call may ask for.
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    memory_max: u64,
    /// The most that a call may write as its result piece by piece, on disk where memory has no room.
    #[arg(long, default_value = "16GiB", value_parser = size::parse)]
    written_max: u64,
    /// The most that a call may write into a directory of its own, below the worker's local directory;
    /// 0 for none.
    #[arg(long, default_value = "1GiB", value_parser = size::parse)]
    scratch_max: u64,
    /// Seconds that a call may run which does not say how long it needs.
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds::parse,
        allow_negative_numbers = true)]
    timeout_default: Duration,
    /// The most seconds that a call may ask for.
    #[arg(long, default_value = "3600", value_name = "SECONDS", value_parser = seconds::parse,
        allow_negative_numbers = true)]
    timeout_max: Duration,
    /// Calls that may wait at the same time, for calls of their own or for what is shared; each keeps
    /// its sandbox meanwhile.
    /// Twice the scheduler's `--nesting-max` is always enough for one slot.
    #[arg(long, default_value_t = 256, value_name = "CALLS")]
    waiting_max: usize,
    /// Seconds that a call may wait for calls of its own and for what is shared, in all.
    #[arg(long, default_value = "86400", value_name = "SECONDS", value_parser = seconds::parse,
        allow_negative_numbers = true)]
    waiting_timeout: Duration,
    /// Actors that may live at the same time; each keeps its sandbox.
    #[arg(long, default_value_t = 64, value_name = "ACTORS")]
    actors_max: usize,
    /// Instances of resident tasks that may stay at the same time; each keeps its memory. 0 keeps none.
    #[arg(long, default_value_t = 32, value_name = "INSTANCES")]
    residents_max: usize,
    /// Calls that one of them serves before a fresh one takes its turn.
    #[arg(long, default_value_t = 1_000, value_name = "CALLS")]
    resident_uses_max: u32,
    /// Seconds after which a fresh one takes its turn.
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = seconds::parse,
        allow_negative_numbers = true)]
    resident_age_max: Duration,
    /// Where compiled bundles are kept. By default `~/.local/share/grid/state/native`.
    #[arg(long, env = "GRID_CACHE", value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

impl SandboxArgs {
    pub(crate) fn slots_or(&self, default: usize) -> usize {
        self.slots.map_or(default.max(1), |slots| slots as usize)
    }

    pub(crate) fn engine(&self) -> Result<EngineConfig, CliError> {
        let mut bounds = LimitBounds::default();
        bounds.default.memory_bytes_max = self.memory_default;
        bounds.ceiling.memory_bytes_max = self.memory_max;
        bounds.default.written_bytes_max = self.written_max;
        bounds.ceiling.written_bytes_max = self.written_max;
        bounds.default.scratch_bytes_max = self.scratch_max;
        bounds.ceiling.scratch_bytes_max = self.scratch_max;
        bounds.default.wall_ms_max = milliseconds(self.timeout_default);
        bounds.ceiling.wall_ms_max = milliseconds(self.timeout_max);
        let cache_dir = self.cache_dir.clone();
        Ok(EngineConfig {
            bounds,
            waiting_max: self.waiting_max,
            actors_max: self.actors_max,
            residents_max: self.residents_max,
            resident_uses_max: self.resident_uses_max,
            resident_age_max: self.resident_age_max,
            waiting_time_max: self.waiting_timeout,
            grants: self.grants.clone(),
            stores: Some(self.stores.stores()),
            cache_dir: Some(cache_dir.unwrap_or_else(|| default_state_dir().join("native"))),
            compiler: Compiler::Child {
                program: std::env::current_exe()?,
                args: vec!["compile-bundle".to_owned()],
            },
            ..EngineConfig::default()
        })
    }

    /// The same options, for a process that is started with them.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--memory-default={}", self.memory_default),
            format!("--memory-max={}", self.memory_max),
            format!("--written-max={}", self.written_max),
            format!("--scratch-max={}", self.scratch_max),
            format!("--timeout-default={}", self.timeout_default.as_secs_f64()),
            format!("--timeout-max={}", self.timeout_max.as_secs_f64()),
            format!("--waiting-max={}", self.waiting_max),
            format!("--waiting-timeout={}", self.waiting_timeout.as_secs_f64()),
            format!("--actors-max={}", self.actors_max),
            format!("--residents-max={}", self.residents_max),
            format!("--resident-uses-max={}", self.resident_uses_max),
            format!("--resident-age-max={}", self.resident_age_max.as_secs_f64()),
        ];
        if let Some(directory) = &self.cache_dir {
            args.push(format!("--cache-dir={}", directory.display()));
        }
        args.extend(self.grants.iter().map(|grant| {
            let mode = if grant.writable { "rw" } else { "ro" };
            format!("--grant={}:{}:{}:{mode}", grant.bundle, grant.host.display(), grant.guest)
        }));
        args.extend(self.stores.to_args());
        args
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl WorkerCommand {
    pub(crate) async fn run(self, global: &Global) -> Result<(), CliError> {
        // Whoever started it so watches it.
        match self.no_supervisor || self.stop_with_stdin {
            true => self.work(global).await,
            false => self.supervise(global).await,
        }
    }

    /// Has another process work, and starts it anew whenever it is ended.
    async fn supervise(&self, global: &Global) -> Result<(), CliError> {
        let slots = self.sandbox.slots_or(processors());
        let memory = self.memory.config(slots);
        let name = self.name.clone().unwrap_or_else(default_name);
        let args = self.worker_args(&name, slots, global);
        let start = || Watched::start(name.clone(), &args, global, Stdio::inherit());
        let mut stop = std::pin::pin!(stop::asked(false));
        let (mut worker, mut started, mut wait) = (start()?, Instant::now(), RESTART_WAIT);
        let mut anew = false;
        loop {
            tokio::select! {
                () = &mut stop => {
                    let deadline = tokio::time::Instant::now() + STOP_TIMEOUT;
                    supervisor::stop_all(&mut [worker.process()], deadline).await;
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK_EVERY) => worker.kill_if_too_large(&memory),
            }
            if !worker.has_ended() {
                continue;
            }
            let (status, why) = worker.why_ended().await?;
            let was_ended = supervisor::was_ended(status);
            // A successor may find no grid, or its own name, until somebody has noticed: it tries again.
            let goes_on = was_ended || anew && supervisor::found_no_grid(status);
            if !goes_on {
                // It has said why on standard error.
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                return code
                    .filter(|code| *code != 0)
                    .map_or(Ok(()), |code| Err(CliError::Shown(code)));
            }
            say(format_args!("{name}: {why}; starting it anew"));
            // A grid that cannot be reached notices by itself.
            if was_ended && let Ok(client) = global.connect_to(&global.scheduler).await {
                let _ = supervisor::report(&client, &name, &why).await;
            }
            // One that ends at once, again and again, costs little.
            let longer = (wait * 2).min(RESTART_WAIT_MAX);
            wait = if started.elapsed() > RESTART_WAIT_MAX { RESTART_WAIT } else { longer };
            tokio::select! {
                () = &mut stop => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
            (worker, started, anew) = (start()?, Instant::now(), true);
        }
    }

    fn worker_args(&self, name: &str, slots: usize, global: &Global) -> Vec<String> {
        let mut args = vec![
            "worker".to_owned(),
            format!("--name={name}"),
            format!("--listen={}", self.listen),
            format!("--slots={slots}"),
            format!("--scheduler={}", global.scheduler),
            format!("--connect-timeout={}", global.connect_timeout.as_secs_f64()),
        ];
        args.extend(self.sandbox.to_args());
        args.extend(self.traits.to_args());
        args.extend(self.memory.to_args());
        args
    }

    async fn work(self, global: &Global) -> Result<(), CliError> {
        let identity = Identity::load_or_create(&global.identity_dir())?;
        let endpoint = self.memory.endpoint(Endpoint::quic(self.listen, &identity)?);
        let slots = self.sandbox.slots_or(processors());
        let config = WorkerConfig {
            name: self.name.unwrap_or_else(default_name),
            scheduler: global.scheduler.clone(),
            host: machine::host_name(),
            labels: self.traits.labels(),
            resources: self.traits.resources(),
            memory: self.memory.config(slots),
            slots,
            engine: self.sandbox.engine()?,
            connect_timeout: global.timeout(),
        };
        let worker = Worker::new(config, endpoint.clone())?;
        worker.run(stop::asked(self.stop_with_stdin)).await?;
        endpoint.close().await;
        Ok(())
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn default_name() -> String {
    format!("{}-{}", machine::host_name(), std::process::id())
}
