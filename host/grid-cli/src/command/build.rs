use std::path::PathBuf;

use clap::Args;
use grid_build::BuildOptions;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::size;

/// Compile a task crate to a bundle.
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the bundle goes. By default `target/bundles`.
    #[arg(short, long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
    /// Where cargo keeps what it compiled.
    #[arg(long, value_name = "DIR")]
    target_dir: Option<PathBuf>,
}

impl Build {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        let options = BuildOptions {
            target_dir: self.target_dir,
            out_dir: self.out_dir,
            quiet: output.json,
            ..BuildOptions::default()
        };
        let built = grid_build::build(&self.path, &options)?;
        let bytes = std::fs::read(&built.wasm)?;
        let hash = grid_proto::BundleHash::of(&bytes);
        let value = json!({
            "path": built.wasm,
            "name": built.name,
            "version": built.version,
            "hash": hash,
            "size_bytes": bytes.len(),
        });
        output.show(&value, |_| {
            format!(
                "{}@{}  {}  {}\nhash {hash}",
                built.name,
                built.version,
                built.wasm.display(),
                size::human(bytes.len() as u64),
            )
        })?;
        Ok(())
    }
}
