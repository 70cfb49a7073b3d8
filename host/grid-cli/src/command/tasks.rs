use clap::Args;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;
use crate::table::table;

/// Show what each task has done: calls, results, time, memory.
#[derive(Args, Debug)]
pub(crate) struct Tasks {}

/// List calls with their state and why they are in it.
#[derive(Args, Debug)]
pub(crate) struct Calls {
    /// Only calls whose key begins with these digits.
    #[arg(default_value = "")]
    prefix: String,
    /// Only calls in this state: released, waiting, no-worker, queued, processing, memory, erred.
    #[arg(long)]
    state: Option<String>,
    /// At most this many.
    #[arg(long, default_value_t = 100)]
    max: u32,
}

impl Tasks {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let counts = global.connect().await?.counts().await?;
        output.show(&counts, |counts| {
            let rows: Vec<_> = counts
                .iter()
                .map(|task| {
                    let mean_ms = task.wall_us as f64 / 1_000.0 / task.calls.max(1) as f64;
                    vec![
                        format!("{}:{}", task.bundle, task.task),
                        task.calls.to_string(),
                        task.successes.to_string(),
                        (task.calls - task.successes).to_string(),
                        format!("{mean_ms:.3} ms"),
                        format!("{:.3} ms", task.wall_us_max as f64 / 1_000.0),
                        size::human(task.peak_memory_bytes),
                    ]
                })
                .collect();
            let header = ["TASK", "CALLS", "OK", "FAILED", "MEAN", "LONGEST", "PEAK MEMORY"];
            match rows.is_empty() {
                true => "no task has been called".to_owned(),
                false => table(&header, &rows),
            }
        })?;
        Ok(())
    }
}

impl Calls {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let calls = client.calls(&self.prefix, self.state.as_deref(), self.max).await?;
        output.show(&calls, |calls| {
            let rows: Vec<_> = calls
                .iter()
                .map(|call| {
                    vec![
                        call.key.short(),
                        call.task.clone(),
                        call.state.clone(),
                        call.workers.join(" "),
                        call.explanation.clone(),
                    ]
                })
                .collect();
            match rows.is_empty() {
                true => "no such calls".to_owned(),
                false => table(&["KEY", "TASK", "STATE", "WORKERS", "WHY"], &rows),
            }
        })?;
        Ok(())
    }
}
