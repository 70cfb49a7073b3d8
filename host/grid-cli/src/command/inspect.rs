use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use grid_proto::report::BundleInfo;
use grid_proto::{BundleHash, TaskDescription};
use grid_sandbox::Engine;

use super::worker::SandboxArgs;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;

/// Show a bundle's tasks, imports and limits.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// A bundle of the grid (name, name@version, hash), or a file, which needs no grid.
    bundle: String,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Inspect {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let info = match Path::new(&self.bundle).is_file() {
            true => inspect_file(&self.bundle, &self.sandbox)?,
            false => global.connect().await?.bundle(&self.bundle).await?,
        };
        output.show(&info, describe)?;
        Ok(())
    }
}

fn inspect_file(path: &str, sandbox: &SandboxArgs) -> Result<BundleInfo, CliError> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{path}`"))?;
    let hash = BundleHash::of(&bytes);
    let engine = Engine::new(sandbox.engine()?)?;
    let refused = |error: grid_sandbox::BundleError| {
        let message = error.to_string();
        let refusal = grid_proto::message::Refusal::BadBundle { message };
        CliError::Client(refusal.into())
    };
    let bundle = engine.load(hash, &bytes).map_err(refused)?;
    let description = engine.describe(&bundle).map_err(refused)?;
    Ok(BundleInfo { hash, size_bytes: bytes.len() as u64, description, named: false })
}

fn describe(info: &BundleInfo) -> String {
    let description = &info.description;
    let mut text = format!(
        "{}  {}  built with {}\nhash {}\n",
        description.label(),
        size::human(info.size_bytes),
        description.sdk,
        info.hash,
    );
    for task in &description.tasks {
        let _ = write!(text, "\n{}({}) -> {}", task.name, task.signature(), task.output);
        let _ = write!(text, "\n    {}", traits(task));
        if !task.doc.is_empty() {
            let _ = write!(text, "\n    {}", task.doc.replace('\n', "\n    "));
        }
        text.push('\n');
    }
    let _ = write!(text, "\nimports:\n    {}", description.imports.join("\n    "));
    text
}

fn traits(task: &TaskDescription) -> String {
    let mut traits = vec![if task.pure { "pure" } else { "impure" }.to_owned()];
    if task.resident {
        traits.push("resident".to_owned());
    }
    if task.scratch_bytes > 0 {
        traits.push(format!("scratch {}", size::human(task.scratch_bytes)));
    }
    if task.retries > 0 {
        traits.push(format!("retries {}", task.retries));
    }
    if let Some(memory) = task.limits.memory_bytes {
        traits.push(format!("memory {}", size::human(memory)));
    }
    if let Some(timeout) = task.limits.timeout_ms {
        traits.push(format!("timeout {timeout} ms"));
    }
    traits.extend(task.reads.iter().map(|path| format!("reads {path}")));
    traits.extend(task.writes.iter().map(|path| format!("writes {path}")));
    traits.join(", ")
}
