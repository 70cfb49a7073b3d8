//! Counts the words of a text on a grid and prints the most frequent ones.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use grid_client::{Client, ClientError, Future};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use wordcount::{Counts, Top, chunks, count, merge, top};

/// Used when no file is named.
const DECLARATION: &str = include_str!("../data/declaration.txt");

/// Chunks travel with their calls: more than that belongs into files that the workers read.
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// The most frequent words of a text, counted on a grid.
#[derive(Parser)]
struct Args {
    /// The text, UTF-8. By default the Declaration of Independence, abridged.
    file: Option<PathBuf>,
    /// The scheduler's address.
    #[arg(long, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    scheduler: String,
    /// Deploy this bundle first; otherwise the grid must have it.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Bytes of text that one call counts; the cuts are at the ends of lines.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    chunk_size: usize,
    /// How many words are printed.
    #[arg(long, default_value_t = 10)]
    top: usize,
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
    let text = match &args.file {
        None => DECLARATION.to_owned(),
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read `{}` as a text", file.display()))?,
    };
    let chunks = chunks(&text, args.chunk_size.min(CHUNK_BYTES_MAX));
    let longest = chunks.iter().map(|chunk| chunk.len()).max().unwrap_or(0);
    ensure!(longest <= CHUNK_BYTES_MAX, "a line has {longest} bytes: it cannot be cut");
    let client = Client::connect(&args.scheduler).await?;
    let ended = work(&client, &chunks, args).await;
    client.close().await;
    ended
}

async fn work(client: &Client, chunks: &[&str], args: Args) -> Result<()> {
    if let Some(file) = &args.bundle {
        let bytes =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        client.deploy(&bytes, true).await?;
    }
    let started = Instant::now();
    let bar = progress_bar(chunks.len() as u64);
    let counted = client.map(chunks.iter().map(|chunk| count::call(*chunk))).await?;
    let total = total(client, counted.clone()).await?;
    let result = match &total {
        Some(total) => client.submit(top::call(total, args.top)).await?,
        None => client.submit(top::call(Counts::default(), args.top)).await?,
    };
    for counted in &counted {
        counted.wait().await;
        bar.inc(1);
    }
    let result = result.result().await?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&result)?);
    } else {
        print(&result, chunks.len(), started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The future of everything together; `None` of nothing. The calls run when their inputs are there.
async fn total(
    client: &Client,
    mut level: Vec<Future<Counts>>,
) -> Result<Option<Future<Counts>>, ClientError> {
    while level.len() > 1 {
        let pairs = level.chunks_exact(2);
        let odd = pairs.remainder().to_vec();
        level = client.map(pairs.map(|pair| merge::call(&pair[0], &pair[1]))).await?;
        level.extend(odd);
    }
    Ok(level.pop())
}

fn print(top: &Top, chunks: usize, seconds: f64) {
    println!(
        "{} words, {} different, counted in {chunks} chunks in {seconds:.2} s\n",
        HumanCount(top.total),
        HumanCount(top.distinct),
    );
    for (word, count) in &top.words {
        println!("{:>10}  {word}", HumanCount(*count).to_string());
    }
}

fn progress_bar(chunks: u64) -> ProgressBar {
    let template = "counting {bar:40} {pos}/{len} chunks  {elapsed}  {eta} to go";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    // It hides itself where standard error is no terminal.
    ProgressBar::new(chunks).with_style(style)
}
