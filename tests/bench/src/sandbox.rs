//! The sandbox alone: a fresh one for each no-op call.

use std::sync::Arc;
use std::time::Instant;

use grid_proto::{Attempt, BundleHash, Key};
use grid_sandbox::{Bundle, CallInfo, CallRequest, CancelToken, Engine, EngineConfig};

use crate::grid::bundle;
use crate::{median, report};

const CALLS: usize = 20_000;
const ROUNDS: usize = 7;

pub(crate) fn run() -> anyhow::Result<()> {
    let engine = Engine::new(EngineConfig { slots: 2, ..EngineConfig::default() })?;
    let bytes = bundle("noop")?;
    let noop = engine.load(BundleHash::of(&bytes), &bytes)?;
    let task = engine.describe(&noop)?.task("noop").map(|(number, _)| number).unwrap_or(0);
    calls(&engine, &noop, task);
    // One and two in turn, so that both see the same machine.
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(calls(&engine, &noop, task));
        two.push(std::thread::scope(|scope| {
            let other = scope.spawn(|| calls(&engine, &noop, task));
            let rate = calls(&engine, &noop, task);
            rate + other.join().unwrap_or(0.0)
        }));
    }
    let (one, two) = (median(one), median(two));
    let measured = format!("{:.1} us", 1e6 / one);
    report("fresh sandbox: instantiate, call, drop, one thread", &measured, "at most 25 us");
    report("two slots of one worker together", &format!("{:.2}x one", two / one), "at least 1.7x");
    Ok(())
}

/// Calls in a second.
fn calls(engine: &Engine, bundle: &Arc<Bundle>, task: u32) -> f64 {
    let (name, worker): (Arc<str>, Arc<str>) = ("noop".into(), "bench".into());
    let started = Instant::now();
    for _ in 0..CALLS {
        let report = engine.run(&CallRequest {
            bundle,
            bundle_name: "noop",
            task,
            arguments: &[],
            limits: engine.bounds().default,
            info: CallInfo {
                key: Key([0; 32]),
                task: Arc::clone(&name),
                attempt: Attempt(0),
                worker: Arc::clone(&worker),
            },
            reads: &[],
            writes: &[],
            cancel: CancelToken::new(),
            grid: None,
            local: None,
            objects: None,
            scratch: None,
        });
        assert!(report.outcome.is_ok());
    }
    CALLS as f64 / started.elapsed().as_secs_f64()
}
