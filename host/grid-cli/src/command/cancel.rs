use clap::Args;
use grid_client::ClientError;
use grid_proto::message::Refusal;
use serde_json::json;

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
        let mut keys = Vec::new();
        for prefix in &self.keys {
            let found = client.calls(prefix, None, 2).await?;
            match found.as_slice() {
                [call] => keys.push(call.key),
                [] => {
                    let refusal = Refusal::UnknownKey { key: prefix.clone() };
                    return Err(ClientError::from(refusal).into());
                }
                _ => {
                    let message = format!("`{prefix}` begins several keys: give more digits");
                    return Err(CliError::Usage(message));
                }
            }
        }
        client.cancel(keys.clone(), true).await?;
        // An answer after the cancel shows that it has been taken in.
        client.status().await?;
        output.show(&json!({ "cancelled": keys }), |_| {
            let keys: Vec<_> = keys.iter().map(grid_proto::Key::short).collect();
            format!("cancelled {}", keys.join(" "))
        })?;
        Ok(())
    }
}
