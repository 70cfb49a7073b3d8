use clap::Subcommand;
use grid_proto::coordination::NamedKind;
use serde_json::json;

use super::{keys, named};
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;

/// Results under names, kept by the grid until they are unpublished.
#[derive(Subcommand, Debug)]
pub(crate) enum Dataset {
    /// List the datasets.
    List,
    /// Print the results of a dataset as JSON, one line each; waits until they are there.
    Get {
        /// Its name.
        name: String,
        /// Print the keys of its calls instead.
        #[arg(long)]
        keys: bool,
    },
    /// Give calls that the grid knows a name.
    Publish {
        /// The name.
        name: String,
        /// Keys, or unambiguous beginnings of keys (`grid calls` lists them).
        #[arg(required = true)]
        keys: Vec<String>,
        /// Take the name from what has it.
        #[arg(long = "override")]
        replace: bool,
    },
    /// Give a name up; what nobody else wants is freed.
    Unpublish {
        /// The name.
        name: String,
    },
}

impl Dataset {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => named::list(&client, NamedKind::Dataset, output).await,
            Self::Get { name, keys } => {
                let futures = client.dataset(name).get::<grid_sdk::Value>().await?;
                if !keys {
                    return named::print_results(&futures).await;
                }
                let keys: Vec<_> = futures.iter().map(|future| future.key().to_string()).collect();
                Ok(output.show(&keys, |keys| keys.join("\n"))?)
            }
            Self::Publish { name, keys, replace } => {
                let keys = keys::find(&client, &keys).await?;
                let count = keys.len();
                client.dataset(name.as_str()).publish_keys(keys, replace).await?;
                let published = json!({ "published": name, "calls": count });
                Ok(output.show(&published, |_| format!("published {count} calls as `{name}`"))?)
            }
            Self::Unpublish { name } => {
                client.dataset(name.as_str()).unpublish().await?;
                Ok(output
                    .show(&json!({ "unpublished": name }), |_| format!("unpublished `{name}`"))?)
            }
        }
    }
}
