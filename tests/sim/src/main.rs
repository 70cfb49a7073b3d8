//! Runs seeds of the simulator, or one large grid.

use std::process::ExitCode;
use std::{fs, io};

use clap::Parser;
use grid_sim::{Scale, run_at_scale};

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
    /// One large run of the first seed instead: many workers and calls, some workers killed, slow
    /// links, clients that lose their connections, then quiet in which all has to end. The machine is
    /// checked each so many steps (calls / 5, 1,000 at least) and not after each.
    #[arg(long, conflicts_with_all = ["seeds", "trace", "until_broken"])]
    scale: bool,
    /// Workers of the large run.
    #[arg(long, default_value_t = 1_000, requires = "scale")]
    workers: usize,
    /// Calls of the large run, about.
    #[arg(long, default_value_t = 1_000_000, requires = "scale")]
    calls: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.scale { large(&args) } else { seeds(&args) }
}

fn seeds(args: &Args) -> ExitCode {
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

fn large(args: &Args) -> ExitCode {
    let scale = Scale { workers: args.workers, calls: args.calls };
    let run = match run_at_scale(args.first, scale) {
        Ok(run) => run,
        Err(failure) => {
            println!("at {} us: {}", failure.summary.time_us, failure.what);
            return ExitCode::FAILURE;
        }
    };
    let mib = |bytes: u64| bytes >> 20;
    let summary = &run.summary;
    println!("calls           {}, {} attempts ended", run.calls, summary.ends);
    println!("workers         {} with {} slots", args.workers, run.slots);
    println!("simulated time  {} ms, {} steps", summary.time_us / 1_000, summary.steps);
    println!("wall time       {} ms", run.wall_ms);
    println!("checks          {}, one each {} steps", run.checks, run.check_every);
    println!("results         {} MiB, {} MiB at a time", mib(run.bytes), mib(run.live_bytes_max));
    match peak_memory_kib() {
        Ok(kib) => println!("peak memory     {} MiB", kib >> 10),
        Err(error) => println!("peak memory     unknown: {error}"),
    }
    ExitCode::SUCCESS
}

/// Of this process, as Linux tells it.
fn peak_memory_kib() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| io::Error::other("`VmHWM` is not in `/proc/self/status`"))
}
