//! What CI checks.

use anyhow::Context;
use clap::Args;

use crate::demo::{examples_target, lay_out};
use crate::run::{Run, cargo, target};
use crate::{garage, guests, tidy};

/// The examples' workspace: native programs and tests of the task crates.
pub(crate) const EXAMPLES: &str = "examples/Cargo.toml";

/// All workspaces of the checkout.
pub(crate) const WORKSPACES: [&str; 4] =
    ["Cargo.toml", EXAMPLES, "tests/guests/Cargo.toml", "tests/fuzz/Cargo.toml"];

/// ONE selection for lints and tests, so that nothing is built for other features: the generator of
/// the bindings, and the mistakes that the simulator must find. `grid` as it is installed has neither.
pub(crate) const FEATURES: [&str; 2] = ["--features", "grid-build/bindings,grid-sim/mutations"];

/// Options of the checks.
#[derive(Args)]
pub(crate) struct Test {
    /// Arguments for the test runner, for instance a filter; then only the tests run.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.args.is_empty() {
            tidy::check()?;
            locked()?;
            formatted()?;
            deny()?;
            clippy()?;
            document()?;
        }
        lay_out()?;
        garage::install()?;
        if self.args.is_empty() {
            let examples = runner(&["--manifest-path", EXAMPLES, "--workspace"]);
            examples.env("CARGO_TARGET_DIR", examples_target()).run()?;
        }
        with_paths(runner(&["--workspace"]).args(FEATURES)).args(&self.args).run()?;
        if self.args.is_empty() { doc_tests() } else { Ok(()) }
    }
}

/// nextest where it is installed, else cargo's own runner.
fn runner(args: &[&str]) -> Run {
    let run: &[&str] = match cargo(&["nextest", "--version"]).works() {
        true => &["nextest", "run", "--locked"],
        false => &["test", "--locked", "--all-targets"],
    };
    cargo(&[run, args].concat())
}

/// Tells the tests where the built things are.
fn with_paths(run: Run) -> Run {
    run.env("GRID_BUNDLES", guests::bundles_dir())
        .env("GRID_BIN", target().join("debug/grid"))
        .env("GRID_EXAMPLES", examples_target().join("debug"))
        .env("GRID_DEMO", target().join("demo"))
        .env("GRID_GARAGE", garage::path())
}

/// The lock files are those of the manifests: told at once, and not after the first builds.
fn locked() -> anyhow::Result<()> {
    for workspace in WORKSPACES {
        cargo(&["metadata", "--locked", "--format-version=1", "--manifest-path", workspace])
            .output()
            .with_context(|| format!("the lock file beside {workspace}; run `cargo xtask fix`"))?;
    }
    Ok(())
}

fn formatted() -> anyhow::Result<()> {
    for workspace in WORKSPACES {
        cargo(&["fmt", "--all", "--check", "--manifest-path", workspace]).run()?;
    }
    Ok(())
}

fn clippy() -> anyhow::Result<()> {
    let lints = ["clippy", "--locked", "--workspace", "--all-targets"];
    let strict = ["--", "-Dwarnings"];
    cargo(&lints).args(FEATURES).args(strict).run()?;
    cargo(&lints)
        .args(["--manifest-path", EXAMPLES])
        .args(strict)
        .env("CARGO_TARGET_DIR", examples_target())
        .run()
}

fn document() -> anyhow::Result<()> {
    cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-Dwarnings").run()
}

/// The same selection as for the tests, so that nothing is built for other features.
fn doc_tests() -> anyhow::Result<()> {
    cargo(&["test", "--locked", "--doc", "--workspace"]).args(FEATURES).run()
}

/// Licences, sources and bans. The advisories need a database from the network and have a check of
/// their own: `cargo deny check advisories`.
fn deny() -> anyhow::Result<()> {
    if !cargo(&["deny", "--version"]).works() {
        eprintln!(
            "\ncargo-deny is not installed (`cargo install cargo-deny`): its checks are skipped"
        );
        return Ok(());
    }
    cargo(&["deny", "check", "bans", "licenses", "sources"]).run()
}
