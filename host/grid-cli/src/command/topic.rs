use clap::Subcommand;
use grid_client::coordination::Message;
use grid_proto::coordination::NamedKind;
use serde_json::json;

use super::named;
use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, write_out};

/// Messages for whoever listens.
#[derive(Subcommand, Debug)]
pub(crate) enum Topic {
    /// List the topics.
    List,
    /// Tell all subscribers.
    Publish {
        /// The topic's name.
        name: String,
        /// The message, as JSON.
        #[arg(allow_negative_numbers = true)]
        message: String,
    },
    /// Print the last messages as JSON, one line each.
    Recent {
        /// The topic's name.
        name: String,
    },
    /// Print messages as they come, until Ctrl-C; the last ones first.
    Watch {
        /// The topic's name.
        name: String,
    },
    /// Drop a topic with its messages.
    Delete {
        /// The topic's name.
        name: String,
    },
}

impl Topic {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let topic = |name: &str| client.topic::<grid_sdk::Value>(name);
        match self {
            Self::List => named::list(&client, NamedKind::Topic, output).await,
            Self::Publish { name, message } => {
                topic(&name).publish(named::value(&message)?).await?;
                Ok(output.show(&json!({ "published": name }), |_| format!("told `{name}`"))?)
            }
            Self::Recent { name } => topic(&name).recent().await?.into_iter().try_for_each(print),
            Self::Watch { name } => {
                let mut subscription = topic(&name).subscribe_with_kept().await?;
                let watching = async {
                    loop {
                        print(subscription.next().await?)?;
                    }
                };
                tokio::select! {
                    ended = watching => ended,
                    () = crate::stop::asked(false) => Ok(()),
                }
            }
            Self::Delete { name } => {
                topic(&name).delete().await?;
                Ok(output.show(&json!({ "deleted": name }), |_| format!("deleted `{name}`"))?)
            }
        }
    }
}

fn print(message: Message<grid_sdk::Value>) -> Result<(), CliError> {
    write_out(&named::shown(message.value)?.to_string());
    Ok(())
}
