//! Compute kernels: native, in the sandbox without interruption, and with it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use grid_proto::{Attempt, BundleHash, Codec, Key};
use grid_sandbox::{Argument, Bundle, CallInfo, CallRequest, CancelToken, Engine, EngineConfig};

use crate::grid::bundle;
use crate::report;

/// Best of this many: the question is what the code can do, not what the machine did meanwhile.
const ROUNDS: usize = 9;
const FNV_STEPS: u64 = 100_000_000;
const MANDELBROT: (u32, u32) = (400, 500);
const SIEVE_BOUND: u32 = 20_000_000;

struct Kernel {
    name: &'static str,
    native: fn() -> u64,
    args: Vec<Vec<u8>>,
    target: &'static str,
}

pub(crate) fn run() -> anyhow::Result<()> {
    let bytes = bundle("kernels")?;
    let plain = Engine::new(EngineConfig { interruption: false, ..EngineConfig::default() })?;
    let interrupted = Engine::new(EngineConfig::default())?;
    let hash = BundleHash::of(&bytes);
    let (on_plain, on_interrupted) = (plain.load(hash, &bytes)?, interrupted.load(hash, &bytes)?);
    let description = interrupted.describe(&on_interrupted)?;
    for kernel in all()? {
        let task = description.task(kernel.name).map(|(number, _)| number).unwrap_or(0);
        let native = best(|| Ok((kernel.native)()))?;
        let without = best(|| call(&plain, &on_plain, task, &kernel.args))?;
        let with = best(|| call(&interrupted, &on_interrupted, task, &kernel.args))?;
        anyhow::ensure!(native.1 == without.1 && native.1 == with.1, "results differ");
        let (plain, with) = (without.0 / native.0, with.0 / native.0);
        let measured = format!("{plain:.2}x native, interruptible {with:.2}x");
        report(&format!("kernel {}", kernel.name), &measured, kernel.target);
    }
    Ok(())
}

fn all() -> anyhow::Result<[Kernel; 3]> {
    let encode = |number: u64| rmp_serde::to_vec(&number);
    Ok([
        Kernel {
            name: "fnv",
            native: || kernels::fnv(black_box(FNV_STEPS)),
            args: vec![encode(FNV_STEPS)?],
            target: "interruptible at most 1.6x",
        },
        Kernel {
            name: "mandelbrot",
            native: || kernels::mandelbrot(black_box(MANDELBROT.0), black_box(MANDELBROT.1)),
            args: vec![encode(MANDELBROT.0.into())?, encode(MANDELBROT.1.into())?],
            target: "interruptible at most 1.6x",
        },
        Kernel {
            name: "sieve",
            native: || kernels::sieve(black_box(SIEVE_BOUND)).into(),
            args: vec![encode(SIEVE_BOUND.into())?],
            target: "reported",
        },
    ])
}

fn best(mut run: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<(f64, u64)> {
    let mut best = f64::INFINITY;
    let mut result = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        result = black_box(run()?);
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok((best, result))
}

fn call(engine: &Engine, bundle: &Arc<Bundle>, task: u32, args: &[Vec<u8>]) -> anyhow::Result<u64> {
    let arguments: Vec<_> =
        args.iter().map(|bytes| Argument { codec: Codec::Msgpack, bytes }).collect();
    let report = engine.run(&CallRequest {
        bundle,
        bundle_name: "kernels",
        task,
        arguments: &arguments,
        limits: engine.bounds().default,
        info: CallInfo {
            key: Key([0; 32]),
            task: "kernel".into(),
            attempt: Attempt(0),
            worker: "bench".into(),
        },
        reads: &[],
        writes: &[],
        cancel: CancelToken::new(),
        grid: None,
        local: None,
        objects: None,
        scratch: None,
    });
    Ok(rmp_serde::from_slice(&report.outcome?.bytes)?)
}
