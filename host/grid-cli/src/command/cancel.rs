use clap::Args;
use serde_json::json;

use super::keys;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;

/// Cancel calls, whoever wants them; a running one is stopped.
#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// Keys, or unambiguous beginnings of keys (`grid calls` lists them).
    #[arg(required = true)]
    keys: Vec<String>,
}

impl Cancel {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let keys = keys::find(&client, &self.keys).await?;
        client.cancel(keys.clone(), true).await?;
        // An answer after the cancel shows that it has been taken in.
        client.status().await?;
        output
            .show(&json!({ "cancelled": keys }), |_| format!("cancelled {}", keys::short(&keys)))?;
        Ok(())
    }
}
