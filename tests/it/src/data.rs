//! Data that programs and people bring: scattered, found, copied, moved, read back, and lost.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use grid_client::{ClientError, ClientOptions};
use grid_proto::message::Refusal;
use grid_proto::{FailureKind, Key};
use grid_sdk::Raw;
use hello::add;
use noop::length;

use crate::support::{
    Grid, Processes, bundle_bytes, eventually, failure, grid, signal, stderr, stdout,
};

const MIB: usize = 1 << 20;

/// Bytes of which no part repeats soon.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn raw(seed: u8, length: usize) -> Raw {
    Raw(bytes(seed, length))
}

#[tokio::test]
async fn values_lists_and_maps_come_back_in_the_same_shape_and_are_arguments() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let client = &grid.client;
    let value = client.scatter(40i64).await.unwrap();
    assert_eq!(value.result().await.unwrap(), 40);
    let sum = client.submit(add::call(&value, 2)).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 42);
    let list = client.scatter_all(0..2_500i64).await.unwrap();
    assert_eq!(client.gather(&list).await.unwrap(), (0..2_500).collect::<Vec<_>>());
    let map = BTreeMap::from([("one", 1i64), ("two", 2)]);
    let map = client.scattering().map(map).await.unwrap();
    assert_eq!(map["two"].result().await.unwrap(), 2);
    let nothing = client.scatter_all(Vec::<i64>::new()).await.unwrap();
    assert!(nothing.is_empty());
    let keys: Vec<_> = list.iter().map(grid_client::Future::key).collect();
    assert!(client.scatter(7i64).await.unwrap().key() == keys[7], "equal values are one");
    let holdings = client.has_what(None, 0).await.unwrap();
    let objects: Vec<_> = holdings.iter().map(|holding| holding.objects).collect();
    // 2,500 numbers, 40 among them, in equal shares; and a sum.
    assert_eq!(objects.iter().sum::<u64>(), 2_501, "{holdings:?}");
    assert!(objects.iter().all(|objects| (1_240..1_270).contains(objects)), "{objects:?}");
    drop((value, sum, list, map));
    eventually("what nobody wants is freed", async || {
        client.has_what(None, 0).await.unwrap().iter().all(|holding| holding.objects == 0)
    })
    .await;
}

#[tokio::test]
async fn large_values_go_to_named_workers_travel_once_and_stay_where_they_were_asked_for() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let names: Vec<_> =
        client.workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
    let value = client.scattering().to([&names[1]]).value(raw(1, 8 * MIB)).await.unwrap();
    let found = client.who_has(&[value.key()]).await.unwrap();
    assert_eq!((found[0].size_bytes, &found[0].workers), (Some(8 << 20), &vec![names[1].clone()]));
    // Many calls on both workers: a copy each, not one a call.
    let calls = (0..20).map(|_| length::call(&value).impure());
    let lengths = client.map(calls).await.unwrap();
    assert_eq!(client.gather(&lengths).await.unwrap(), vec![8 * MIB; 20]);
    assert_eq!(client.replicate(&[value.key()], 2).await.unwrap(), [2]);
    let moved_in = |holdings: &[grid_proto::data::Holding]| {
        holdings.iter().all(|holding| holding.bytes >= 8 << 20)
    };
    assert!(moved_in(&client.has_what(None, 5).await.unwrap()));
    assert_eq!(client.nbytes(&[value.key(), Key([1; 32])]).await.unwrap(), [Some(8 << 20), None]);
    // A worker dies: the copy that is left suffices, and another is made.
    signal("-KILL", grid.worker_pids[0]);
    assert_eq!(value.result().await.unwrap(), raw(1, 8 * MIB));
    eventually("it is noticed, and there are two copies again", async || {
        let workers = client.workers().await.unwrap();
        let noticed = workers.iter().all(|worker| u64::from(worker.pid) != grid.worker_pids[0]);
        noticed && client.who_has(&[value.key()]).await.unwrap()[0].workers.len() == 2
    })
    .await;
    let refused = client.replicate(&[value.key()], 0).await;
    assert!(matches!(refused, Err(ClientError::Refused(Refusal::BadSubmission { .. }))));
    let everywhere = client.scattering().broadcast().value(raw(2, MIB)).await.unwrap();
    assert_eq!(client.who_has(&[everywhere.key()]).await.unwrap()[0].workers.len(), 2);
}

#[tokio::test]
async fn data_whose_workers_are_gone_is_lost_told_at_once_and_brought_again() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let value = client.scatter(raw(3, MIB)).await.unwrap();
    assert_eq!(value.result().await.unwrap().0.len(), MIB);
    let started = Instant::now();
    signal("-KILL", grid.worker_pids[0]);
    // Whether the call is submitted before or after the death is noticed.
    let call = client.submit(length::call(&value)).await.unwrap();
    let lost = failure(call.result().await);
    assert_eq!(lost.kind, FailureKind::LostData);
    assert!(lost.message.contains("scatter it again"), "{}", lost.message);
    assert_eq!(failure(value.result().await).kind, FailureKind::LostData);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let again = client.scatter(raw(3, MIB)).await.unwrap();
    assert_eq!(again.key(), value.key());
    assert_eq!(value.result().await.unwrap().0.len(), MIB);
    let length = client.submit(length::call(&value).impure()).await.unwrap();
    assert_eq!(length.result().await.unwrap(), MIB);
}

#[tokio::test]
async fn without_workers_a_scatter_waits_and_then_says_so() {
    let grid = Processes::up(&["--workers=0"]);
    let client = grid.client().await;
    let started = Instant::now();
    let scattering = client.scattering().timeout(Duration::from_millis(300));
    let refused = scattering.value(1i64).await.unwrap_err();
    assert!(refused.to_string().contains("no worker is connected"), "{refused}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let file = grid.home().join("data");
    std::fs::write(&file, b"1").unwrap();
    let told = grid.run(&["scatter", file.to_str().unwrap(), "--timeout=0.2"]);
    assert_eq!(told.status.code(), Some(4), "{}", stderr(&told));
    assert!(stderr(&told).contains("no worker is connected"), "{}", stderr(&told));
}

#[tokio::test]
async fn results_come_from_all_workers_in_order_and_more_than_is_wanted_is_refused() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let sizes = || (0..40).map(|number| 300_000 + number * 7);
    let chunks = client.map(sizes().map(noop::chunk::call)).await.unwrap();
    let came = client.gather(&chunks).await.unwrap();
    assert!(came.iter().map(|chunk| chunk.0.len()).eq(sizes()));
    assert_eq!(client.gather_skip(&chunks).await.unwrap(), came);
    let small = ClientOptions {
        scheduler: grid.address.clone(),
        identity_dir: grid.home().join("identity"),
        gather_bytes_max: 1_000_000,
        ..ClientOptions::new("")
    };
    let small = grid_client::Client::connect_with(&small).await.unwrap();
    let chunks = small.map(sizes().map(noop::chunk::call)).await.unwrap();
    small.wait(&chunks, grid_client::WaitFor::All, None).await;
    let refused = small.gather(&chunks).await.unwrap_err();
    assert!(matches!(refused, ClientError::TooLarge(_)), "{refused}");
    assert!(refused.to_string().contains("write them from the tasks"), "{refused}");
    let one = small.submit(noop::chunk::call(1_000_001usize)).await.unwrap();
    assert!(matches!(one.value().await, Err(ClientError::TooLarge(_))));
    let file = grid.home().join("saved");
    assert_eq!(one.save(&file).await.unwrap(), 1_000_001, "a file is no matter of memory");
    assert_eq!(small.gather(&chunks[..3]).await.unwrap(), came[..3]);
}

#[tokio::test]
async fn a_rebalance_moves_half_to_an_empty_worker() {
    let embedded = Grid::start(2, 1).await;
    let client = &embedded.client;
    let names: Vec<_> =
        client.workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
    let values = (0..20).map(|seed| raw(seed, 100_000));
    let values = client.scattering().to([&names[0]]).list(values).await.unwrap();
    let keys: Vec<_> = values.iter().map(grid_client::Future::key).collect();
    // Otherwise they were asked to be there.
    client.replicate(&keys, 1).await.unwrap();
    let moved = client.rebalance(&keys).await.unwrap();
    assert_eq!((moved.objects, moved.bytes), (10, 1_000_000));
    let holdings = client.has_what(None, 0).await.unwrap();
    assert!(holdings.iter().all(|holding| holding.objects == 10), "{holdings:?}");
    for (seed, value) in (0..).zip(&values) {
        assert_eq!(value.result().await.unwrap(), raw(seed, 100_000));
    }
}

#[tokio::test]
async fn files_and_pipes_are_scattered_read_by_calls_and_written_back() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let content = bytes(9, 5 * MIB + 17);
    let file = grid.home().join("table.bin");
    std::fs::write(&file, &content).unwrap();
    let told = grid.run(&["scatter", file.to_str().unwrap(), "--copies=2"]);
    assert!(told.status.success(), "{}", stderr(&told));
    assert!(stderr(&told).contains("dataset `table.bin`"), "{}", stderr(&told));
    let key = stdout(&told).trim().to_owned();
    let length = grid.run(&["run", "noop", "length", "@dataset:table.bin"]);
    assert_eq!(stdout(&length).trim(), content.len().to_string(), "{}", stderr(&length));
    let length = grid.run(&["run", "noop", "length", &format!("@key:{}", &key[..8])]);
    assert_eq!(stdout(&length).trim(), content.len().to_string(), "{}", stderr(&length));
    let back = grid.home().join("back.bin");
    let got = grid.run(&["get", &key[..10], "-o", back.to_str().unwrap()]);
    assert!(got.status.success(), "{}", stderr(&got));
    assert!(std::fs::read(&back).unwrap() == content);
    let got = grid.run(&["get", "table.bin", "-o", "-"]);
    assert!(got.stdout == content, "{}", stderr(&got));
    let whereabouts = stdout(&grid.run(&["who-has", &key[..10]]));
    assert!(whereabouts.contains("5.0 MiB") && whereabouts.contains(&key[..8]), "{whereabouts}");
    let held = stdout(&grid.run(&["has-what"]));
    assert!(held.contains("data") && held.contains("1 objects"), "{held}");
    let again = grid.run(&["scatter", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(4), "{}", stderr(&again));
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
    // The same bytes through a pipe are the same data.
    let mut piped = self::grid(grid.home(), &["scatter", "-", "--name=piped"])
        .env("GRID_SCHEDULER", &grid.address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(&content).unwrap();
    let piped = piped.wait_with_output().unwrap();
    assert_eq!(stdout(&piped).trim(), key);
    for (name, objects) in [("piped", 1), ("table.bin", 0)] {
        assert!(grid.run(&["dataset", "unpublish", name]).status.success());
        eventually("it stays while a name has it", async || {
            let holdings = client.has_what(None, 0).await.unwrap();
            holdings.iter().all(|holding| holding.objects == objects)
        })
        .await;
    }
}

#[test]
fn what_cannot_be_scattered_or_got_says_why() {
    let grid = Processes::up(&["--workers=1"]);
    let home = grid.home().to_owned();
    let refused = |args: &[&str], code: i32, words: &str| {
        let told = grid.run(args);
        assert_eq!(told.status.code(), Some(code), "{args:?}: {}", stderr(&told));
        assert!(stderr(&told).contains(words), "{args:?}: {}", stderr(&told));
    };
    refused(&["scatter", "no-such-file"], 6, "cannot read `no-such-file`");
    refused(&["scatter", home.to_str().unwrap()], 6, "it is no file");
    refused(&["scatter", "-"], 2, "--name");
    let file = home.join("data");
    std::fs::write(&file, b"some bytes").unwrap();
    let file = file.to_str().unwrap();
    refused(&["scatter", file, "--copies=0"], 2, "no copies");
    refused(&["scatter", file, "--on=mars", "--timeout=0.2"], 4, "mars");
    refused(&["get", "nothing"], 4, "nothing");
    refused(&["who-has", "abcdef"], 4, "abcdef");
    refused(&["has-what", "mars"], 4, "mars");
    refused(&["replicate", "abcdef", "-n", "2"], 4, "abcdef");
    assert!(grid.run(&["scatter", file]).status.success());
    let nowhere = home.join("no-such-directory/file");
    refused(&["get", "data", "-o", nowhere.to_str().unwrap()], 6, "cannot be written");
}
