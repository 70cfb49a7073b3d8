//! Arguments and results that are larger than sandboxes, and than memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use grid_client::{Client, Future};
use grid_proto::report::WorkerInfo;
use grid_proto::{FailureKind, TrapKind};
use grid_sandbox::EngineConfig;
use grid_sdk::Raw;
use grid_sdk::objects::Written;
use large::*;

use crate::support::{Grid, Processes, bundle_bytes, eventually, failure, stderr, stdout};

const MIB: usize = 1 << 20;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 3 % 251) as u8).collect()
}

fn digest_of(bytes: &[u8]) -> (u64, u64) {
    (bytes.len() as u64, fnv(FNV, bytes))
}

/// Workers that hold little in memory, and do not look at their processes.
async fn small(workers: &str, more: &[&str]) -> (Processes, Client) {
    let marks = ["--memory-spill=off", "--memory-pause=off", "--memory-terminate=off"];
    let grid = Processes::up(&[&[workers, "--memory-limit=64MiB"], &marks[..], more].concat());
    let client = grid.client().await;
    client.deploy(&bundle_bytes("large"), false).await.unwrap();
    (grid, client)
}

async fn workers(client: &Client) -> Vec<WorkerInfo> {
    client.workers().await.unwrap()
}

/// Files of objects of the workers of a grid.
fn files(grid: &Processes) -> Vec<PathBuf> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries(&grid.home().join("grid-scratch-space"));
    folders.flat_map(|folder| entries(&folder.path()).map(|file| file.path())).collect()
}

#[tokio::test]
async fn a_call_reads_more_than_its_sandbox_holds() {
    let grid = Grid::start_with(1, 2, EngineConfig::default()).await;
    grid.deploy("large").await;
    let data = bytes(40 * MIB + 5);
    let value = grid.client.scatter(Raw(data.clone())).await.unwrap();
    let whole = grid.client.submit(digest::call(&value)).await.unwrap();
    assert_eq!(whole.result().await.unwrap(), digest_of(&data), "in 8 MiB");
    let some = grid.client.submit(part::call(&value, 30 * MIB as u64, 100usize)).await.unwrap();
    assert_eq!(some.result().await.unwrap().0, data[30 * MIB..][..100]);
    // What comes with the call is read in the same way.
    let inline = grid.client.submit(digest::call(Raw(data[..9].to_vec()))).await.unwrap();
    assert_eq!(inline.result().await.unwrap(), digest_of(&data[..9]));
    let small = grid.client.scatter(Raw(data[..MIB].to_vec())).await.unwrap();
    let both = grid.client.submit(same::call(&small, &small)).await.unwrap();
    assert!(both.result().await.unwrap());
}

#[tokio::test]
async fn a_call_writes_more_than_its_sandbox_holds() {
    let grid = Grid::start_with(1, 2, EngineConfig::default()).await;
    grid.deploy("large").await;
    let size = 30 * MIB as u64 + 3;
    let written = grid.client.submit(fill::call(1u64, size)).await.unwrap();
    let bytes = written.result().await.unwrap().into_bytes();
    assert_eq!(bytes.len() as u64, size);
    let digests = grid.client.submit(digest::call(&written)).await.unwrap();
    assert_eq!(digests.result().await.unwrap(), digest_of(&bytes));
    // A small one is told with the news, like others.
    let small = grid.client.submit(fill::call(1u64, 100u64)).await.unwrap();
    assert_eq!(small.result().await.unwrap().into_bytes(), bytes[..100]);
}

#[tokio::test]
async fn what_is_larger_than_a_workers_memory_is_read_and_written_on_disk() {
    let (grid, client) = small("--workers=2", &["--slots=1"]).await;
    let data = bytes(150 * MIB);
    let file = grid.home().join("data");
    fs::write(&file, &data).unwrap();
    let told = grid.run(&["scatter", file.to_str().unwrap(), "--name=data"]);
    assert!(told.status.success(), "{}", stderr(&told));
    let value = client.dataset("data").get::<Raw>().await.unwrap().remove(0);
    let names: Vec<_> = workers(&client).await.into_iter().map(|worker| worker.name).collect();
    let flipped = client.submit(flip::call(&value).on(&names[0])).await.unwrap();
    let back = client.submit(flip::call(&flipped).on(&names[1])).await.unwrap();
    let calls = names.iter().map(|name| digest::call(&back).on(name).impure());
    let digests = client.map(calls).await.unwrap();
    assert_eq!(client.gather(&digests).await.unwrap(), vec![digest_of(&data); 2]);
    for worker in workers(&client).await {
        let peak = worker.memory.objects_bytes;
        assert!(peak < 64 * MIB as u64, "{peak} bytes in memory");
    }
    let copy = grid.home().join("copy");
    let got = grid.run(&["get", &back.key().to_string(), "-o", copy.to_str().unwrap()]);
    assert!(got.status.success(), "{}{}", stdout(&got), stderr(&got));
    assert!(fs::read(&copy).unwrap() == data);
    // Given, not read, it fits nowhere, and both numbers are said.
    let call = same::call(Raw(Vec::new()), &flipped);
    let refused = failure(client.submit(call).await.unwrap().result().await);
    let (limit_bytes, asked_bytes) = (64 << 20, 150 << 20);
    assert_eq!(refused.kind, FailureKind::OutOfMemory { limit_bytes, asked_bytes });
}

#[tokio::test]
async fn a_result_that_is_too_large_or_not_finished_leaves_nothing() {
    let (grid, client) = small("--workers=1", &["--written-max=80MiB"]).await;
    let most = client.submit(fill::call(1u64, 80u64 << 20)).await.unwrap();
    assert!(most.result().await.is_ok());
    drop(most);
    let more = client.submit(fill::call(1u64, (80u64 << 20) + 1)).await.unwrap();
    let refused = failure(more.result().await);
    assert_eq!(refused.kind, FailureKind::User);
    assert!(refused.message.contains("`--written-max`"), "{refused}");
    assert!(refused.message.contains(&(80 << 20).to_string()), "{refused}");
    let given_up = client.submit(gives_up::call(60usize << 10)).await.unwrap();
    assert_eq!(given_up.result().await.unwrap(), 7);
    let twice = failure(client.submit(two::call()).await.unwrap().result().await);
    assert!(twice.message.contains("one result"), "{twice}");
    let trapped = client.submit(traps::call(70u64 << 20)).await.unwrap();
    assert!(matches!(failure(trapped.result().await).kind, FailureKind::Trap { .. }));
    drop((more, given_up, trapped));
    eventually("nothing is left", async || {
        let memory = workers(&client).await[0].memory;
        files(&grid).is_empty() && memory.spilled_bytes == 0 && memory.objects_bytes == 0
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_input_turns_out_to_be_damaged_runs_again_when_that_was_made_anew() {
    let (grid, client) = small("--workers=1", &[]).await;
    let filled: Future<Written> = client.submit(fill::call(5u64, 90u64 << 20)).await.unwrap();
    let first = client.submit(digest::call(&filled)).await.unwrap().result().await.unwrap();
    let [file] = &files(&grid)[..] else { panic!("not in one file") };
    let file = File::options().write(true).open(file).unwrap();
    // In the midst of it: the call has read a good part before it comes there.
    file.write_all_at(b"damaged", 60 << 20).unwrap();
    let again = client.submit(digest::call(&filled).impure()).await.unwrap();
    assert_eq!(again.result().await.unwrap(), first);
    let story = stdout(&grid.run(&["story", &filled.key().to_string()]));
    assert!(story.contains("does not hold a result"), "{story}");
}

#[tokio::test]
async fn what_an_instance_keeps_of_an_earlier_call_reads_nothing() {
    let grid = Grid::start_with(1, 1, EngineConfig::default()).await;
    grid.deploy("large").await;
    let first = grid.client.submit(keeps::call(Raw(vec![1; 50]))).await.unwrap();
    assert_eq!(first.result().await.unwrap(), 0);
    let second = grid.client.submit(keeps::call(Raw(vec![2; 50]))).await.unwrap();
    let failed = failure(second.result().await);
    assert_eq!(failed.kind, FailureKind::Trap { trap: TrapKind::Other });
    assert!(failed.message.contains("has ended"), "{failed}");
}
