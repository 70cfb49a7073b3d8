use clap::Args;
use grid_client::ClientError;
use grid_proto::message::Refusal;
use grid_proto::report::{CallInfo, StoryStep};

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::table::table;

/// Say why a call is in its state, and not running if it is not.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The key, or its first digits (`grid calls` lists keys).
    key: String,
}

/// Tell what happened to a call, step by step, each with its cause.
#[derive(Args, Debug)]
pub(crate) struct Story {
    /// The key, or its first digits, at least four. The scheduler remembers the last steps of all
    /// calls, so also of some that it has forgotten.
    key: String,
}

impl Explain {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let calls = client.calls(&self.key, None, 100).await?;
        if calls.is_empty() {
            return Err(unknown(&self.key));
        }
        output.show(&calls, |calls| {
            let lines = calls.iter().map(|call| {
                let attempt = match call.state.as_str() {
                    "processing" => format!(", attempt {}", call.attempt),
                    _ => String::new(),
                };
                let CallInfo { key, task, state, explanation, .. } = call;
                format!("{} ({task}) is {state}{attempt}: {explanation}", key.short())
            });
            lines.collect::<Vec<_>>().join("\n")
        })?;
        Ok(())
    }
}

impl Story {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let steps = global.connect().await?.story(&self.key).await?;
        if steps.is_empty() {
            return Err(unknown(&self.key));
        }
        output.show(&steps, |steps| {
            let rows: Vec<_> = steps.iter().map(row).collect();
            table(&["AGO", "KEY", "ATTEMPT", "STATE", "WORKER", "CAUSE"], &rows)
        })?;
        Ok(())
    }
}

fn row(step: &StoryStep) -> Vec<String> {
    vec![
        format!("{:.3} s", step.ago_us as f64 / 1e6),
        step.key.short(),
        step.attempt.to_string(),
        step.state.clone(),
        step.worker.clone().unwrap_or_default(),
        step.cause.clone(),
    ]
}

fn unknown(key: &str) -> CliError {
    ClientError::from(Refusal::UnknownKey { key: key.to_owned() }).into()
}
