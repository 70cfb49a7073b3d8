//! Whole-system benches: each prints what it measured, the peer's figure of the same run where
//! there is a peer, and the target. `cargo xtask bench` builds what they need and runs all;
//! `cargo xtask bench calls latency` runs some.

mod calls;
mod crowds;
mod csv;
mod dask;
mod data;
mod graphs;
mod grid;
mod kernels;
mod machine;
mod memory;
mod objects;
mod placement;
mod quic;
mod sandbox;
mod shuffle;
mod spill;
mod start;
mod traps;

use clap::Parser;

/// As in `grid` itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures grid.
#[derive(Parser)]
struct Bench {
    /// Which: sandbox, kernels, machine, crowds, placement, calls, latency, graphs, neighbour, start, memory,
    /// traps, spill, data, csv, objects, shuffle, quic. All if none is named.
    names: Vec<String>,
    /// Leave the peers out.
    #[arg(long)]
    alone: bool,
    /// Be the other end of a plain stream of `quic`.
    #[arg(long, hide = true)]
    echo: Option<quic::Settings>,
    /// Be the neighbour of `neighbour`.
    #[arg(long, hide = true, value_name = "SCHEDULER")]
    submit_large: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let bench = Bench::parse();
    let wanted = |name: &str| bench.names.is_empty() || bench.names.iter().any(|n| n == name);
    let peer = !bench.alone;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(settings) = bench.echo {
        return runtime.block_on(quic::echo(settings));
    }
    if let Some(scheduler) = &bench.submit_large {
        return runtime.block_on(graphs::submit_large(scheduler));
    }
    if wanted("sandbox") {
        sandbox::run()?;
    }
    if wanted("kernels") {
        kernels::run()?;
    }
    if wanted("machine") {
        machine::run();
    }
    if wanted("crowds") {
        crowds::run();
    }
    if wanted("placement") {
        placement::run();
    }
    if wanted("calls") {
        runtime.block_on(calls::throughput(peer))?;
    }
    if wanted("latency") {
        runtime.block_on(calls::latency(peer))?;
    }
    if wanted("graphs") {
        runtime.block_on(graphs::run(peer))?;
    }
    if wanted("neighbour") {
        runtime.block_on(graphs::neighbour())?;
    }
    if wanted("start") {
        runtime.block_on(start::run(peer))?;
    }
    if wanted("memory") {
        runtime.block_on(memory::run())?;
    }
    if wanted("traps") {
        runtime.block_on(traps::run())?;
    }
    if wanted("data") {
        runtime.block_on(data::run(peer))?;
    }
    if wanted("csv") {
        runtime.block_on(csv::run(peer))?;
    }
    if wanted("objects") {
        runtime.block_on(objects::run())?;
    }
    if wanted("shuffle") {
        runtime.block_on(shuffle::run(peer))?;
    }
    if wanted("quic") {
        runtime.block_on(quic::run())?;
    }
    if wanted("spill") {
        spill::run()?;
    }
    Ok(())
}

/// One line of the report.
fn report(what: &str, measured: &str, target: &str) {
    println!("{what:<58} {measured:<34} {target}");
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
