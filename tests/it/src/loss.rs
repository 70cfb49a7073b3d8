//! Workers that die: nothing is lost.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use grid_client::{Client, ClientError, ClientOptions};
use grid_sdk::Call;
use hello::{add, inc};
use noop::{chunk, length, spin};

use crate::support::{PATIENCE, Processes, bundle_bytes, eventually, grid, runs, signal};

/// Too much to travel with the news.
const BIG: usize = 1 << 20;
/// After that time a connection to a dead peer ends by itself.
const SILENCE: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_worker_killed_in_the_middle_costs_time_and_no_result() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    // Results that only one worker has, and work on both.
    let leaves = client.map((0..200).map(inc::call)).await.unwrap();
    client.gather(&leaves).await.unwrap();
    let busy = client.map((0..40u64).map(|n| spin::call(20_000_000 + n))).await.unwrap();
    eventually("both execute", async || {
        client.workers().await.unwrap().iter().all(|worker| worker.executing == 1)
    })
    .await;
    signal("-KILL", grid.worker_pids[0]);
    let mut level: Vec<Call<i64>> =
        leaves.chunks(2).map(|pair| add::call(&pair[0], &pair[1])).collect();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => add::call(a, b),
                _ => pair[0].clone(),
            })
            .collect();
    }
    let total = client.submit(level.remove(0)).await.unwrap();
    assert_eq!(total.result().await.unwrap(), (1..=200).sum::<i64>());
    for (n, future) in busy.iter().enumerate() {
        assert_eq!(future.result().await.unwrap(), spin(20_000_000 + n as u64));
    }
    eventually("another worker takes its place", async || {
        client.workers().await.unwrap().len() == 2
    })
    .await;
    for leaf in &leaves {
        leaf.result().await.unwrap();
    }
}

/// A dead peer answers nothing, and its connection ends only after seconds of silence: whoever
/// waits for it must be told.
#[tokio::test]
async fn what_a_killed_worker_held_comes_from_elsewhere_at_once() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let big = client.map((0..8usize).map(|n| chunk::call(BIG + n))).await.unwrap();
    let small = client.map((0..100).map(|n| add::call(n, 1))).await.unwrap();
    // Both workers and this client have connections to both workers.
    let sums = client.map((0..50).map(|n| add::call(&small[n], &small[n + 50]))).await.unwrap();
    client.gather(&sums).await.unwrap();
    client.gather(&big).await.unwrap();
    signal("-KILL", grid.worker_pids[0]);
    let started = Instant::now();
    let sums = client.map((0..50).map(|n| add::call(&small[99 - n], &small[n]))).await.unwrap();
    let lengths = client.map(big.iter().map(length::call)).await.unwrap();
    for sum in client.gather(&sums).await.unwrap() {
        assert_eq!(sum, 101);
    }
    for (n, (length, big)) in lengths.iter().zip(&big).enumerate() {
        assert_eq!(length.result().await.unwrap(), BIG + n);
        assert_eq!(big.result().await.unwrap().len(), BIG + n);
    }
    let took = started.elapsed();
    assert!(took < SILENCE, "took {took:?}, as if nobody had said that the worker is dead");
}

#[tokio::test]
async fn an_interrupt_stops_every_process() {
    let mut grid = Processes::up(&["--workers=2"]);
    let pids = grid.all_pids();
    assert!(pids.iter().all(|pid| runs(*pid)));
    signal("-INT", u64::from(grid.up.id()));
    assert!(grid.up.wait().unwrap().success());
    assert!(!pids.iter().any(|pid| runs(*pid)));
}

#[tokio::test]
async fn the_processes_of_a_grid_end_with_the_one_that_started_them() {
    let mut grid = Processes::up(&["--workers=2"]);
    let pids = grid.all_pids();
    signal("-KILL", u64::from(grid.up.id()));
    grid.up.wait().unwrap();
    eventually("they end", async || !pids.iter().any(|pid| runs(*pid))).await;
}

/// A scheduler process that listens.
fn scheduler(home: &std::path::Path, listen: &str) -> (Child, String) {
    let mut child =
        grid(home, &["scheduler", "--listen", listen]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().rsplit(' ').next().unwrap().to_owned())
}

#[tokio::test]
async fn workers_outlive_a_scheduler_and_come_back_to_its_successor() {
    let home = tempfile::tempdir().unwrap();
    let (mut first, address) = scheduler(home.path(), "127.0.0.1:0");
    let mut worker =
        grid(home.path(), &["worker", "--no-supervisor", "--name=w", "--scheduler", &address])
            .spawn()
            .unwrap();
    let options = ClientOptions {
        scheduler: address.clone(),
        identity_dir: home.path().join("identity"),
        timeout: PATIENCE,
        ..ClientOptions::new("")
    };
    let client = Client::connect_with(&options).await.unwrap();
    client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    let before = client.submit(inc::call(1)).await.unwrap();
    assert_eq!(before.result().await.unwrap(), 2);
    first.kill().unwrap();
    first.wait().unwrap();
    let waiting = client.submit(inc::call(2)).await;
    // Whoever waits is told, and never hangs.
    if let Ok(future) = waiting {
        assert!(matches!(future.result().await, Err(ClientError::Net(_))));
    }

    let (mut second, _) = scheduler(home.path(), &address);
    let client = Client::connect_with(&options).await.unwrap();
    let after = client.submit(inc::call(3)).await.unwrap();
    assert_eq!(after.result().await.unwrap(), 4);
    let workers = client.workers().await.unwrap();
    assert_eq!(u64::from(workers[0].pid), u64::from(worker.id()));
    signal("-TERM", u64::from(worker.id()));
    assert!(worker.wait().unwrap().success());
    eventually("a worker that leaves is gone at once", async || {
        client.workers().await.unwrap().is_empty()
    })
    .await;
    second.kill().unwrap();
    second.wait().unwrap();
}

/// A worker with a process of its own that watches it, of a grid that has no other.
fn alone(grid_up: &Processes, args: &[&str]) -> Child {
    grid(grid_up.home(), &["worker", "--name=alone", "--slots=1"])
        .args(["--scheduler", &grid_up.address])
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The process of the only worker, once it is another than that.
async fn pid_other_than(client: &Client, old: u64) -> u64 {
    let pid = async || client.workers().await.unwrap().first().map(|one| u64::from(one.pid));
    eventually("a worker is there", async || pid().await.is_some_and(|pid| pid != old)).await;
    pid().await.unwrap()
}

#[tokio::test]
async fn a_worker_alone_is_started_anew_under_its_name_and_leaves_with_whoever_watches_it() {
    let grid = Processes::up(&["--workers=0"]);
    let client = grid.client().await;
    let mut watcher = alone(&grid, &[]);
    let first = pid_other_than(&client, 0).await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    assert_ne!(first, u64::from(watcher.id()));
    signal("-KILL", first);
    let second = pid_other_than(&client, first).await;
    let call = length::call(chunk::call(9)).on("alone");
    assert_eq!(client.submit(call).await.unwrap().result().await.unwrap(), 9);
    // Orderly, and together.
    signal("-TERM", u64::from(watcher.id()));
    let told = watcher.wait_with_output();
    let told = String::from_utf8(told.unwrap().stderr).unwrap();
    assert!(
        told.contains("alone: its process ended: signal: 9") && told.contains("anew"),
        "{told}"
    );
    eventually("both are gone", async || !runs(second)).await;
    assert!(client.workers().await.unwrap().is_empty());
    // However the watcher ends.
    watcher = alone(&grid, &[]);
    let third = pid_other_than(&client, second).await;
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    eventually("the worker is gone with it", async || !runs(third)).await;
}

#[tokio::test]
async fn a_worker_alone_that_holds_too_much_is_ended_and_its_calls_deaths_say_why() {
    let grid = Processes::up(&["--workers=0"]);
    let client = grid.client().await;
    let off = ["--memory-target=off", "--memory-spill=off", "--memory-pause=off"];
    let limits = ["--memory-limit=1GiB", "--memory-terminate=0.2"];
    let mut watcher = alone(&grid, &[&off[..], &limits].concat());
    let first = pid_other_than(&client, 0).await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let chunks = client.map((0..300).map(|n| chunk::call(2 * BIG + n))).await.unwrap();
    eventually("it is ended", async || !runs(first)).await;
    drop(chunks);
    pid_other_than(&client, first).await;
    signal("-INT", u64::from(watcher.id()));
    let mut told = String::new();
    std::io::Read::read_to_string(&mut watcher.stderr.take().unwrap(), &mut told).unwrap();
    assert!(watcher.wait().unwrap().success());
    assert!(told.contains("above the mark of 0.2"), "{told}");
}

#[tokio::test]
async fn a_successor_that_finds_no_grid_tries_again() {
    let home = tempfile::tempdir().unwrap();
    let (mut first, address) = scheduler(home.path(), "127.0.0.1:0");
    let args =
        ["worker", "--name=w", "--slots=1", "--connect-timeout=0.3", "--scheduler", &address];
    let mut watcher = grid(home.path(), &args).stderr(Stdio::piped()).spawn().unwrap();
    let options = ClientOptions {
        scheduler: address.clone(),
        identity_dir: home.path().join("identity"),
        timeout: PATIENCE,
        ..ClientOptions::new("")
    };
    let client = Client::connect_with(&options).await.unwrap();
    let worker = pid_other_than(&client, 0).await;
    first.kill().unwrap();
    first.wait().unwrap();
    signal("-KILL", worker);
    let mut told = BufReader::new(watcher.stderr.take().unwrap()).lines();
    assert!(told.any(|line| line.unwrap().contains("exit status: 5; starting it anew")));
    let (mut second, _) = scheduler(home.path(), &address);
    let client = Client::connect_with(&options).await.unwrap();
    pid_other_than(&client, worker).await;
    signal("-TERM", u64::from(watcher.id()));
    assert!(watcher.wait().unwrap().success());
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_worker_that_says_that_it_cannot_work_is_not_started_anew() {
    let home = tempfile::tempdir().unwrap();
    let args = ["worker", "--name=w", "--scheduler=127.0.0.1:1", "--connect-timeout=0.3"];
    let ended = grid(home.path(), &args).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(ended.status.code(), Some(5));
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(!told.contains("anew"), "{told}");
}
