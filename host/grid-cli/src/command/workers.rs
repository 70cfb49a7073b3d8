use clap::Args;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;
use crate::table::table;

/// List the workers.
#[derive(Args, Debug)]
pub(crate) struct Workers {}

impl Workers {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let workers = global.connect().await?.workers().await?;
        output.show(&workers, |workers| {
            let rows: Vec<_> = workers
                .iter()
                .map(|worker| {
                    vec![
                        worker.name.clone(),
                        worker.pid.to_string(),
                        worker.address.clone(),
                        format!("{}/{}", worker.executing, worker.slots),
                        worker.in_hand.to_string(),
                        format!("{} ({})", worker.objects, size::human(worker.object_bytes)),
                        size::human(worker.resident_bytes),
                        worker.descriptors.to_string(),
                    ]
                })
                .collect();
            let header =
                ["WORKER", "PID", "ADDRESS", "BUSY", "IN HAND", "OBJECTS", "MEMORY", "DESCRIPTORS"];
            match rows.is_empty() {
                true => "no workers; `grid worker` starts one".to_owned(),
                false => table(&header, &rows),
            }
        })?;
        Ok(())
    }
}
