//! Keys as people give them.

use grid_client::{Client, ClientError};
use grid_proto::Key;
use grid_proto::message::Refusal;

use crate::error::CliError;

/// The calls whose keys begin with these digits, one for each.
pub(crate) async fn find(client: &Client, prefixes: &[String]) -> Result<Vec<Key>, CliError> {
    let mut keys = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
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
    Ok(keys)
}

/// Keys as people read them.
pub(crate) fn short(keys: &[Key]) -> String {
    keys.iter().map(Key::short).collect::<Vec<_>>().join(" ")
}
