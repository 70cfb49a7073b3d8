//! The forms for any store: a scan of the CSV at a URL, and queries on a copy of it in Parquet.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use flights::tables::{
    Scanned, add_counts, begin_table, copy_table, count_origins, describe_table, finish_table,
    merge_scanned, plan_copy, plan_table, scan_table, summarize_copy,
};
use flights::{Description, Summary, merge};
use grid_client::{Client, ClientError};
use grid_sdk::partitions::{Manifest, Partition};

use crate::Args;

/// What was found, and where its late flights are.
pub(crate) struct Found {
    pub(crate) summary: Summary,
    /// Partitions that were read.
    pub(crate) partitions: usize,
    /// The late flights, read back.
    pub(crate) late: Option<(Description, Manifest)>,
    /// Flights by the airport that they left.
    pub(crate) origins: BTreeMap<String, u64>,
}

/// Scans the CSV at a URL; late flights are parts below another.
pub(crate) async fn scan(client: &Client, args: &Args, url: &str, out: &str) -> Result<Found> {
    let parts: Vec<Partition> = run(client, plan_table::call(url, args.block_size)).await?;
    let output = client.submit(begin_table::call(out)).await?;
    let partitions = client.partitions(parts);
    let scans =
        partitions.map_numbered(|number, part| scan_table::call(part, number, &output, args.late));
    let Scanned { summary, parts } = match scans.is_empty() {
        true => Scanned::default(),
        false => {
            let all = scans.reduce(2, |pair| merge_scanned::call(&pair[0], &pair[1])).await?;
            all.result().await?
        }
    };
    let manifest: Manifest = run(client, finish_table::call(&output, parts)).await?;
    let described: Description = run(client, describe_table::call(out)).await?;
    let (late, read) = (summary.late(), described.count);
    ensure!(late == read, "{late} late flights were found, and {read} are in the parts");
    let (partitions, late) = (partitions.len(), Some((described, manifest)));
    Ok(Found { summary, partitions, late, origins: BTreeMap::new() })
}

/// Writes the CSV at a URL in Parquet below another, once.
pub(crate) async fn copy(client: &Client, args: &Args, url: &str, to: &str) -> Result<Manifest> {
    let parts: Vec<Partition> = run(client, plan_table::call(url, args.block_size)).await?;
    let output = client.submit(begin_table::call(to)).await?;
    let parts = client.partitions(parts);
    let parts = parts.map_numbered(|number, part| copy_table::call(part, number, &output));
    let parts = parts.gather().await?;
    Ok(run(client, finish_table::call(&output, parts)).await?)
}

/// Asks two things of a copy; each query reads the columns that it needs, and nothing else.
pub(crate) async fn query(client: &Client, args: &Args, copy: &str) -> Result<Found> {
    let parts: Vec<Partition> = run(client, plan_copy::call(copy, args.block_size)).await?;
    let parts = client.partitions(parts);
    if parts.is_empty() {
        let (summary, origins) = (Summary::default(), BTreeMap::new());
        return Ok(Found { summary, partitions: 0, late: None, origins });
    }
    let summaries = parts.map(|part| summarize_copy::call(part, args.late));
    let summary = summaries.reduce(2, |pair| merge::call(&pair[0], &pair[1])).await?;
    let origins = parts.map(count_origins::call);
    let origins = origins.reduce(2, |pair| add_counts::call(&pair[0], &pair[1])).await?;
    let (summary, origins) = (summary.result().await?, origins.result().await?);
    Ok(Found { summary, partitions: parts.len(), late: None, origins })
}

async fn run<T: grid_sdk::FromValue>(
    client: &Client,
    call: grid_sdk::Call<T>,
) -> Result<T, ClientError> {
    client.submit(call).await?.result().await
}
