//! The project's own chores. `cargo xtask demo` and `cargo xtask test` are all that a newcomer
//! needs; CI runs the latter.

mod checks;
mod demo;
mod fix;
mod garage;
mod guests;
mod run;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Xtask {
    /// Build everything and show it at work: real data on a real grid, then hostile functions.
    Demo(demo::Demo),
    /// Everything that CI checks; changes nothing in the tree.
    Test(checks::Test),
    /// Format, apply lint suggestions, regenerate what is generated.
    Fix,
    /// Build all bundles: examples and the tests' guests.
    Guests,
    /// Check the layering, file sizes and names.
    Tidy,
    /// Run the simulator over many seeds: `cargo xtask sim --seeds 100000`; or one large grid:
    /// `cargo xtask sim --scale`.
    #[command(disable_help_flag = true)]
    Sim(Rest),
    /// Measure, beside the peers where they are named.
    #[command(disable_help_flag = true)]
    Bench(Rest),
}

/// Arguments for the program that does the work.
#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Xtask::parse() {
        Xtask::Demo(demo) => demo.run(),
        Xtask::Test(test) => test.run(),
        Xtask::Fix => fix::run(),
        Xtask::Guests => guests::build_all(),
        Xtask::Tidy => tidy::check(),
        Xtask::Sim(rest) => {
            demo::build_binaries()?;
            run::program_at(run::target().join("debug/grid-sim"), &[]).args(rest.args).run()
        }
        Xtask::Bench(rest) => {
            guests::build_all()?;
            demo::build_binaries()?;
            run::program_at(run::target().join("debug/grid-bench"), &[]).args(rest.args).run()
        }
    }
}
