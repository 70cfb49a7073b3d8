use std::path::{Path, PathBuf};

use clap::Args;
use grid_build::SdkSource;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;

/// Make a new task crate that builds, is tested natively, and runs.
#[derive(Args, Debug)]
pub(crate) struct New {
    /// The name of the crate and of its bundle.
    name: String,
    /// The folder of the SDK that the crate depends on. By default that of the checkout that built
    /// this binary.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let source = self.sdk.map_or_else(SdkSource::default, SdkSource::Path);
        let made = grid_build::scaffold(&self.name, Path::new("."), &source)?;
        let value = json!({ "dir": made.dir, "files": made.files });
        output.show(&value, |_| {
            let dir = made.dir.display();
            format!(
                "made {dir}\n\nnext:\n  cd {dir}\n  cargo test          # the tasks as plain \
                 functions\n  grid build          # the bundle"
            )
        })?;
        Ok(())
    }
}
