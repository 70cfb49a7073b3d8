//! The demo: everything built, then `grid demo`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::guests;
use crate::run::{cargo, program_at, root, target};

/// Options of the demo.
#[derive(Args)]
pub(crate) struct Demo {
    /// Arguments for `grid demo`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Examples that the demo runs as programs.
const PROGRAMS: [&str; 2] = ["flights", "hostile"];

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let layout = lay_out()?;
        let grid = target().join("debug/grid");
        program_at(grid, &["demo", "--examples"]).args([layout]).args(self.args).run()
    }
}

/// Builds the binary, the bundles and the examples' programs, and puts together what the demo
/// needs.
pub(crate) fn lay_out() -> anyhow::Result<PathBuf> {
    build_binaries()?;
    guests::build_all()?;
    build_examples()?;
    let layout = target().join("demo");
    fs::create_dir_all(layout.join("data"))?;
    for program in PROGRAMS {
        copy(&examples_target().join("debug").join(program), &layout.join(program))?;
        let bundle = format!("{program}.wasm");
        copy(&guests::bundles_dir().join(&bundle), &layout.join(&bundle))?;
    }
    for entry in fs::read_dir(root().join("examples/flights/data"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name() {
            copy(&path, &layout.join("data").join(name))?;
        }
    }
    Ok(layout)
}

/// Builds all binaries of the workspace: always the same selection, so that the engine is built
/// once and not once for each set of features.
pub(crate) fn build_binaries() -> anyhow::Result<()> {
    cargo(&["build", "--locked", "--workspace", "--bins"]).run()
}

/// The examples' workspace builds beside ours, in a directory of its own.
pub(crate) fn examples_target() -> PathBuf {
    target().join("examples")
}

/// Builds the examples natively.
fn build_examples() -> anyhow::Result<()> {
    cargo(&["build", "--locked", "--manifest-path", "examples/Cargo.toml", "--workspace"])
        .env("CARGO_TARGET_DIR", examples_target())
        .run()
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // A running program cannot be written over, but it can be replaced.
    let _ = fs::remove_file(to);
    fs::copy(from, to)
        .with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}
