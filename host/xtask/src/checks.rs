//! What CI checks, and what sets most of it right.

use clap::Args;

use crate::demo::{examples_target, lay_out};
use crate::run::{Run, cargo, root, target};
use crate::{guests, tidy};

/// The workspaces of the checkout beside the main one.
const OTHER_WORKSPACES: [&str; 3] =
    ["examples/Cargo.toml", "tests/guests/Cargo.toml", "tests/fuzz/Cargo.toml"];

/// ONE selection for lints and tests, so that nothing is built for other features: the generator of
/// the bindings, and the mistakes that the simulator must find. `grid` as it is installed has neither.
const FEATURES: [&str; 2] = ["--features", "grid-build/bindings,grid-sim/mutations"];

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
            formatted(&["--check"])?;
            deny()?;
            clippy(&["--", "-Dwarnings"])?;
            document()?;
        }
        lay_out()?;
        if self.args.is_empty() {
            let examples = runner(&["--manifest-path", "examples/Cargo.toml", "--workspace"]);
            examples.env("CARGO_TARGET_DIR", examples_target()).run()?;
        }
        with_paths(runner(&["--workspace"]).args(FEATURES)).args(&self.args).run()?;
        if self.args.is_empty() { doc_tests() } else { Ok(()) }
    }
}

/// Sets right what can be set right without thinking.
pub(crate) fn fix() -> anyhow::Result<()> {
    formatted(&[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"])
        .run()?;
    cargo(&["test", "--package", "grid-build", "--features", "bindings", "bindings"])
        .env("GRID_BLESS", "1")
        .run()
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
}

fn formatted(args: &[&str]) -> anyhow::Result<()> {
    cargo(&["fmt", "--all"]).args(args).run()?;
    for workspace in OTHER_WORKSPACES {
        cargo(&["fmt", "--all", "--manifest-path", workspace]).args(args).run()?;
    }
    Ok(())
}

fn clippy(args: &[&str]) -> anyhow::Result<()> {
    cargo(&["clippy", "--locked", "--workspace", "--all-targets"])
        .args(FEATURES)
        .args(args)
        .run()?;
    let examples = root().join("examples/Cargo.toml");
    cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--manifest-path"])
        .args([examples])
        .args(args)
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
