//! The peer: Dask distributed, started here with one scheduler, two worker processes of one thread
//! and its defaults. `GRID_BENCH_PYTHON` names a Python that has `distributed`; otherwise one is
//! made under `target/peers`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use serde_json::Value;

/// What Dask did in this run.
#[derive(Clone, Copy)]
pub(crate) struct Dask {
    pub(crate) calls_per_s: f64,
    pub(crate) latency_ms: f64,
    pub(crate) tree_calls_per_s: f64,
    pub(crate) chain_calls_per_s: f64,
    pub(crate) start_s: f64,
    /// In its default mode, and directly with an array.
    pub(crate) round_trip_s: f64,
    pub(crate) round_trip_best_s: f64,
    pub(crate) used_by_two_s: f64,
    pub(crate) used_by_two_best_s: f64,
}

/// Measures it once per run.
pub(crate) fn measure() -> anyhow::Result<Dask> {
    static MEASURED: OnceLock<Dask> = OnceLock::new();
    if let Some(measured) = MEASURED.get() {
        return Ok(*measured);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dask_bench.py");
    let output = Command::new(python()?).arg(script).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the peer failed: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().context("the peer said nothing")?;
    let said: Value = serde_json::from_str(line)?;
    let figure = |name: &str| said[name].as_f64().with_context(|| format!("no {name}"));
    let measured = Dask {
        calls_per_s: figure("calls_per_s")?,
        latency_ms: figure("latency_ms")?,
        tree_calls_per_s: figure("tree_calls_per_s")?,
        chain_calls_per_s: figure("chain_calls_per_s")?,
        start_s: figure("start_s")?,
        round_trip_s: figure("round_trip_s")?,
        round_trip_best_s: figure("round_trip_best_s")?,
        used_by_two_s: figure("used_by_two_s")?,
        used_by_two_best_s: figure("used_by_two_best_s")?,
    };
    Ok(*MEASURED.get_or_init(|| measured))
}

fn python() -> anyhow::Result<PathBuf> {
    if let Some(python) = std::env::var_os("GRID_BENCH_PYTHON") {
        return Ok(python.into());
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/dask");
    let python = home.join("bin/python");
    if !python.exists() {
        eprintln!("installing Dask in {}", home.display());
        let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status()?;
        ensure!(made.success(), "cannot make a Python environment");
    }
    let has = Command::new(&python).args(["-c", "import distributed, numpy"]).output()?;
    if !has.status.success() {
        let pip = ["-m", "pip", "install", "-q", "dask[distributed]==2026.8.0", "numpy"];
        let installed = Command::new(&python).args(pip).status()?;
        ensure!(installed.success(), "cannot install Dask");
    }
    Ok(python)
}
