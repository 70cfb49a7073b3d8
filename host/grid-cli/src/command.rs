//! The commands, one file each.

pub(crate) mod build;
pub(crate) mod bundles;
pub(crate) mod cancel;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod event;
pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod inspect;
mod keys;
pub(crate) mod lease;
mod memory;
mod named;
pub(crate) mod new;
pub(crate) mod quarantine;
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod scatter;
pub(crate) mod scheduler;
pub(crate) mod status;
mod stores;
pub(crate) mod tasks;
pub(crate) mod toolchain;
pub(crate) mod topic;
pub(crate) mod traps;
pub(crate) mod up;
pub(crate) mod variable;
mod waiting;
pub(crate) mod whereabouts;
pub(crate) mod worker;
pub(crate) mod workers;

use std::future::Future;

use crate::args::{Cli, Command};
use crate::error::CliError;
use crate::output::Output;

/// Carries out what was typed.
pub(crate) fn run(cli: Cli) -> Result<(), CliError> {
    let Cli { global, command } = cli;
    let output = Output { json: global.json };
    match command {
        Command::Up(command) => block_on(command.run(&global, output)),
        Command::Scheduler(command) => block_on(command.run(&global)),
        Command::Worker(command) => block_on(command.run(&global)),
        Command::New(command) => command.run(output),
        Command::Build(command) => command.run(output),
        Command::Deploy(command) => block_on(command.run(&global, output)),
        Command::Bundles(command) => block_on(command.run(&global, output)),
        Command::Inspect(command) => block_on(command.run(&global, output)),
        Command::Run(command) => block_on(command.run(&global, output)),
        Command::Status(command) => block_on(command.run(&global, output)),
        Command::Workers(command) => block_on(command.run(&global, output)),
        Command::Tasks(command) => block_on(command.run(&global, output)),
        Command::Calls(command) => block_on(command.run(&global, output)),
        Command::Traps(command) => block_on(command.run(&global, output)),
        Command::Explain(command) => block_on(command.run(&global, output)),
        Command::Story(command) => block_on(command.run(&global, output)),
        Command::Quarantine(command) => block_on(command.run(&global, output)),
        Command::Cancel(command) => block_on(command.run(&global, output)),
        Command::Retry(command) => block_on(command.run(&global, output)),
        Command::Scatter(command) => block_on(command.run(&global, output)),
        Command::Get(command) => block_on(command.run(&global, output)),
        Command::WhoHas(command) => block_on(command.run(&global, output)),
        Command::HasWhat(command) => block_on(command.run(&global, output)),
        Command::Replicate(command) => block_on(command.run(&global, output)),
        Command::Rebalance(command) => block_on(command.run(&global, output)),
        Command::Dataset(command) => block_on(command.run(&global, output)),
        Command::Variable(command) => block_on(command.run(&global, output)),
        Command::Queue(command) => block_on(command.run(&global, output)),
        Command::Lock(command) => block_on(command.run(&global, output)),
        Command::Semaphore(command) => block_on(command.run(&global, output)),
        Command::Event(command) => block_on(command.run(&global, output)),
        Command::Topic(command) => block_on(command.run(&global, output)),
        Command::Demo(command) => block_on(command.run(&global)),
        Command::Toolchain(command) => command.run(output),
        Command::Completions(command) => {
            command.run();
            Ok(())
        }
        Command::CompileBundle(_) => Ok(()),
    }
}

/// The way of one packet out of the socket, with room.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(3);

/// One thread for io: guest code runs on threads of its own.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let result = work.await;
        // Lets the goodbye of a client that was just dropped leave the machine.
        tokio::time::sleep(GOODBYE).await;
        result
    });
    // A thread that reads standard input cannot be stopped; nobody waits for it.
    runtime.shutdown_background();
    result
}
