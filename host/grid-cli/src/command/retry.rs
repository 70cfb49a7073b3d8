use clap::Args;
use serde_json::json;

use super::keys;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;

/// Run failed calls again, from the calls whose failure it is.
#[derive(Args, Debug)]
pub(crate) struct Retry {
    /// Keys, or unambiguous beginnings of keys (`grid calls --state erred` lists them).
    #[arg(required = true)]
    keys: Vec<String>,
}

impl Retry {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let keys = keys::find(&client, &self.keys).await?;
        let retried = client.retry(keys).await?;
        output.show(&json!({ "retried": retried }), |_| match retried.is_empty() {
            true => "none of them has failed".to_owned(),
            false => format!("run again: {}", keys::short(&retried)),
        })?;
        Ok(())
    }
}
