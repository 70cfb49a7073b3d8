use clap::Args;
use serde_json::json;

use super::keys;
use crate::args::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::size;
use crate::table::table;

/// Show where results and data are.
#[derive(Args, Debug)]
pub(crate) struct WhoHas {
    /// Keys, or unambiguous beginnings of keys (`grid calls` lists them).
    #[arg(required = true)]
    keys: Vec<String>,
}

/// Show what workers hold.
#[derive(Args, Debug)]
pub(crate) struct HasWhat {
    /// The worker's name; all unless one is given.
    worker: Option<String>,
    /// List at most so many objects of each.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

/// Have several copies of results or data, until they are released.
#[derive(Args, Debug)]
pub(crate) struct Replicate {
    /// Keys, or unambiguous beginnings of keys (`grid calls` lists them).
    #[arg(required = true)]
    keys: Vec<String>,
    /// How many copies, each on another worker; all workers unless given.
    #[arg(short = 'n', long)]
    copies: Option<u32>,
    /// Only on workers of this name, host or label; may be given several times.
    #[arg(long = "on", value_name = "NAME")]
    to: Vec<String>,
}

/// Move results and data so that all workers hold about equally many bytes.
#[derive(Args, Debug)]
pub(crate) struct Rebalance {
    /// Only these keys, or unambiguous beginnings of keys.
    keys: Vec<String>,
}

impl WhoHas {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let keys = keys::find(&client, &self.keys).await?;
        let found = client.who_has(&keys).await?;
        Ok(output.show(&found, |found| {
            let row = |one: &grid_proto::data::Whereabouts| {
                let bytes = one.size_bytes.map_or_else(|| "-".to_owned(), size::human);
                vec![one.key.short(), bytes, one.workers.join(" ")]
            };
            table(&["KEY", "SIZE", "WORKERS"], &found.iter().map(row).collect::<Vec<_>>())
        })?)
    }
}

impl HasWhat {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let holdings = client.has_what(self.worker.as_deref(), self.limit).await?;
        Ok(output.show(&holdings, |holdings| {
            let mut rows = Vec::new();
            for holding in holdings {
                let bytes = size::human(holding.bytes);
                let all = format!("{} objects", holding.objects);
                rows.push(vec![holding.worker.clone(), all, bytes, String::new()]);
                for held in &holding.listed {
                    let bytes = size::human(held.size_bytes);
                    rows.push(vec![String::new(), held.key.short(), bytes, held.task.clone()]);
                }
                let more = holding.objects - holding.listed.len() as u64;
                if more > 0 {
                    let more = format!("and {more} more");
                    rows.push(vec![String::new(), more, String::new(), String::new()]);
                }
            }
            match rows.is_empty() {
                true => "no workers; `grid worker` starts one".to_owned(),
                false => table(&["WORKER", "OBJECT", "SIZE", "TASK"], &rows),
            }
        })?)
    }
}

impl Replicate {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let keys = keys::find(&client, &self.keys).await?;
        let wanted = self.copies.unwrap_or(u32::MAX);
        let made = client.replicate_to(&keys, wanted, self.to).await?;
        let told: Vec<_> = keys
            .iter()
            .zip(&made)
            .map(|(key, copies)| json!({ "key": key.to_string(), "copies": copies }))
            .collect();
        Ok(output.show(&told, |_| {
            let row = |(key, copies): (&grid_proto::Key, &u32)| {
                let asked = match self.copies {
                    Some(asked) => asked.to_string(),
                    None => "all".to_owned(),
                };
                vec![key.short(), copies.to_string(), asked]
            };
            let rows: Vec<_> = keys.iter().zip(&made).map(row).collect();
            table(&["KEY", "COPIES", "ASKED FOR"], &rows)
        })?)
    }
}

impl Rebalance {
    pub(crate) async fn run(self, global: &Global, output: Output) -> Result<(), CliError> {
        let client = global.connect().await?;
        let keys = keys::find(&client, &self.keys).await?;
        let moved = client.rebalance(&keys).await?;
        let told = json!({ "objects": moved.objects, "bytes": moved.bytes });
        Ok(output.show(&told, |_| {
            format!("moved {} objects, {}", moved.objects, size::human(moved.bytes))
        })?)
    }
}
