//! Runs seeds of the simulator.

use std::process::ExitCode;

use clap::Parser;

/// Runs the simulator and prints the seeds that show a mistake.
#[derive(Parser, Debug)]
#[command(name = "grid-sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Print everything that happens; for one seed.
    #[arg(long)]
    trace: bool,
    /// Stop at the first seed that fails.
    #[arg(long)]
    until_broken: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut broken = 0;
    let mut steps = 0;
    for seed in args.first..args.first.saturating_add(args.seeds) {
        let summary = match grid_sim::run(seed, args.trace) {
            Ok(summary) => summary,
            Err(failure) => {
                broken += 1;
                println!("seed {seed}, at {} us: {}", failure.summary.time_us, failure.what);
                failure.summary
            }
        };
        steps += summary.steps;
        for line in &summary.trace {
            println!("{line}");
        }
        if args.until_broken && broken > 0 {
            break;
        }
    }
    println!("{} seeds, {steps} steps, {broken} broken", args.seeds);
    if broken > 0 {
        println!("`--first SEED --seeds 1 --trace` shows what happened");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
