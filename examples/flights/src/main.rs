//! The flights on a grid: plans the blocks, has them scanned, sums up by a tree, reads the parts
//! back, and prints the tables.

mod report;
mod urls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Parser;
use flights::{Description, Job, PARTS, Summary, block, check, describe, merge, scan, size};
use grid_client::proto::FailureKind;
use grid_client::{Client, ClientError, Future};
use indicatif::{ProgressBar, ProgressStyle};

/// What the operator of the workers has to type.
const GRANTS: &str = "start the workers with the directories that this example reads and writes:
  grid up --grant flights:DIR_OF_THE_CSV:/flights --grant flights:DIR_FOR_PARTS:/parts:rw";

/// And of URLs.
const STORE_GRANTS: &str = "start the workers with the URLs that this example reads and writes:
  grid up --grant-store flights:read:URL --grant-store flights:write:URL";

/// Departure delays of flights by carrier, computed on a grid from blocks of a CSV.
///
/// The workers must grant two directories: `grid up --grant flights:DIR_OF_THE_CSV:/flights --grant
/// flights:DIR_FOR_PARTS:/parts:rw`. With `--url` or `--copy` it is URLs that they must grant: `--grant-store
/// flights:read:URL --grant-store flights:write:URL`.
#[derive(Parser)]
struct Args {
    /// The scheduler's address.
    #[arg(long, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    scheduler: String,
    /// Deploy this bundle first; otherwise the grid must have it.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The CSV, below the directory that is granted as `/flights`.
    #[arg(long, default_value = "flights-2013-01.csv")]
    file: String,
    /// Read the CSV at this URL instead, `s3://...` or `file://...`, or all that a pattern fits.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Write the rows of late flights below this URL, where nothing may be.
    #[arg(long, value_name = "URL", requires = "url")]
    out: Option<String>,
    /// Query a copy in Parquet below this URL; with `--url`, write it first.
    #[arg(long, value_name = "URL", conflicts_with = "out")]
    copy: Option<String>,
    /// Bytes that one call reads.
    #[arg(long, default_value = "4MiB", value_parser = bytes)]
    block_size: u64,
    /// A departure is late when it is delayed by more minutes.
    #[arg(long, default_value_t = 300.0, value_name = "MINUTES")]
    late: f64,
    /// Read the same CSV here too, in one pass, and fail if that gives other numbers.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let client = Client::connect(&args.scheduler).await?;
    let ended = work(&client, args).await;
    client.close().await;
    ended
}

async fn work(client: &Client, args: Args) -> Result<()> {
    if let Some(file) = &args.bundle {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        client.deploy(&bytes, true).await?;
    }
    if args.url.is_some() || args.copy.is_some() {
        return of_urls(client, &args).await;
    }
    let started = Instant::now();
    let summary = summarize(client, &args).await.map_err(explain)?;
    let elapsed = started.elapsed();
    let described = client.submit(describe::call(summary.parts.clone())).await?;
    let described: Description = described.result().await.map_err(explain)?;
    let (late, read) = (summary.late(), described.count);
    ensure!(late == read, "{late} late flights were found, and {read} are in the parts");
    if let Some(csv) = &args.check {
        check::equals_one_pass(&summary, csv, args.late)?;
    }
    if args.json {
        let result = serde_json::json!({ "summary": summary, "late": described });
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        let parts = summary.parts.len();
        report::head(&args, &args.file, &summary, parts, elapsed);
        let directory = summary.parts.first().and_then(|part| part.name.split('/').next());
        let place = format!("{PARTS}/{}", directory.unwrap_or(""));
        report::read_back(&described, parts, &place);
        report::checked(&args);
    }
    Ok(())
}

/// The forms for any store.
async fn of_urls(client: &Client, args: &Args) -> Result<()> {
    if let (Some(url), Some(copy)) = (&args.url, &args.copy) {
        let started = Instant::now();
        let table = urls::copy(client, args, url, copy).await.map_err(explain_store)?;
        if !args.json {
            report::copied(&table, started.elapsed());
        }
    }
    let started = Instant::now();
    let found = match (&args.copy, &args.url, &args.out) {
        (Some(copy), _, _) => urls::query(client, args, copy).await,
        (None, Some(url), Some(out)) => urls::scan(client, args, url, out).await,
        (None, _, _) => {
            bail!("say where the late flights go, `--out URL`, or a copy, `--copy URL`")
        }
    };
    let found = found.map_err(explain_store)?;
    let elapsed = started.elapsed();
    if let Some(csv) = &args.check {
        check::equals_one_pass(&found.summary, csv, args.late)?;
    }
    if args.json {
        let late = found.late.as_ref().map(|(described, _)| described);
        let result = serde_json::json!({
            "summary": found.summary, "late": late, "origins": found.origins,
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    let url = args.copy.as_ref().or(args.url.as_ref()).map_or("", String::as_str);
    report::head(args, url, &found.summary, found.partitions, elapsed);
    report::origins(&found.origins);
    if let Some((described, manifest)) = &found.late {
        report::read_back(described, manifest.parts.len(), &manifest.url);
    }
    report::checked(args);
    Ok(())
}

/// Scans all blocks, and puts the summaries together in a tree of pairs.
async fn summarize(client: &Client, args: &Args) -> Result<Summary, ClientError> {
    let file_bytes = client.submit(size::call(args.file.as_str())).await?.result().await?;
    let blocks = block::plan(file_bytes, args.block_size);
    let job = Job { file: args.file.clone(), run: run_name(), late_minutes: args.late };
    let bar = progress_bar(blocks.len() as u64);
    let scans = client.map(blocks.into_iter().map(|block| scan::call(job.clone(), block))).await?;
    let total = total(client, scans.clone()).await?;
    for scanned in &scans {
        scanned.wait().await;
        bar.inc(1);
    }
    let summary = match &total {
        Some(total) => total.result().await,
        None => Ok(Summary::default()),
    };
    bar.finish_and_clear();
    summary
}

/// The future of everything together; `None` of nothing. The calls run when their inputs are there.
async fn total(
    client: &Client,
    mut level: Vec<Future<Summary>>,
) -> Result<Option<Future<Summary>>, ClientError> {
    while level.len() > 1 {
        let pairs = level.chunks_exact(2);
        let odd = pairs.remainder().to_vec();
        level = client.map(pairs.map(|pair| merge::call(&pair[0], &pair[1]))).await?;
        level.extend(odd);
    }
    Ok(level.pop())
}

/// Two runs at the same time write to directories of their own.
fn run_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("run-{}-{}", now.unwrap_or_default().as_secs(), std::process::id())
}

fn progress_bar(blocks: u64) -> ProgressBar {
    let template = "reading {bar:40} {pos}/{len} blocks  {elapsed}  {eta} to go";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    // It hides itself where standard error is no terminal.
    ProgressBar::new(blocks).with_style(style)
}

/// Says what to do about a directory that is not granted.
fn explain(error: ClientError) -> anyhow::Error {
    let denied = match &error {
        ClientError::Failed(failure) => matches!(failure.kind, FailureKind::HostDenied { .. }),
        _ => false,
    };
    if denied { anyhow!("{error}\n{GRANTS}") } else { error.into() }
}

/// Says what to do about a URL that is not granted.
fn explain_store(error: anyhow::Error) -> anyhow::Error {
    let denied = match error.downcast_ref() {
        Some(ClientError::Failed(failure)) => failure.message.contains("--grant-store"),
        _ => false,
    };
    if denied { anyhow!("{error}\n{STORE_GRANTS}") } else { error }
}

/// `64KiB`, `4MiB`, `4000000`.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("write 64KiB, 4MiB or a number of bytes".to_owned()),
    };
    let number: u64 = text[..digits].parse().map_err(|error| format!("{error}"))?;
    let bytes = number.checked_mul(factor).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "a block holds at least one byte, and not that many".to_owned())
}
