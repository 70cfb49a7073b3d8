use std::time::Duration;

use clap::Subcommand;
use grid_proto::coordination::NamedKind;
use serde_json::json;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::seconds;

/// Single values under names.
#[derive(Subcommand, Debug)]
pub(crate) enum Variable {
    /// List the variables.
    List,
    /// Print a variable as JSON; waits until it is set.
    Get {
        /// Its name.
        name: String,
        /// Seconds to wait at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
    },
    /// Let a variable hold a value.
    Set {
        /// Its name.
        name: String,
        /// The value, as JSON.
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Let a variable hold nothing.
    Delete {
        /// Its name.
        name: String,
    },
}

impl Variable {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let variable = |name: &str| client.variable::<grid_sdk::Value>(name);
        match self {
            Self::List => named::list(&client, NamedKind::Variable, output).await,
            Self::Get { name, timeout } => {
                let shared = match timeout {
                    None => variable(&name).get().await?,
                    Some(patience) => {
                        let shared = variable(&name).get_within(patience).await?;
                        shared.ok_or_else(|| named::timed_out(&format!("`{name}` was not set")))?
                    }
                };
                Ok(output.show(&named::result(shared).await?, ToString::to_string)?)
            }
            Self::Set { name, value } => {
                variable(&name).set(named::value(&value)?).await?;
                Ok(output.show(&json!({ "set": name }), |_| format!("set `{name}`"))?)
            }
            Self::Delete { name } => {
                variable(&name).delete().await?;
                Ok(output.show(&json!({ "deleted": name }), |_| format!("deleted `{name}`"))?)
            }
        }
    }
}
