use clap::Args;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;
use crate::table::table;

/// List the bundles that the grid has.
#[derive(Args, Debug)]
pub(crate) struct Bundles {}

impl Bundles {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let bundles = global.connect().await?.bundles().await?;
        output.show(&bundles, |bundles| {
            let rows: Vec<_> = bundles
                .iter()
                .map(|bundle| {
                    let label = bundle.description.label();
                    let label = if bundle.named { label } else { format!("({label}, replaced)") };
                    let tasks: Vec<_> =
                        bundle.description.tasks.iter().map(|task| task.name.as_str()).collect();
                    vec![
                        label,
                        bundle.hash.short(),
                        size::human(bundle.size_bytes),
                        tasks.join(" "),
                    ]
                })
                .collect();
            match rows.is_empty() {
                true => "no bundles; `grid deploy FILE` gives the grid one".to_owned(),
                false => table(&["BUNDLE", "HASH", "SIZE", "TASKS"], &rows),
            }
        })?;
        Ok(())
    }
}
