use clap::{Args, Subcommand};
use grid_proto::Amount;
use grid_proto::report::WorkerInfo;

use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::table::table;
use crate::{resource, size};

/// List the workers.
#[derive(Args, Debug)]
pub(crate) struct Workers {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Subcommand, Debug)]
enum Change {
    /// Change what a worker offers of abstract resources; what is not named it offers no more.
    Set {
        /// The worker's name.
        worker: String,
        /// What it offers from now on, for instance `GPU=2`.
        #[arg(value_name = "NAME=AMOUNT", value_parser = resource::parse)]
        resources: Vec<(String, Amount)>,
    },
}

impl Workers {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        if let Some(Change::Set { worker, resources }) = self.change {
            client.set_resources(&worker, resources).await?;
        }
        let workers = client.workers().await?;
        output.show(&workers, |workers| {
            let rows: Vec<_> = workers.iter().map(row).collect();
            let header = [
                "WORKER",
                "PID",
                "ADDRESS",
                "BUSY",
                "IN HAND",
                "HELD BACK",
                "OBJECTS",
                "SPILLED",
                "SANDBOXES",
                "LOCAL",
                "RESIDENT",
                "CODE",
                "MEMORY",
                "DESCRIPTORS",
                "LABELS",
                "RESOURCES",
            ];
            match rows.is_empty() {
                true => "no workers; `grid worker` starts one".to_owned(),
                false => table(&header, &rows),
            }
        })?;
        Ok(())
    }
}

/// The process's memory, of how much, and what that means.
fn memory(worker: &WorkerInfo) -> String {
    let limit = match worker.memory_bytes {
        u64::MAX => String::new(),
        bytes => format!(" of {}", size::human(bytes)),
    };
    let paused = if worker.paused { ", paused" } else { "" };
    format!("{}{limit}{paused}", size::human(worker.resident_bytes))
}

fn row(worker: &WorkerInfo) -> Vec<String> {
    let resources = worker.resources.iter();
    let resources = resources.map(|(name, used)| format!("{name}={}/{}", used.taken, used.offered));
    vec![
        worker.name.clone(),
        worker.pid.to_string(),
        worker.address.clone(),
        format!("{}/{}", worker.executing, worker.slots),
        worker.in_hand.to_string(),
        worker.held_back.to_string(),
        format!("{} ({})", worker.objects, size::human(worker.object_bytes)),
        format!("{} ({})", worker.memory.spilled, size::human(worker.memory.spilled_bytes)),
        size::human(worker.memory.sandboxes_bytes),
        format!("{} ({})", worker.memory.local_values, size::human(worker.memory.local_bytes)),
        format!(
            "{} ({})",
            worker.memory.residents,
            size::human(worker.memory.resident_instances_bytes)
        ),
        size::human(worker.memory.code_bytes),
        memory(worker),
        worker.descriptors.to_string(),
        worker.labels.join(" "),
        resources.collect::<Vec<_>>().join(" "),
    ]
}
