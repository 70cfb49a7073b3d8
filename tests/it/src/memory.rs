//! More than memory has room for: spilling, pausing, and the end of a worker that holds too much.

use std::path::Path;

use grid_client::{Client, Future};
use grid_proto::report::WorkerInfo;
use hello::add;
use noop::{chunk, length};

use crate::support::{Processes, eventually, runs, stdout};

const MIB: usize = 1 << 20;

/// One worker that spills what it counts, and does not look at its process, which alone holds half of
/// limits as small as tests like them.
fn spilling(limit: &str) -> [&str; 5] {
    ["--workers=1", limit, "--memory-spill=off", "--memory-pause=off", "--memory-terminate=off"]
}

async fn worker(client: &Client) -> WorkerInfo {
    client.workers().await.unwrap().remove(0)
}

/// Files of objects below a directory of spilled objects.
fn spilled_files(directory: &Path) -> usize {
    let folders = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok());
    files.map(Iterator::count).sum()
}

/// So many results of 2 MiB and a bit, all different.
async fn results(client: &Client, count: usize) -> Vec<Future<grid_sdk::Raw>> {
    let calls = (0..count).map(|number| chunk::call(2 * MIB + number));
    client.map(calls).await.unwrap()
}

async fn all_end(client: &Client, futures: &[Future<grid_sdk::Raw>]) {
    let waited = client.wait(futures, grid_client::WaitFor::All, None).await;
    assert!(waited.not_done.is_empty());
}

#[tokio::test]
async fn results_that_memory_has_no_room_for_are_on_disk_and_still_of_use() {
    let grid = Processes::up(&spilling("--memory-limit=64MiB"));
    let client = grid.client().await;
    client.deploy(&crate::support::bundle_bytes("noop"), false).await.unwrap();
    let chunks = results(&client, 60).await;
    all_end(&client, &chunks).await;
    let target = 64 * MIB as u64 * 6 / 10;
    eventually("memory is below its target", async || {
        let memory = worker(&client).await.memory;
        memory.spilled > 30 && memory.objects_bytes <= target
    })
    .await;
    let directory = grid.home().join("grid-scratch-space");
    assert!(spilled_files(&directory) > 30);
    let listed = stdout(&grid.run(&["workers"]));
    assert!(listed.contains("SPILLED") && listed.contains(" of 64.0 MiB"), "{listed}");
    // As an argument, and as a result that is sent from its file.
    let lengths = client.map(chunks.iter().map(length::call)).await.unwrap();
    for (number, of) in lengths.iter().enumerate() {
        assert_eq!(of.result().await.unwrap(), 2 * MIB + number);
    }
    for (number, chunk) in chunks.iter().enumerate().take(20) {
        let bytes = chunk.result().await.unwrap().0;
        assert!(bytes.len() == 2 * MIB + number && bytes[1_000] == (1_000 % 256) as u8);
    }
    drop((chunks, lengths));
    eventually("released objects leave no files", async || spilled_files(&directory) == 0).await;
    eventually("and nothing in memory", async || worker(&client).await.objects == 0).await;
    drop(client);
    let home = grid.stop();
    let directory = home.path().join("grid-scratch-space");
    eventually("a worker that stops leaves nothing", async || !directory.exists()).await;
}

#[tokio::test]
async fn a_file_that_is_damaged_costs_its_result_a_computation_and_nobody_a_wrong_byte() {
    let grid = Processes::up(&spilling("--memory-limit=32MiB"));
    let client = grid.client().await;
    client.deploy(&crate::support::bundle_bytes("noop"), false).await.unwrap();
    let chunks = results(&client, 20).await;
    all_end(&client, &chunks).await;
    let directory = grid.home().join("grid-scratch-space");
    eventually("some are on disk", async || worker(&client).await.memory.spilled > 10).await;
    for folder in std::fs::read_dir(&directory).unwrap().flatten() {
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let mut bytes = std::fs::read(file.path()).unwrap_or_default();
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                let _ = std::fs::write(file.path(), bytes);
            }
        }
    }
    let lengths = client.map(chunks.iter().map(length::call)).await.unwrap();
    for (number, of) in lengths.iter().enumerate() {
        assert_eq!(of.result().await.unwrap(), 2 * MIB + number);
    }
    for (number, chunk) in chunks.iter().enumerate() {
        let bytes = chunk.result().await.unwrap().0;
        let right = (0..=u8::MAX).cycle().take(2 * MIB + number);
        assert!(bytes.into_iter().eq(right), "{number}");
    }
}

#[tokio::test]
async fn a_worker_whose_memory_is_full_pauses_says_so_and_resumes() {
    // Nothing can be spilled.
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), b"").unwrap();
    let args = [
        "--workers=1",
        "--memory-limit=64MiB",
        "--memory-spill=off",
        "--memory-terminate=off",
        "--local-directory=file",
    ];
    let grid = Processes::up_in(home, &args);
    let client = grid.client().await;
    for bundle in ["noop", "hello"] {
        client.deploy(&crate::support::bundle_bytes(bundle), false).await.unwrap();
    }
    let chunks = results(&client, 60).await;
    eventually("it pauses", async || worker(&client).await.paused).await;
    assert!(stdout(&grid.run(&["workers"])).contains("paused"));
    let later = client.submit(add::call(1, 2)).await.unwrap();
    crate::parts::explained(&client, later.key(), "paused because their memory is nearly full")
        .await;
    // Results are served all the same.
    let first = client.as_completed(chunks.iter().take(1).cloned()).next().await.unwrap();
    assert_eq!(first.result().await.unwrap().0.len(), 2 * MIB);
    drop((first, chunks));
    assert_eq!(later.result().await.unwrap(), 3);
    assert!(!worker(&client).await.paused);
}

#[tokio::test]
async fn a_worker_process_above_its_last_mark_is_replaced_under_its_name() {
    let args = [
        "--workers=2",
        "--memory-limit=1GiB",
        "--memory-target=off",
        "--memory-spill=off",
        "--memory-pause=off",
        // Any process is above that as soon as it holds some results.
        "--memory-terminate=0.2",
    ];
    let grid = Processes::up(&args);
    let client = grid.client().await;
    client.deploy(&crate::support::bundle_bytes("noop"), false).await.unwrap();
    let chunks = results(&client, 300).await;
    let old = grid.worker_pids.clone();
    eventually("one is ended", async || old.iter().any(|pid| !runs(*pid))).await;
    drop(chunks);
    eventually("its successor has its name", async || {
        let workers = client.workers().await.unwrap();
        let names: Vec<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
        let anew = workers.iter().any(|worker| !old.contains(&u64::from(worker.pid)));
        names == ["worker-0", "worker-1"] && anew || {
            let mut names = names;
            names.sort_unstable();
            names == ["worker-0", "worker-1"] && anew
        }
    })
    .await;
    let sum = client.submit(length::call(chunk::call(10))).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 10);
}
