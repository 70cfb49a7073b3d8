//! Memory that the processes of a host share: objects go from one to the other without being copied.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use grid_client::{Client, ClientOptions};
use grid_net::{Connection, Endpoint, Identity};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{Codec, Key, ObjectMeta, Value};
use grid_sdk::Raw;
use grid_share::Sealed;
use noop::{chunk, length};

use crate::support::{PATIENCE, Processes, bundle_bytes, eventually, signal};

const MIB: usize = 1 << 20;

/// The sealed memories that a process has mapped, by their inodes.
fn mapped(pid: u64) -> BTreeSet<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let ours = maps.lines().filter(|line| line.contains("/memfd:grid "));
    ours.map(|line| line.split_whitespace().nth(4).unwrap().to_owned()).collect()
}

async fn pids(client: &Client) -> Vec<u64> {
    client.workers().await.unwrap().iter().map(|worker| u64::from(worker.pid)).collect()
}

async fn up(args: &[&str]) -> (Processes, Client, Vec<String>) {
    let grid = Processes::up(&[&["--workers=2", "--slots=1"], args].concat());
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let names = client.workers().await.unwrap().into_iter().map(|worker| worker.name).collect();
    (grid, client, names)
}

/// Brings a value to the first worker, reads it on the second, and has it back.
async fn around(client: &Client, names: &[String], size: usize) -> grid_client::Future<Raw> {
    let value = Raw(vec![7; size]);
    let brought = client.scattering().to([&names[0]]).value(value.clone()).await.unwrap();
    let read = client.submit(length::call(&brought).impure().on(names[1].as_str())).await.unwrap();
    assert_eq!(read.result().await.unwrap(), size);
    assert_eq!(brought.result().await.unwrap().0, value.0);
    brought
}

#[tokio::test]
async fn what_is_brought_is_the_same_memory_in_all_processes_until_it_is_released() {
    let (_grid, client, names) = up(&[]).await;
    let brought = around(&client, &names, 8 * MIB).await;
    let pids = pids(&client).await;
    let (one, other) = (mapped(pids[0]), mapped(pids[1]));
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!(one, other, "the same pages");
    // Small ones are not worth it.
    let small = around(&client, &names, 1_000).await;
    assert_eq!(mapped(pids[0]), one);
    drop((brought, small));
    eventually("it goes everywhere", async || pids.iter().all(|pid| mapped(*pid).is_empty())).await;
    let memory = async || {
        let workers = client.workers().await.unwrap();
        workers.iter().map(|worker| worker.memory.objects_bytes).sum::<u64>()
    };
    eventually("nothing is counted any more", async || memory().await == 0).await;
}

#[tokio::test]
async fn a_result_is_shared_as_soon_as_another_process_reads_it() {
    let (_grid, client, names) = up(&[]).await;
    let made = client.submit(chunk::call(4 * MIB).on(names[0].as_str())).await.unwrap();
    client.wait(std::slice::from_ref(&made), grid_client::WaitFor::All, None).await;
    let pids = pids(&client).await;
    assert!(mapped(pids[0]).is_empty());
    let read = client.submit(length::call(&made).impure().on(names[1].as_str())).await.unwrap();
    assert_eq!(read.result().await.unwrap(), 4 * MIB);
    assert_eq!(mapped(pids[0]).len(), 1);
    assert_eq!(mapped(pids[0]), mapped(pids[1]));
    assert_eq!(made.result().await.unwrap().0.len(), 4 * MIB);
}

#[tokio::test]
async fn files_are_shared_too_unless_they_are_large() {
    let (grid, client, names) = up(&[]).await;
    let bytes: Vec<_> = (0..=u8::MAX).cycle().take(4 * MIB).collect();
    let path = grid.home().join("file");
    std::fs::write(&path, &bytes).unwrap();
    let brought = client.scattering().to([&names[0]]).file(File::open(&path).unwrap()).await;
    let brought = brought.unwrap();
    let pids = pids(&client).await;
    assert_eq!(mapped(pids[0]).len(), 1);
    assert_eq!(*brought.bytes().await.unwrap(), bytes);
    // What is larger is not read into memory.
    std::fs::write(&path, vec![3; 65 * MIB]).unwrap();
    let larger = client.scattering().to([&names[0]]).file(File::open(&path).unwrap()).await;
    let larger = larger.unwrap();
    assert_eq!(mapped(pids[0]).len(), 1);
    assert_eq!(larger.bytes().await.unwrap().len(), 65 * MIB);
}

#[tokio::test]
async fn a_client_reads_in_place_what_a_worker_of_its_host_shares() {
    let (grid, client, names) = up(&[]).await;
    let made = client.submit(chunk::call(4 * MIB).on(names[0].as_str())).await.unwrap();
    let bytes = made.bytes().await.unwrap();
    assert!(bytes.is_shared());
    let pids = pids(&client).await;
    assert_eq!(mapped(u64::from(std::process::id())), mapped(pids[0]));
    // It stays though the result is released and its worker is gone.
    drop(made);
    signal("-KILL", pids[0]);
    eventually("the worker is gone", async || self::pids(&client).await != pids).await;
    let expected = (0..=u8::MAX).cycle().take(4 * MIB);
    assert!(bytes.iter().copied().eq(expected));
    // What is small, or comes over the network, is read in the same way.
    let small = client.submit(chunk::call(100)).await.unwrap().bytes().await.unwrap();
    assert!(!small.is_shared() && small.len() == 100);
    drop(grid);
}

#[tokio::test]
async fn either_side_may_do_without() {
    let (grid, client, names) = up(&["--no-shared-memory"]).await;
    around(&client, &names, 8 * MIB).await;
    assert!(pids(&client).await.iter().all(|pid| mapped(*pid).is_empty()));
    drop(grid);
    let (grid, _, names) = up(&[]).await;
    let options = ClientOptions {
        scheduler: grid.address.clone(),
        identity_dir: grid.home().join("identity"),
        timeout: PATIENCE,
        shared_memory: false,
        ..ClientOptions::new("")
    };
    let client = Client::connect_with(&options).await.unwrap();
    client.bundle("noop").await.unwrap();
    let brought = client.scattering().to([&names[0]]).value(Raw(vec![7; MIB])).await.unwrap();
    assert_eq!(brought.result().await.unwrap().0.len(), MIB);
    assert!(pids(&client).await.iter().all(|pid| mapped(*pid).is_empty()));
}

fn large(bytes: Vec<u8>) -> (Key, ObjectMeta) {
    let meta = Value { codec: Codec::Raw, bytes }.meta();
    (Key::of_data(&meta), meta)
}

async fn bring(
    connection: &Connection,
    items: Vec<(Key, ObjectMeta)>,
    memory: Option<&impl AsFd>,
) -> BulkHeader {
    let mut lease = connection.on_host().await.unwrap();
    let request = BulkRequest::Put(items);
    lease.stream().send(&request, memory.map(AsFd::as_fd)).await.unwrap();
    let (header, _) = lease.stream().recv::<BulkHeader>().await.unwrap().unwrap();
    lease.give_back();
    header
}

#[tokio::test]
async fn memory_that_is_not_what_was_said_or_could_change_is_refused() {
    let (grid, client, names) = up(&[]).await;
    let identity = Identity::load_or_create(&grid.home().join("identity")).unwrap();
    let endpoint = Endpoint::quic("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
    let address = client.workers().await.unwrap()[0].address.clone();
    let connection = endpoint.connect(&address, PATIENCE).await.unwrap();
    let (key, meta) = large(vec![1; MIB]);
    let refused = |header: BulkHeader, why: &str| match header {
        BulkHeader::Refused(reason) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    };
    let other = Sealed::copy_of(&vec![2; MIB]).unwrap();
    refused(bring(&connection, vec![(key, meta)], Some(&other)).await, "something else");
    let short = Sealed::copy_of(&vec![1; MIB - 1]).unwrap();
    refused(bring(&connection, vec![(key, meta)], Some(&short)).await, "another size");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![1; MIB]).unwrap();
    refused(bring(&connection, vec![(key, meta)], Some(&file)).await, "cannot be shared");
    refused(bring(&connection, vec![(key, meta)], None::<&File>).await, "with its memory");
    let right = Sealed::copy_of(&vec![1; MIB]).unwrap();
    refused(bring(&connection, vec![(key, meta), (key, meta)], Some(&right)).await, "one object");
    let (foreign, _) = large(vec![3; MIB]);
    refused(bring(&connection, vec![(foreign, meta)], Some(&right)).await, "is not the key");
    assert!(mapped(pids(&client).await[0]).is_empty(), "nothing of it stays");
    around(&client, &names, MIB).await;
    connection.close("done");
    endpoint.close().await;
}
