use clap::Args;
use grid_proto::report::GridStatus;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;

/// Show the grid at a glance.
#[derive(Args, Debug)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let status = global.connect().await?.status().await?;
        output.show(&status, describe)?;
        Ok(())
    }
}

fn describe(status: &GridStatus) -> String {
    let calls: Vec<_> =
        status.calls.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let calls = if calls.is_empty() { "none".to_owned() } else { calls.join(", ") };
    format!(
        "scheduler  {} (pid {}, version {}), up {:.0} s, {} of memory\nworkers    {} with {} slots\n\
         clients    {}\ncalls      {calls}",
        status.address,
        status.pid,
        status.version,
        status.uptime_ms as f64 / 1_000.0,
        size::human(status.resident_bytes),
        status.workers,
        status.slots,
        // This command is one of them.
        status.clients.saturating_sub(1),
    )
}
