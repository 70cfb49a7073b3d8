use clap::Args;
use grid_proto::report::TaskCounts;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::table::table;

/// Show how calls ended that have no result: user errors, traps by kind, limits hit.
#[derive(Args, Debug)]
pub(crate) struct Traps {}

impl Traps {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let counts: Vec<_> = global.connect().await?.counts().await?;
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|task| !task.failures.is_empty() || task.output_cut > 0)
            .collect();
        output.show(&counts, |counts| describe(counts))?;
        Ok(())
    }
}

fn describe(counts: &[TaskCounts]) -> String {
    let mut rows = Vec::new();
    for task in counts {
        let label = format!("{}:{}", task.bundle, task.task);
        let cut = (task.output_cut > 0).then_some(("output-cut", task.output_cut));
        let kinds = task.failures.iter().map(|(kind, count)| (kind.as_str(), *count)).chain(cut);
        for (kind, count) in kinds {
            rows.push(vec![
                label.clone(),
                kind.to_owned(),
                count.to_string(),
                format!("of {}", task.calls),
            ]);
        }
    }
    match rows.is_empty() {
        true => "no traps, no limits hit, no errors".to_owned(),
        false => table(&["TASK", "KIND", "COUNT", "CALLS"], &rows),
    }
}
