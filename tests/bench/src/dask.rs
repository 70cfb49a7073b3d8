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
    /// As one graph.
    pub(crate) shuffle_s: f64,
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
        shuffle_s: figure("shuffle_s")?,
    };
    Ok(*MEASURED.get_or_init(|| measured))
}

/// What Dask DataFrame made of a CSV.
pub(crate) struct CsvScan {
    /// As `read_csv(path)` reads it: all columns.
    pub(crate) default_s: f64,
    /// With the columns that are wanted, in blocks of the best size.
    pub(crate) best_s: f64,
    pub(crate) late: outside::tables::Late,
}

/// Has it scan a CSV for late flights.
pub(crate) fn scan_csv(path: &Path, late_minutes: f64) -> anyhow::Result<CsvScan> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("dask_csv.py");
    let output =
        Command::new(python()?).arg(script).arg(path).arg(late_minutes.to_string()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the peer failed: {errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let said: Value = serde_json::from_str(text.lines().last().context("the peer said nothing")?)?;
    let figure = |name: &str| said[name].as_f64().with_context(|| format!("no {name}"));
    let late = serde_json::from_value(said["late"].clone())?;
    Ok(CsvScan { default_s: figure("default_s")?, best_s: figure("best_s")?, late })
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
    let has =
        Command::new(&python).args(["-c", "import distributed, numpy, dask.dataframe"]).output()?;
    if !has.status.success() {
        let pip = ["-m", "pip", "install", "-q", "dask[distributed,dataframe]==2026.8.0", "numpy"];
        let installed = Command::new(&python).args(pip).status()?;
        ensure!(installed.success(), "cannot install Dask");
    }
    Ok(python)
}
