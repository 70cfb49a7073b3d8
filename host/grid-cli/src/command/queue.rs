use std::time::Duration;

use clap::Subcommand;
use grid_proto::coordination::NamedKind;
use serde_json::json;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::seconds;

/// Values first in, first out, under names.
#[derive(Subcommand, Debug)]
pub(crate) enum Queue {
    /// List the queues.
    List,
    /// Add values at the end; waits while the queue is full.
    Put {
        /// The queue's name.
        name: String,
        /// The values, as JSON.
        #[arg(required = true, allow_negative_numbers = true)]
        values: Vec<String>,
        /// Items that the queue may hold, if it is new.
        #[arg(long, default_value_t = 0, value_name = "ITEMS")]
        max: u32,
        /// Seconds to wait for room for each at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
    },
    /// Take items from the front and print them as JSON, one line each; waits for the first.
    Get {
        /// The queue's name.
        name: String,
        /// So many at most.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Seconds to wait for the first at most.
        #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
        timeout: Option<Duration>,
    },
    /// Drop a queue with its items.
    Delete {
        /// The queue's name.
        name: String,
    },
}

impl Queue {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => named::list(&client, NamedKind::Queue, output).await,
            Self::Put { name, values, max, timeout } => {
                let queue = client.bounded_queue(name.as_str(), max);
                let values: Vec<_> =
                    values.iter().map(|text| named::value(text)).collect::<Result<_, _>>()?;
                let count = values.len();
                for value in values {
                    let is_in = match timeout {
                        None => queue.put(value).await.map(|()| true)?,
                        Some(patience) => queue.put_within(value, patience).await?,
                    };
                    if !is_in {
                        return Err(named::timed_out(&format!("`{name}` had no room")));
                    }
                }
                Ok(output.show(&json!({ "put": count }), |_| {
                    format!("put {count} values into `{name}`")
                })?)
            }
            Self::Get { name, count, timeout } => {
                let queue = client.queue::<grid_sdk::Value>(name.as_str());
                let items = queue.get_batch(count, timeout).await?;
                if items.is_empty() {
                    return Err(named::timed_out(&format!("`{name}` had no item")));
                }
                for item in items {
                    crate::output::write_out(&named::result(item).await?.to_string());
                }
                Ok(())
            }
            Self::Delete { name } => {
                client.queue::<grid_sdk::Value>(name.as_str()).delete().await?;
                Ok(output.show(&json!({ "deleted": name }), |_| format!("deleted `{name}`"))?)
            }
        }
    }
}
