use clap::Subcommand;
use grid_proto::report::QuarantineInfo;
use serde_json::json;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;

/// Tasks that are refused because the sandbox had to stop too many of their calls.
#[derive(Subcommand, Debug)]
pub(crate) enum Quarantine {
    /// Show them, with their last strikes.
    List,
    /// Let a task run again; all of them if none is named.
    Clear {
        /// The task, `BUNDLE@VERSION:TASK`, as `list` shows it.
        task: Option<String>,
    },
}

impl Quarantine {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        match self {
            Self::List => {
                let tasks = client.quarantine().await?;
                output.show(&tasks, |tasks| describe(tasks))?;
            }
            Self::Clear { task } => {
                let cleared = client.clear_quarantine(task.as_deref()).await?;
                output.show(&json!({ "cleared": cleared }), |_| match cleared {
                    1 => "1 task may run again".to_owned(),
                    _ => format!("{cleared} tasks may run again"),
                })?;
            }
        }
        Ok(())
    }
}

fn describe(tasks: &[QuarantineInfo]) -> String {
    let mut lines = Vec::new();
    for task in tasks {
        lines.push(format!("{}: {} strikes, the last of them:", task.task, task.strikes));
        lines.extend(task.last.iter().map(|strike| {
            format!(
                "  {} attempt {} on {}: {}: {}",
                strike.key.short(),
                strike.attempt,
                strike.worker,
                strike.failure,
                strike.message
            )
        }));
    }
    match lines.is_empty() {
        true => "no task is in quarantine".to_owned(),
        false => lines.join("\n"),
    }
}
