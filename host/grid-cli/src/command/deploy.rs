use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;

/// Give the grid a bundle; bytes that it has are not sent again.
#[derive(Args, Debug)]
pub(crate) struct Deploy {
    /// The bundle's file.
    file: PathBuf,
    /// Let `name@version` move from another bundle to this one.
    #[arg(long)]
    replace: bool,
}

impl Deploy {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let name = self.file.display().to_string();
        let bytes = std::fs::read(&self.file).with_context(|| format!("cannot read `{name}`"))?;
        let client = global.connect().await?;
        let deployed = client.deploy(&bytes, self.replace).await?;
        let value = json!({
            "hash": deployed.info.hash,
            "label": deployed.info.description.label(),
            "size_bytes": deployed.info.size_bytes,
            "sent_bytes": deployed.sent_bytes,
        });
        output.show(&value, |_| {
            let sent = match deployed.sent_bytes {
                0 => "the grid had its bytes".to_owned(),
                sent => format!("{} sent", size::human(sent)),
            };
            let label = deployed.info.description.label();
            format!("deployed {label} ({sent})\nhash {}", deployed.info.hash)
        })?;
        Ok(())
    }
}
