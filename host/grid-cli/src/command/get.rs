use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use grid_client::{Client, Future};
use serde_json::json;

use super::{keys, named, scatter};
use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, say, write_out};
use crate::size;

/// Print a result or scattered data that the grid holds, or write it to a file.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// A key, an unambiguous beginning of one (`grid calls` lists them), or the name of a dataset of
    /// one result.
    what: String,
    /// Write its bytes to a file, which is there when all of them are; `-` for standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Get {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let future = find(&client, &self.what).await?;
        match self.output {
            Some(path) if path.as_os_str() == "-" => {
                let value = future.value().await?;
                let mut out = std::io::stdout().lock();
                out.write_all(&value.bytes)?;
                Ok(out.flush()?)
            }
            Some(path) => {
                let bytes = future.save(&path).await?;
                let told = json!({ "file": path.display().to_string(), "bytes": bytes });
                match output.json {
                    true => Ok(output.show(&told, |_| String::new())?),
                    false => {
                        say(format_args!("{} written to {}", size::human(bytes), path.display()));
                        Ok(())
                    }
                }
            }
            None => {
                let shown = named::shown(future.result().await?)?;
                write_out(&shown.to_string());
                Ok(())
            }
        }
    }
}

/// What has this key or beginning of a key; else the dataset of this name.
async fn find(client: &Client, what: &str) -> Result<Future<grid_sdk::Value>, CliError> {
    let is_key = what.len() >= 4 && what.chars().all(|digit| digit.is_ascii_hexdigit());
    if is_key && !client.calls(what, None, 1).await?.is_empty() {
        let keys = keys::find(client, &[what.to_owned()]).await?;
        return Ok(client.future(keys[0]).await?);
    }
    scatter::named(client, what).await
}
