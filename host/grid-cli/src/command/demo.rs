use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use grid_client::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::args::Global;
use crate::error::CliError;
use crate::output::{Output, write_out};
use crate::{size, stop};

/// How long a grid may take to start, and to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);
const CSV_VARIABLE: &str = "GRID_FLIGHTS_CSV";
/// A smaller CSV is cut into smaller blocks, so that both workers have some.
const SMALL_CSV_BYTES: u64 = 16 << 20;
/// The exit code of what was interrupted, as shells have it: 128 and the number of the signal.
const INTERRUPTED: u8 = 130;

/// Show what a grid does: real work on real data, then hostile functions beside good ones.
///
/// Starts a grid of its own, a scheduler and two worker processes, on any free port; stops it and
/// removes its files at the end.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// The examples, as `cargo xtask demo` lays them out: bundles, programs, and `data`.
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    examples: PathBuf,
    /// A CSV of flights, plain or `.gz`. By default the one that the environment variable
    /// `GRID_FLIGHTS_CSV` names, else one month of them, in `data`.
    #[arg(long, value_name = "FILE")]
    flights: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self, global: &Global) -> Result<(), CliError> {
        let examples = Examples::find(&self.examples)?;
        let scratch = tempfile::Builder::new().prefix("grid-demo-").tempdir()?;
        // An empty variable names nothing.
        let named = std::env::var_os(CSV_VARIABLE).filter(|name| !name.is_empty());
        let flights = self.flights.or(named.map(PathBuf::from));
        let csv = Csv::find(flights.unwrap_or_else(|| examples.month()), scratch.path())?;
        let mut up = Up::start(global, &scratch, &csv)?;
        let shown = tokio::select! {
            biased;
            () = stop::asked(false) => Err(CliError::Shown(INTERRUPTED)),
            shown = show(global, &examples, &csv, &mut up) => shown,
        };
        let stopped = up.stop().await;
        scratch.close()?;
        if !global.json && stopped.is_ok() {
            heading("the grid has stopped, and nothing of it is left");
        }
        let results = shown?;
        stopped?;
        if global.json {
            Output { json: true }.show(&results, |_| String::new())?;
        }
        Ok(())
    }
}

async fn show(
    global: &Global,
    examples: &Examples,
    csv: &Csv,
    up: &mut Up,
) -> Result<Json, CliError> {
    let running = up.running().await?;
    let say = |text: &str| {
        if !global.json {
            heading(text)
        }
    };
    say(&format!(
        "a grid of processes: scheduler {} (pid {}), workers (pids {})",
        running.address,
        running.scheduler_pid,
        running.worker_pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    ));
    let grid = Global { identity: Some(up.identity.clone()), ..global.clone() };
    let client = grid.connect_to(&running.address).await?;
    for name in [FLIGHTS, HOSTILE] {
        let line = deploy(&client, &examples.bundle(name)).await?;
        if !global.json {
            write_out(&line);
        }
    }
    say(&format!("flights: `{}` on the grid ({})", csv.name, size::human(csv.bytes)));
    let block_size = if csv.bytes < SMALL_CSV_BYTES { "256KiB" } else { "4MiB" };
    let args = ["--file", &csv.name, "--block-size", block_size, "--check"].map(str::to_owned);
    let check = csv.directory.join(&csv.name).into_os_string();
    let mut flights = examples.program(FLIGHTS, &grid, &running);
    flights.args(args).arg(check);
    let flights = finish(flights, global.json).await?;
    say("hostile: seven kinds of it, mixed with 1,000 good calls, on the same workers");
    let hostile = finish(examples.program(HOSTILE, &grid, &running), global.json).await?;
    Ok(json!({ "grid": running, "flights": flights, "hostile": hostile }))
}

const FLIGHTS: &str = "flights";
const HOSTILE: &str = "hostile";

fn heading(text: &str) {
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match std::io::stdout().is_terminal() && colour {
        true => write_out(&format!("\n\x1b[1m== {text}\x1b[0m\n")),
        false => write_out(&format!("\n== {text}\n")),
    }
}

async fn deploy(client: &Client, file: &Path) -> Result<String, CliError> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let info = client.deploy(&bytes, false).await?.info;
    let tasks = info.description.tasks.iter().map(|task| task.name.as_str());
    Ok(format!(
        "deployed {}, {}: {}",
        info.description.label(),
        size::human(info.size_bytes),
        tasks.collect::<Vec<_>>().join(", "),
    ))
}

/// Runs an example's program to its end; gives what it printed where that is JSON.
async fn finish(mut command: Command, json: bool) -> Result<Json, CliError> {
    let program = Path::new(command.as_std().get_program()).to_owned();
    if json {
        command.arg("--json").stdout(Stdio::piped());
    }
    let cannot_run = || format!("cannot run `{}`", program.display());
    let mut child = command.spawn().with_context(cannot_run)?;
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout.read_to_string(&mut text).await?;
    }
    let status = child.wait().await?;
    if !status.success() {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Err(anyhow!("`{name}` did not give what it should ({status})").into());
    }
    Ok(if json { serde_json::from_str(&text)? } else { Json::Null })
}

/// Bundles and native programs of the examples.
struct Examples {
    directory: PathBuf,
}

impl Examples {
    fn find(directory: &Path) -> Result<Self, CliError> {
        let examples = Self { directory: std::path::absolute(directory)? };
        let needed = [FLIGHTS, HOSTILE].map(|name| [examples.bundle(name), examples.path(name)]);
        match needed.iter().flatten().find(|path| !path.is_file()) {
            None => Ok(examples),
            Some(missing) => {
                let missing = missing.display();
                let message = "`cargo xtask demo` in a checkout builds the examples and runs this";
                Err(CliError::Usage(format!("there is no `{missing}`; {message}")))
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn bundle(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.wasm"))
    }

    fn month(&self) -> PathBuf {
        self.directory.join("data").join("flights-2013-01.csv")
    }

    /// A program, told where the grid is.
    fn program(&self, name: &str, grid: &Global, running: &Running) -> Command {
        let mut command = Command::new(self.path(name));
        command.arg("--scheduler").arg(&running.address).env("GRID_IDENTITY", grid.identity_dir());
        detach(&mut command);
        command.stdin(Stdio::null());
        command
    }
}

/// Ctrl-C in the terminal reaches this process only, which then stops the others in order.
fn detach(command: &mut Command) {
    command.kill_on_drop(true).process_group(0);
}

/// The flights, as a file that the workers can be granted.
struct Csv {
    directory: PathBuf,
    name: String,
    bytes: u64,
}

impl Csv {
    /// A compressed file is unpacked to `scratch`.
    fn find(path: PathBuf, scratch: &Path) -> Result<Self, CliError> {
        let cannot_read = || format!("cannot read `{}`", path.display());
        let mut file = path.canonicalize().with_context(cannot_read)?;
        if file.extension().is_some_and(|extension| extension == "gz") {
            let directory = scratch.join("unpacked");
            std::fs::create_dir(&directory)?;
            let plain = directory.join(file.file_stem().unwrap_or_default());
            let mut packed = flate2::read::MultiGzDecoder::new(File::open(&file)?);
            std::io::copy(&mut packed, &mut File::create(&plain)?).with_context(cannot_read)?;
            file = plain;
        }
        let bytes = file.metadata().with_context(cannot_read)?.len();
        let (Some(directory), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(anyhow!("`{}` is not a file", path.display()).into());
        };
        let name = name.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        Ok(Self { directory: directory.to_owned(), name: name.to_owned(), bytes })
    }
}

/// What `grid up --json` says.
#[derive(Serialize, Deserialize)]
struct Running {
    address: String,
    scheduler_pid: u32,
    worker_pids: Vec<u32>,
}

/// The process `grid up`. It stops when this one ends, however that ends: its standard input is a
/// pipe from here.
struct Up {
    process: Child,
    identity: PathBuf,
}

impl Up {
    fn start(global: &Global, scratch: &TempDir, csv: &Csv) -> Result<Self, CliError> {
        let identity = scratch.path().join("identity");
        let parts = scratch.path().join("parts");
        std::fs::create_dir(&parts)?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["up", "--json", "--listen=127.0.0.1:0", "--workers=2", "--slots=1"])
            .arg("--stop-with-stdin")
            .arg(format!("--grant={FLIGHTS}:{}:/flights", csv.directory.display()))
            .arg(format!("--grant={FLIGHTS}:{}:/parts:rw", parts.display()))
            .arg(format!("--identity={}", identity.display()))
            .arg(format!("--state-dir={}", scratch.path().join("state").display()))
            .arg(format!("--cache-dir={}", scratch.path().join("native").display()))
            .args(std::iter::repeat_n("-v", global.verbose.into()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        detach(&mut command);
        let process = command.spawn().context("cannot start `grid up`")?;
        Ok(Self { process, identity })
    }

    /// Waits until the grid is up.
    async fn running(&mut self) -> Result<Running, CliError> {
        let stdout = self.process.stdout.take().context("`grid up` has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut text = String::new();
        let read = async {
            while let Some(line) = lines.next_line().await? {
                text.push_str(&line);
                if let Ok(running) = serde_json::from_str(&text) {
                    return Ok(Some(running));
                }
            }
            Ok::<_, std::io::Error>(None)
        };
        let read = tokio::time::timeout(PATIENCE, read).await;
        match read.context("the grid did not start in time")?? {
            Some(running) => Ok(running),
            // It has said why on standard error.
            None => Err(CliError::Shown(exit_code(self.process.wait().await?))),
        }
    }

    async fn stop(mut self) -> Result<(), CliError> {
        // Closing its standard input asks it to stop.
        drop(self.process.stdin.take());
        match tokio::time::timeout(PATIENCE, self.process.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => Ok(()),
            Ok(status) => Err(anyhow!("`grid up` did not end well ({})", status?).into()),
            Err(_) => {
                self.process.kill().await?;
                Err(anyhow!("`grid up` did not stop within {PATIENCE:?} and was killed").into())
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0).unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_csv_is_granted_where_it_lies_and_a_packed_one_is_unpacked() {
        let (data, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plain = data.path().join("some.csv");
        std::fs::write(&plain, "a,b\n1,2\n").unwrap();
        let found = Csv::find(plain, scratch.path()).unwrap();
        assert_eq!(found.directory, data.path().canonicalize().unwrap());
        assert_eq!((found.name.as_str(), found.bytes), ("some.csv", 8));

        let packed = data.path().join("more.csv.gz");
        let file = File::create(&packed).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        encoder.write_all(b"a,b\n").unwrap();
        encoder.finish().unwrap();
        let found = Csv::find(packed, scratch.path()).unwrap();
        assert_eq!((found.name.as_str(), found.bytes), ("more.csv", 4));
        assert_eq!(std::fs::read(found.directory.join(found.name)).unwrap(), b"a,b\n");
    }

    #[test]
    fn what_is_missing_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let csv = Csv::find(empty.path().join("no.csv"), empty.path()).err().unwrap();
        assert!(matches!(csv, CliError::Local(error) if error.to_string().contains("no.csv")));
        let examples = Examples::find(empty.path()).err().unwrap();
        assert!(matches!(
            examples,
            CliError::Usage(text) if text.contains("flights.wasm") && text.contains("xtask demo")
        ));
    }
}
