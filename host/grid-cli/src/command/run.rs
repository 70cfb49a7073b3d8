use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use grid_client::{Client, ClientError, Future, RawCall};
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_proto::message::Refusal;
use grid_proto::report::BundleInfo;
use grid_proto::{Amount, Arg, CallOptions, Codec, Pins, TaskDescription, TaskLimits, Value};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::waiting::Waiting;
use super::worker::SandboxArgs;
use super::{keys, scatter};
use crate::args::Global;
use crate::error::{self, CliError, failure_code};
use crate::json;
use crate::output::{Output, say, write_out};
use crate::stop::Signals;
use crate::{resource, seconds, size};

/// Futures by the arguments that name them.
type HeldByTheGrid = BTreeMap<String, Future<grid_sdk::Value>>;

/// Run a task and print its result as JSON.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A bundle of the grid (name, name@version, hash), or a file, which is deployed first.
    bundle: String,
    /// The task.
    task: String,
    /// Its arguments, each as JSON; `@FILE` gives a file's bytes as they are, `@key:KEY` a result or
    /// data that the grid holds, `@dataset:NAME` the one of that name.
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,
    /// One call for each line of a file (`-`: standard input): a JSON list of its arguments, or a
    /// single argument. Prints one line for each, in order.
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "args")]
    map: Option<PathBuf>,
    /// Write the result's bytes to a file instead.
    #[arg(short, long, value_name = "FILE", conflicts_with = "map")]
    output: Option<PathBuf>,
    /// Higher runs first.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    priority: i32,
    /// How often a failed call is tried again.
    #[arg(long)]
    retries: Option<u32>,
    /// Seconds that the call may run.
    #[arg(long, value_name = "SECONDS", value_parser = seconds::parse, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// Memory that the call may use.
    #[arg(long, value_parser = size::parse)]
    memory: Option<u64>,
    /// Run only on a worker of this name, host or label; may be given several times.
    #[arg(long = "on", value_name = "NAME", conflicts_with = "preferred")]
    required: Vec<String>,
    /// Run on a worker of this name, host or label if there is one; may be given several times.
    #[arg(long = "prefer", value_name = "NAME")]
    preferred: Vec<String>,
    /// Take so much of an abstract resource of the worker, for instance `GPU=1`.
    #[arg(long = "resource", value_name = "NAME=AMOUNT", value_parser = resource::parse)]
    resources: Vec<(String, Amount)>,
    /// Wait for nothing: print the keys of the calls, which run to their end; their results are
    /// freed then.
    #[arg(long, conflicts_with_all = ["output", "embedded"])]
    detach: bool,
    /// Wait for nothing: publish the results as a dataset of this name, whatever had it before.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["output", "embedded", "detach"])]
    publish: Option<String>,
    /// Run even if an equal call has a result.
    #[arg(long)]
    impure: bool,
    /// Use no grid: run in this process, with the limits and grants given here.
    #[arg(long)]
    embedded: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Run {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let ended = self.run_anywhere(global, output).await;
        if let (true, Err(error)) = (output.json, &ended) {
            error.show_json(output)?;
        }
        ended
    }

    async fn run_anywhere(&self, global: &Global, output: Output) -> Result<(), CliError> {
        if !self.embedded {
            let client = global.connect().await?;
            return self.run_on(&client, output).await;
        }
        let state_dir = crate::reach::default_state_dir();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let grid = Embedded::start(EmbeddedConfig {
            workers: 1,
            slots: self.sandbox.slots_or(processors),
            state_dir,
            engine: self.sandbox.engine()?,
            ..EmbeddedConfig::default()
        })?;
        let client = grid.client().await?;
        self.run_on(&client, output).await
    }

    async fn run_on(&self, client: &Client, output: Output) -> Result<(), CliError> {
        let bundle = self.bundle(client).await?;
        let Some((_, task)) = bundle.description.task(&self.task) else {
            let known: Vec<_> = bundle.description.tasks.iter().map(|t| t.name.as_str()).collect();
            let refusal = Refusal::UnknownTask {
                bundle: bundle.description.label(),
                task: self.task.clone(),
                known: known.join(", "),
            };
            return Err(ClientError::from(refusal).into());
        };
        let held = self.held_by_the_grid(client).await?;
        let calls = self.calls(&bundle, task, &held)?;
        if self.detach {
            let keys = client.detach_raw(calls).await?;
            let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
            return Ok(output.show(&keys, |keys| keys.join("\n"))?);
        }
        if let Some(name) = &self.publish {
            let futures = client.submit_raw(calls).await?;
            client.dataset(name.as_str()).publish_override(&futures).await?;
            let published = json!({ "published": name, "calls": futures.len() });
            return Ok(output
                .show(&published, |_| format!("published {} calls as `{name}`", futures.len()))?);
        }
        let mut signals = Signals::listen()?;
        let signal = tokio::select! {
            ended = self.run_to_the_end(client, calls, output) => return ended,
            signal = signals.next() => signal,
        };
        // Its calls are nobody's then, also those of which half of a submission is under way.
        client.clone().close().await;
        Err(CliError::Interrupted { signal, what: "what was to run is cancelled" })
    }

    async fn run_to_the_end(
        &self,
        client: &Client,
        calls: Vec<RawCall>,
        output: Output,
    ) -> Result<(), CliError> {
        match &self.map {
            Some(_) => self.run_map(client, calls, output).await,
            None => self.run_one(client, calls, output).await,
        }
    }

    async fn bundle(&self, client: &Client) -> Result<BundleInfo, CliError> {
        if self.bundle.ends_with(".wasm") || Path::new(&self.bundle).is_file() {
            let bytes = std::fs::read(&self.bundle)
                .with_context(|| format!("cannot read `{}`", self.bundle))?;
            return Ok(client.deploy(&bytes, self.embedded).await?.info);
        }
        Ok(client.bundle(&self.bundle).await?)
    }

    /// What arguments name of what the grid holds; it is held until they are submitted.
    async fn held_by_the_grid(&self, client: &Client) -> Result<HeldByTheGrid, CliError> {
        let mut held = HeldByTheGrid::new();
        for text in &self.args {
            let future = if let Some(name) = text.strip_prefix("@dataset:") {
                scatter::named(client, name).await?
            } else if let Some(prefix) = text.strip_prefix("@key:") {
                let keys = keys::find(client, &[prefix.to_owned()]).await?;
                client.future(keys[0]).await?
            } else {
                continue;
            };
            held.insert(text.clone(), future);
        }
        Ok(held)
    }

    /// The calls that were typed, or that the file lists.
    fn calls(
        &self,
        bundle: &BundleInfo,
        task: &TaskDescription,
        held: &HeldByTheGrid,
    ) -> Result<Vec<RawCall>, CliError> {
        let Some(file) = &self.map else {
            let args = self.args.iter().map(|text| argument(text, held));
            let args = args.collect::<Result<_, _>>()?;
            return Ok(vec![self.call(bundle, task, args)?]);
        };
        let call = |(number, line): (usize, &String)| {
            let args = line_arguments(line).map_err(|error| {
                CliError::Usage(format!("{}:{}: {error}", file.display(), number + 1))
            })?;
            self.call(bundle, task, args)
        };
        read_lines(file)?.iter().enumerate().map(call).collect()
    }

    async fn run_one(
        &self,
        client: &Client,
        calls: Vec<RawCall>,
        output: Output,
    ) -> Result<(), CliError> {
        let mut futures = client.submit_raw(calls).await?;
        let future = futures.remove(0);
        let mut waiting = Waiting::new(client);
        let value = waiting.tell_until(future.key(), future.value(), |why: &str| say(why)).await?;
        let written = future.output();
        if !written.is_empty() {
            say(written.trim_end());
        }
        if let Some(path) = &self.output {
            let name = path.display();
            std::fs::write(path, &value.bytes).with_context(|| format!("cannot write `{name}`"))?;
            say(format_args!("{} written to {name}", size::human(value.bytes.len() as u64)));
            return Ok(());
        }
        let result = json::decode(&value).map_err(|error| anyhow!(error))?;
        output.show(&result, |result| result.to_string())?;
        Ok(())
    }

    /// Many calls: results in order on standard output, progress on standard error.
    async fn run_map(
        &self,
        client: &Client,
        calls: Vec<RawCall>,
        output: Output,
    ) -> Result<(), CliError> {
        let bar = ProgressBar::new(calls.len() as u64).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len}  {per_sec}  {eta} left  {msg}")
                .map_err(|error| anyhow!(error))?,
        );
        let futures = client.submit_raw(calls).await?;
        let mut waiting = Waiting::new(client);
        let mut failed = 0u64;
        let mut worst = 0;
        for future in futures {
            let told = |why: &str| bar.suspend(|| say(why));
            let line = match waiting.tell_until(future.key(), result_line(&future), told).await {
                Ok(line) => line,
                Err(CliError::Client(ClientError::Failed(failure))) => {
                    failed += 1;
                    worst = worst.max(failure_code(&failure));
                    bar.set_message(format!("{failed} failed"));
                    match output.json {
                        true => error::failure_json(&failure),
                        false => {
                            json!({ "error": failure.to_string(), "kind": failure.kind.label() })
                        }
                    }
                }
                Err(error) => return Err(error),
            };
            bar.suspend(|| write_out(&line.to_string()));
            bar.inc(1);
        }
        bar.finish_and_clear();
        if failed == 0 {
            return Ok(());
        }
        say(format_args!("{failed} of {} calls failed", bar.position()));
        Err(CliError::Shown(worst))
    }

    fn call(
        &self,
        bundle: &BundleInfo,
        task: &TaskDescription,
        args: Vec<Arg>,
    ) -> Result<RawCall, CliError> {
        // The scheduler says the same; here it is known before anything is sent.
        let values = args.iter().map(|arg| match arg {
            Arg::Value(value) => Some(value),
            Arg::Key(_) => None,
        });
        let checked = task.check_arguments(values);
        checked.map_err(|message| ClientError::from(Refusal::BadArguments { message }))?;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let timeout_ms = self.timeout.map(milliseconds);
        Ok(RawCall {
            bundle: bundle.hash,
            task: task.name.clone(),
            pure: task.pure && !self.impure,
            args,
            options: CallOptions {
                priority: self.priority,
                retries: self.retries,
                limits: TaskLimits { memory_bytes: self.memory, timeout_ms },
                pins: self.pins(),
                resources: self.resources.clone(),
                ..CallOptions::default()
            },
        })
    }
}

impl Run {
    fn pins(&self) -> Option<Pins> {
        let prefer = self.required.is_empty();
        let any_of = if prefer { &self.preferred } else { &self.required };
        (!any_of.is_empty()).then(|| Pins { any_of: any_of.clone(), prefer })
    }
}

async fn result_line(future: &Future<grid_sdk::Value>) -> Result<Json, CliError> {
    let value = future.value().await?;
    Ok(json::decode(&value).map_err(|error| anyhow!(error))?)
}

/// `@FILE`, what the grid holds, or JSON.
fn argument(text: &str, held: &HeldByTheGrid) -> Result<Arg, CliError> {
    if let Some(future) = held.get(text) {
        return Ok(Arg::Key(future.key()));
    }
    if let Some(path) = text.strip_prefix('@') {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{path}`"))?;
        return Ok(Arg::Value(Value { codec: Codec::Raw, bytes }));
    }
    let json: Json = serde_json::from_str(text).map_err(|error| {
        CliError::Usage(format!(
            "the argument `{text}` is not JSON ({error}); a text needs quotes: '\"{text}\"'"
        ))
    })?;
    encoded(&json).map_err(CliError::Usage)
}

/// A list of arguments, or a single one.
fn line_arguments(line: &str) -> Result<Vec<Arg>, String> {
    match serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))? {
        Json::Array(args) => args.iter().map(encoded).collect(),
        single => Ok(vec![encoded(&single)?]),
    }
}

fn encoded(json: &Json) -> Result<Arg, String> {
    json::encode(json).map(Arg::Value)
}

fn read_lines(file: &Path) -> Result<Vec<String>, CliError> {
    let reader: Box<dyn BufRead> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("cannot read `{}`", file.display()))?;
            Box::new(std::io::BufReader::new(opened))
        }
    };
    let lines: Vec<_> = reader.lines().collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| !line.trim().is_empty()).collect())
}
