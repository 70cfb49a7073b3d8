use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;

use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, say};
use crate::{seconds, size};

/// Bring a file to the grid, as data that calls can read, under a name.
///
/// The bytes go to a worker as they are read and are never held in memory here, but for up to 64 MiB
/// that go to a worker on this host as shared memory. They stay until the name is given up with `grid
/// dataset unpublish NAME`. Tasks take them as raw bytes: `grid run BUNDLE TASK @dataset:NAME`.
#[derive(Args, Debug)]
pub(crate) struct Scatter {
    /// The file; `-` for standard input, which is kept in a file of its own until all of it has come.
    file: PathBuf,
    /// The name; the file's unless one is given.
    #[arg(long)]
    name: Option<String>,
    /// Take the name from what has it.
    #[arg(long = "override")]
    replace: bool,
    /// Only to a worker of this name, host or label; may be given several times.
    #[arg(long = "on", value_name = "NAME")]
    to: Vec<String>,
    /// So many copies, each on another worker.
    #[arg(long, default_value_t = 1, conflicts_with = "broadcast")]
    copies: u32,
    /// A copy on every worker, also on those that come later.
    #[arg(long)]
    broadcast: bool,
    /// Seconds to wait until some worker takes data.
    #[arg(
        long,
        default_value = "30",
        value_name = "SECONDS",
        value_parser = seconds::parse,
        allow_negative_numbers = true
    )]
    timeout: Duration,
}

impl Scatter {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let name = self.dataset_name()?;
        if self.copies == 0 {
            let message = "no copies are none of the data: give 1 or more".to_owned();
            return Err(CliError::Usage(message));
        }
        let is_pipe = self.file.as_os_str() == "-";
        let opened = match is_pipe {
            true => tokio::task::spawn_blocking(spool).await.context("standard input")?,
            false => open(&self.file),
        };
        let file = opened.with_context(|| format!("cannot read `{}`", self.file.display()))?;
        let client = global.connect().await?;
        let copies = if self.broadcast { u32::MAX } else { self.copies };
        let scattering = client.scattering().to(self.to).copies(copies).timeout(self.timeout);
        let future = scattering.file(file).await?;
        let dataset = client.dataset(name.as_str());
        let futures = std::slice::from_ref(&future);
        match self.replace {
            true => dataset.publish_override(futures).await?,
            false => dataset.publish(futures).await?,
        }
        let key = future.key();
        let bytes = client.nbytes(&[key]).await?.first().copied().flatten().unwrap_or_default();
        let told = json!({ "key": key.to_string(), "name": name, "bytes": bytes });
        let human = |_: &_| key.to_string();
        if !output.json {
            say(format_args!("{} are on the grid as dataset `{name}`", size::human(bytes)));
        }
        Ok(output.show(&told, human)?)
    }

    fn dataset_name(&self) -> Result<String, CliError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let name = self.file.file_name().and_then(|name| name.to_str());
        match name.filter(|name| *name != "-") {
            Some(name) => Ok(name.to_owned()),
            None => Err(CliError::Usage("give the data a name: `--name NAME`".to_owned())),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file; give a pipe as `-`")),
    }
}

/// All of standard input, in a file without a name.
fn spool() -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut file)?;
    Ok(file)
}

/// Scattered data or a result that is named among arguments: its key, and the future that keeps it.
pub(crate) async fn named(
    client: &grid_client::Client,
    name: &str,
) -> Result<grid_client::Future<grid_sdk::Value>, CliError> {
    let mut futures = client.dataset(name).get::<grid_sdk::Value>().await?;
    match futures.len() {
        1 => Ok(futures.remove(0)),
        count => Err(CliError::Local(anyhow!(
            "dataset `{name}` has {count} results: name one by its key (`grid dataset get {name} \
             --keys`)"
        ))),
    }
}
