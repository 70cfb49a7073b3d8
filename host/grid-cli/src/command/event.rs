use std::time::Duration;

use clap::Subcommand;
use grid_proto::coordination::NamedKind;
use serde_json::json;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::seconds;

/// Flags to wait for.
#[derive(Subcommand, Debug)]
pub(crate) enum Event {
    /// List the events that are set or waited for.
    List,
    /// Let everybody go on who waits for an event or comes to wait.
    Set {
        /// Its name.
        name: String,
    },
    /// Let everybody wait who comes from now on.
    Clear {
        /// Its name.
        name: String,
    },
    /// Wait until an event is set.
    Wait {
        /// Its name.
        name: String,
        /// Seconds to wait at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
    },
}

impl Event {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => named::list(&client, NamedKind::Event, output).await,
            Self::Set { name } => {
                client.event(name.as_str()).set().await?;
                Ok(output.show(&json!({ "set": name }), |_| format!("set `{name}`"))?)
            }
            Self::Clear { name } => {
                client.event(name.as_str()).clear().await?;
                Ok(output.show(&json!({ "cleared": name }), |_| format!("cleared `{name}`"))?)
            }
            Self::Wait { name, timeout } => {
                let event = client.event(name.as_str());
                let is_set = match timeout {
                    None => event.wait().await.map(|()| true)?,
                    Some(patience) => event.wait_within(patience).await?,
                };
                match is_set {
                    true => Ok(()),
                    false => Err(named::timed_out(&format!("`{name}` was not set"))),
                }
            }
        }
    }
}
