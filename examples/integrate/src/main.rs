//! Integrates a narrow peak on a grid and compares with calculus.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use grid_client::Client;
use integrate::{Peak, area};

/// The area under a narrow peak, by calls that submit calls.
#[derive(Parser)]
struct Args {
    /// The scheduler's address.
    #[arg(long, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    scheduler: String,
    /// Deploy this bundle first; otherwise the grid must have it.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Half of the peak's width at half of its height.
    #[arg(long, default_value_t = 1e-5)]
    width: f64,
    /// How exact the area shall be.
    #[arg(long, default_value_t = 1e-8)]
    tolerance: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    ensure!(args.width > 0.0 && args.tolerance > 0.0, "width and tolerance are above 0");
    let client = Client::connect(&args.scheduler).await?;
    let ended = work(&client, &args).await;
    client.close().await;
    ended
}

async fn work(client: &Client, args: &Args) -> Result<()> {
    if let Some(file) = &args.bundle {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        client.deploy(&bytes, true).await?;
    }
    let (from, to) = (-1.0, 2.0);
    let peak = Peak { width: args.width };
    let started = Instant::now();
    let found = client.submit(area::call(peak, from, to, args.tolerance)).await?.result().await?;
    let exact = peak.exact(from, to);
    println!(
        "area {:.6}, calculus says {exact:.6}\n{} points in {} calls, {:.2} s",
        found.value,
        found.points,
        found.calls,
        started.elapsed().as_secs_f64(),
    );
    ensure!((found.value - exact).abs() <= exact * 1e-9, "that is too far off");
    Ok(())
}
