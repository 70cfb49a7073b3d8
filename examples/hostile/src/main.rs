//! Hostile calls and good ones, mixed, on one grid: shows how each hostile call was contained, and
//! that no good one noticed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use grid_client::{Client, ClientError, Future};
use grid_sdk::Call;
use hostile::{
    endless_loop, good, memory_bomb, out_of_bounds, output_flood, panics, stack_overflow,
    unreachable,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// A function that does wrong, and how a grid must call that.
struct Crime {
    name: &'static str,
    call: fn() -> Call<u64>,
    expected: &'static str,
}

const CRIMES: [Crime; 7] = [
    Crime { name: "out_of_bounds", call: out_of_bounds::call, expected: "out-of-bounds" },
    Crime { name: "endless_loop", call: endless_loop::call, expected: "deadline" },
    Crime { name: "memory_bomb", call: memory_bomb::call, expected: "out-of-memory" },
    Crime { name: "stack_overflow", call: stack_overflow::call, expected: "stack-overflow" },
    Crime { name: "unreachable", call: unreachable::call, expected: "unreachable" },
    Crime { name: "panics", call: panics::call, expected: "panic" },
    // It gets its result; what is over the limit of its output is counted and thrown away.
    Crime { name: "output_flood", call: output_flood::call, expected: OUTPUT_CUT },
];

const OUTPUT_CUT: &str = "output-cut";

/// A row of the table fits a usual window.
const EXAMPLE_CHARS_MAX: usize = 64;

/// Hostile functions beside good ones on a grid; fails if one was not contained.
#[derive(Parser)]
struct Args {
    /// The scheduler's address.
    #[arg(long, env = "GRID_SCHEDULER", default_value = "127.0.0.1:8786")]
    scheduler: String,
    /// Deploy this bundle first; otherwise the grid must have it.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Good calls.
    #[arg(long, default_value_t = 1_000)]
    good: u64,
    /// Calls of each hostile function.
    #[arg(long, default_value_t = 4)]
    times: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What became of one hostile function.
struct Verdict {
    crime: &'static Crime,
    /// What the caller was told, and how often.
    told: BTreeMap<String, u64>,
    /// What the grid counted, and how often.
    counted: BTreeMap<String, u64>,
    /// What one of the callers was told, in full.
    example: String,
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
    let pids_before = pids(client).await?;
    let counts_before = counts(client).await?;
    let (bad, good) = submit(client, &args).await?;
    wait(&bad, &good).await;
    let right = right_answers(&good).await;
    let counts_after = counts(client).await?;
    let mut verdicts = Vec::new();
    for (crime, futures) in CRIMES.iter().zip(&bad) {
        let counted = counted(crime, &counts_before, &counts_after);
        verdicts.push(verdict(crime, futures, counted).await);
    }
    let pids_after = pids(client).await?;
    if args.json {
        print_json(&verdicts, right, &pids_before, &pids_after)?;
    } else {
        print(&verdicts);
        println!("good answers: {right} of {} right", args.good);
        println!("worker processes before: {}", pids_before.join(", "));
        println!("worker processes after:  {}", pids_after.join(", "));
    }
    for Verdict { crime, told, counted, .. } in &verdicts {
        let expected = BTreeMap::from([(crime.expected.to_owned(), args.times)]);
        ensure!(*told == expected, "`{}` must be classified as {expected:?}", crime.name);
        ensure!(*counted == expected, "`{}` must be counted as {expected:?}", crime.name);
    }
    ensure!(right == args.good, "{} good calls have no right answer", args.good - right);
    ensure!(pids_before == pids_after, "a worker process is not the one that it was");
    Ok(())
}

/// Futures of the calls of each crime, and of the good calls with their arguments.
type Submitted = (Vec<Vec<Future<u64>>>, Vec<(u64, Future<u64>)>);

/// Submits all calls, so that before and behind each hostile one there are good ones.
async fn submit(client: &Client, args: &Args) -> Result<Submitted, ClientError> {
    let mut bad: Vec<Vec<_>> = CRIMES.iter().map(|_| Vec::new()).collect();
    let mut good_ones = Vec::new();
    let rounds = args.times * CRIMES.len() as u64 + 1;
    for round in 0..rounds {
        let numbers = args.good * round / rounds..args.good * (round + 1) / rounds;
        let futures = client.map(numbers.clone().map(good::call)).await?;
        good_ones.extend(numbers.zip(futures));
        if round + 1 < rounds {
            let place = (round % CRIMES.len() as u64) as usize;
            bad[place].push(client.submit((CRIMES[place].call)()).await?);
        }
    }
    Ok((bad, good_ones))
}

async fn wait(bad: &[Vec<Future<u64>>], good: &[(u64, Future<u64>)]) {
    let all = || good.iter().map(|(_, future)| future).chain(bad.iter().flatten());
    let template = "running {bar:40} {pos}/{len} calls  {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    // It hides itself where standard error is no terminal.
    let bar = ProgressBar::new(all().count() as u64).with_style(style);
    for future in all() {
        future.wait().await;
        bar.inc(1);
    }
    bar.finish_and_clear();
}

async fn right_answers(good: &[(u64, Future<u64>)]) -> u64 {
    let mut right = 0;
    for (number, future) in good {
        right += u64::from(future.result().await.is_ok_and(|answer| answer == number * number + 1));
    }
    right
}

async fn verdict(
    crime: &'static Crime,
    futures: &[Future<u64>],
    counted: BTreeMap<String, u64>,
) -> Verdict {
    let mut verdict = Verdict { crime, told: BTreeMap::new(), counted, example: String::new() };
    for future in futures {
        let (told, example) = match future.result().await {
            // Its caller is not told that output was cut; the counter is.
            Ok(bytes) if crime.expected == OUTPUT_CUT => {
                (OUTPUT_CUT.to_owned(), format!("wrote {bytes} bytes and went on"))
            }
            Ok(number) => ("nothing at all".to_owned(), format!("gave {number}")),
            Err(ClientError::Failed(failure)) => {
                (failure.kind.label().to_owned(), failure.message.clone())
            }
            Err(error) => ("no answer".to_owned(), error.to_string()),
        };
        *verdict.told.entry(told).or_default() += 1;
        verdict.example = example;
    }
    verdict
}

/// Process ids of the workers.
async fn pids(client: &Client) -> Result<Vec<String>, ClientError> {
    let mut pids: Vec<_> = client.workers().await?.iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    Ok(pids.iter().map(u32::to_string).collect())
}

/// What the grid counted of the tasks of this bundle: by task and kind.
type Counts = BTreeMap<(String, String), u64>;

async fn counts(client: &Client) -> Result<Counts, ClientError> {
    let mut counts = Counts::new();
    for task in client.counts().await? {
        if task.bundle.starts_with("hostile@") {
            let cut = (OUTPUT_CUT.to_owned(), task.output_cut);
            for (kind, count) in task.failures.into_iter().chain([cut]) {
                *counts.entry((task.task.clone(), kind)).or_default() += count;
            }
        }
    }
    Ok(counts)
}

fn counted(crime: &Crime, before: &Counts, after: &Counts) -> BTreeMap<String, u64> {
    let of_it = after.iter().filter(|((task, _), _)| task == crime.name);
    of_it
        .map(|(key, count)| (key.1.clone(), count - before.get(key).unwrap_or(&0)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn print(verdicts: &[Verdict]) {
    println!("{:<15}  {:<17}  {:<17}  FOR EXAMPLE", "FUNCTION", "CLASSIFIED AS", "COUNTED AS");
    for Verdict { crime, told, counted, example } in verdicts {
        let (told, counted, example) = (list(told), list(counted), shortened(example));
        println!("{:<15}  {told:<17}  {counted:<17}  {example}", crime.name);
    }
    println!();
}

fn list(kinds: &BTreeMap<String, u64>) -> String {
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    kinds.join(", ")
}

/// The beginning of the first line.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(EXAMPLE_CHARS_MAX) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
    }
}

fn print_json(
    verdicts: &[Verdict],
    right: u64,
    pids_before: &[String],
    pids_after: &[String],
) -> Result<()> {
    let functions = verdicts.iter().map(|Verdict { crime, told, counted, example }| {
        let value = json!({ "classified": told, "counted": counted, "example": example });
        (crime.name.to_owned(), value)
    });
    let result = json!({
        "functions": functions.collect::<serde_json::Map<_, _>>(),
        "good_answers": right,
        "worker_pids_before": pids_before,
        "worker_pids_after": pids_after,
    });
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
