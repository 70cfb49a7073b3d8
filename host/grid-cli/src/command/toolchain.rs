use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, say};

/// The compiler for bundles.
#[derive(Subcommand, Debug)]
pub(crate) enum Toolchain {
    /// Find a compiler for `wasm32-wasip2`, or make this machine have one.
    Install,
    /// Say which compiler `grid build` uses.
    Show,
}

impl Toolchain {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let near = Path::new(".");
        let found = match self {
            Self::Install => grid_build::toolchain::install(near, &mut |line| say(line))?,
            Self::Show => grid_build::toolchain::find(near)?,
        };
        let value = json!({ "dir": found.dir() });
        output.show(&value, |_| format!("bundles are built with `{}`", found.dir().display()))?;
        Ok(())
    }
}
