//! What all commands on things with names have in common.

use anyhow::anyhow;
use grid_client::coordination::Shared;
use grid_client::{Client, ClientError, Future};
use grid_proto::Codec;
use grid_proto::coordination::NamedKind;
use serde_json::{Value as Json, json};

use crate::error::{CliError, failure_code};
use crate::json;
use crate::output::{Output, write_out};
use crate::table::table;

/// Lists all of a kind.
pub(crate) async fn list(client: &Client, kind: NamedKind, output: Output) -> Result<(), CliError> {
    let named = client.named(kind).await?;
    output.show(&named, |named| {
        let rows: Vec<_> = named
            .iter()
            .map(|info| {
                let mut row = vec![info.name.clone(), size(kind, info.size, info.size_max)];
                match kind {
                    NamedKind::Dataset => {}
                    NamedKind::Topic => row.push(info.subscribers.to_string()),
                    _ => row.push(info.waiting.to_string()),
                }
                row
            })
            .collect();
        let header: &[&str] = match kind {
            NamedKind::Dataset => &["DATASET", "CALLS"],
            NamedKind::Variable => &["VARIABLE", "SET", "WAITING"],
            NamedKind::Queue => &["QUEUE", "ITEMS", "WAITING"],
            NamedKind::Lock => &["LOCK", "HELD", "WAITING"],
            NamedKind::Semaphore => &["SEMAPHORE", "HELD", "WAITING"],
            NamedKind::Event => &["EVENT", "SET", "WAITING"],
            NamedKind::Topic => &["TOPIC", "KEPT", "SUBSCRIBERS"],
        };
        match rows.is_empty() {
            true => format!("there is no {kind}"),
            false => table(header, &rows),
        }
    })?;
    Ok(())
}

fn size(kind: NamedKind, size: u64, size_max: u64) -> String {
    match kind {
        NamedKind::Dataset | NamedKind::Topic => size.to_string(),
        NamedKind::Variable | NamedKind::Event => if size > 0 { "yes" } else { "no" }.to_owned(),
        NamedKind::Queue | NamedKind::Lock | NamedKind::Semaphore => format!("{size}/{size_max}"),
    }
}

/// What was typed as JSON, as a value of the grid.
pub(crate) fn value(text: &str) -> Result<grid_sdk::Value, CliError> {
    let typed: Json = serde_json::from_str(text).map_err(|error| {
        let hint = format!("a text needs quotes: '\"{text}\"'");
        CliError::Usage(format!("`{text}` is not JSON ({error}); {hint}"))
    })?;
    let value = json::encode(&typed).map_err(CliError::Usage)?;
    Ok(grid_sdk::Value { codec: grid_sdk::Codec::Msgpack, bytes: value.bytes })
}

/// A value of the grid as JSON.
pub(crate) fn shown(value: grid_sdk::Value) -> Result<Json, CliError> {
    let codec = match value.codec {
        grid_sdk::Codec::Msgpack => Codec::Msgpack,
        grid_sdk::Codec::Raw => Codec::Raw,
        grid_sdk::Codec::Arrow => Codec::Arrow,
    };
    let value = grid_proto::Value { codec, bytes: value.bytes };
    json::decode(&value).map_err(|error| anyhow!(error).into())
}

/// What is held under a name, computed if it has to be, as JSON.
pub(crate) async fn result(shared: Shared<grid_sdk::Value>) -> Result<Json, CliError> {
    shown(shared.result().await?)
}

/// One line for each result, in order; gives the worst failure's code at the end.
pub(crate) async fn print_results(futures: &[Future<grid_sdk::Value>]) -> Result<(), CliError> {
    let mut worst = 0;
    for future in futures {
        let line = match future.result().await {
            Ok(value) => shown(value)?,
            Err(ClientError::Failed(failure)) => {
                worst = worst.max(failure_code(&failure));
                json!({ "error": failure.to_string(), "kind": failure.kind.label() })
            }
            Err(error) => return Err(error.into()),
        };
        write_out(&line.to_string());
    }
    if worst == 0 { Ok(()) } else { Err(CliError::Shown(worst)) }
}

/// The time was over: said, and told by the exit code.
pub(crate) fn timed_out(what: &str) -> CliError {
    CliError::Local(anyhow!("{what} in this time"))
}
