//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::command::{
    build, bundles, cancel, compile, completions, dataset, demo, deploy, event, explain, get,
    inspect, lease, new, quarantine, queue, retry, run, scatter, scheduler, status, tasks,
    toolchain, topic, traps, up, variable, whereabouts, worker, workers,
};
use crate::seconds;

/// A compute grid whose tasks are WebAssembly components, run in sandboxes with hard limits.
#[derive(Parser, Debug)]
#[command(name = "grid", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the task returned an error
  2  wrong usage of this command line
  3  the sandbox stopped the task (trap, limit, cancelled)
  4  refused: no such bundle, task, key or name, wrong arguments, not a bundle, name taken,
     task in quarantine
  5  the grid cannot be reached, or is of another version or identity
  6  something on this machine: a file, a port, a build, a toolchain; or `--timeout` was over
  7  the scheduler stopped because its own state was wrong; it says where its dump is
  128 and more: a signal ended it, 130 for Ctrl-C; also of the program of `grid lock run`";

/// Options of every command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// The scheduler's address.
    #[arg(long, global = true, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    pub(crate) scheduler: String,
    /// The directory with the grid's identity; made if there is none. By default
    /// `~/.local/share/grid/identity`.
    #[arg(long, global = true, env = "GRID_IDENTITY", value_name = "DIR")]
    pub(crate) identity: Option<PathBuf>,
    /// Seconds that connecting may take.
    #[arg(
        long,
        global = true,
        default_value = "3",
        value_name = "SECONDS",
        value_parser = seconds::parse,
        allow_negative_numbers = true
    )]
    pub(crate) connect_timeout: Duration,
    /// Results as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on standard error; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Up(up::Up),
    Scheduler(scheduler::SchedulerCommand),
    Worker(worker::WorkerCommand),
    New(new::New),
    Build(build::Build),
    Deploy(deploy::Deploy),
    Bundles(bundles::Bundles),
    Inspect(inspect::Inspect),
    Run(run::Run),
    Status(status::Status),
    Workers(workers::Workers),
    Tasks(tasks::Tasks),
    Calls(tasks::Calls),
    Traps(traps::Traps),
    Explain(explain::Explain),
    Story(explain::Story),
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
    Scatter(scatter::Scatter),
    Get(get::Get),
    WhoHas(whereabouts::WhoHas),
    HasWhat(whereabouts::HasWhat),
    Replicate(whereabouts::Replicate),
    Rebalance(whereabouts::Rebalance),
    #[command(subcommand)]
    Dataset(dataset::Dataset),
    #[command(subcommand)]
    Variable(variable::Variable),
    #[command(subcommand)]
    Queue(queue::Queue),
    #[command(subcommand)]
    Lock(lease::Lock),
    #[command(subcommand)]
    Semaphore(lease::Semaphore),
    #[command(subcommand)]
    Event(event::Event),
    #[command(subcommand)]
    Topic(topic::Topic),
    Demo(demo::Demo),
    #[command(subcommand)]
    Toolchain(toolchain::Toolchain),
    Completions(completions::Completions),
    /// Compile a bundle from standard input to standard output; the worker's own helper.
    #[command(hide = true)]
    CompileBundle(compile::CompileBundle),
}
