//! The binary `grid`: every part of the system behind one name.
//!
//! Each command is a struct with its options and a `run`. Results go to standard output, for people
//! or with `--json` for programs; everything else goes to standard error.

mod args;
mod command;
mod error;
mod grant;
mod json;
mod machine;
mod output;
mod reach;
mod resource;
mod seconds;
mod size;
mod stop;
mod supervisor;
mod table;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// After a million calls were freed, the system's allocator tidies up for tens of milliseconds at a
/// time, in the middle of somebody else's turn.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::CompileBundle(command) = cli.command {
        return command.run();
    }
    start_log(cli.global.verbose);
    match command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}

/// Warnings, and more with `-v` or as `GRID_LOG` says, to standard error.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("GRID_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A reader that went away is no reason to panic.
        .log_internal_errors(false)
        .init();
}
