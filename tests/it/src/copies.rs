//! How often the bytes of an argument are copied on their way. Whoever copies bytes has both for a moment:
//! that is seen from the allocator. The sandbox's memory, which it does not know, is told by the task's
//! counters; sealed memory, which it does not know either, by `shared`.

use grid_client::Client;
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_net::Identity;
use grid_sdk::Raw;
use noop::length;
use peak_alloc::PeakAlloc;

use crate::support::{bundle_bytes, counts, eventually};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const SIZE: usize = 40 << 20;
/// Windows of connections, and all else that is going on.
const REST: usize = 12 << 20;

struct Pair {
    client: Client,
    _grid: Embedded,
    _home: tempfile::TempDir,
}

impl Pair {
    /// Two workers, whose objects go over QUIC or through shared memory.
    async fn start(shared_memory: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(home.path()).unwrap();
        let grid = Embedded::start(EmbeddedConfig {
            workers: 2,
            slots: 2,
            state_dir: home.path().join("state"),
            listen: Some((([127, 0, 0, 1], 0).into(), identity)),
            shared_memory,
            ..EmbeddedConfig::default()
        })
        .unwrap();
        let client = grid.client().await.unwrap();
        eventually("all workers connect", async || client.workers().await.unwrap().len() == 2)
            .await;
        client.deploy(&bundle_bytes("noop"), false).await.unwrap();
        // Compiled, and with connections between all.
        let pair = Self { client, _grid: grid, _home: home };
        let small = pair.bring(vec![1; 1 << 10]).await;
        pair.read(&small, "worker-0").await;
        pair.read(&small, "worker-1").await;
        pair
    }

    async fn bring(&self, bytes: Vec<u8>) -> grid_client::Future<Raw> {
        self.client.scattering().to(["worker-0"]).value(Raw(bytes)).await.unwrap()
    }

    async fn read(&self, value: &grid_client::Future<Raw>, worker: &str) -> usize {
        let call = length::call(value).impure().on(worker);
        self.client.submit(call).await.unwrap().result().await.unwrap()
    }
}

/// The most bytes that were there at one time, beyond those that were there before.
async fn peak<T>(work: impl Future<Output = T>) -> (usize, T) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work.await;
    (ALLOCATOR.peak_usage().saturating_sub(before), result)
}

/// It was there once, and something else may have gone meanwhile.
fn is_one(bytes: usize) -> bool {
    (SIZE - (1 << 20)..SIZE + REST).contains(&bytes)
}

#[tokio::test]
async fn between_socket_and_guest_bytes_are_copied_twice_and_between_slots_once() {
    let pair = Pair::start(false).await;
    let bytes = vec![7; SIZE];
    let (brought, value) = peak(pair.bring(bytes)).await;
    assert!(is_one(brought), "off the client's socket: {brought}");
    let (fetched, length) = peak(pair.read(&value, "worker-1")).await;
    assert_eq!(length, SIZE);
    assert!(is_one(fetched), "off a worker's socket: {fetched}");
    let (read, lengths) = peak(async {
        let calls = (0..2).map(|_| length::call(&value).impure().on("worker-1"));
        pair.client.gather(&pair.client.map(calls).await.unwrap()).await.unwrap()
    })
    .await;
    assert_eq!(lengths, [SIZE, SIZE]);
    assert!(read < REST, "both slots read the same: {read}");
    let sandbox = counts(&pair.client, "length").await.peak_memory_bytes;
    let into_sandbox = SIZE as u64..(SIZE + REST) as u64;
    assert!(into_sandbox.contains(&sandbox), "into the sandbox: {sandbox}");
    let (gathered, back) = peak(value.bytes()).await;
    assert!(is_one(gathered), "into the client: {gathered}");
    assert!(back.unwrap().iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn over_shared_memory_bytes_are_copied_into_the_sandbox_alone() {
    let pair = Pair::start(true).await;
    let bytes = vec![8; SIZE];
    let (brought, value) = peak(pair.bring(bytes)).await;
    assert!(brought < REST, "the client's are shared: {brought}");
    for worker in ["worker-0", "worker-1"] {
        let (read, length) = peak(pair.read(&value, worker)).await;
        assert_eq!(length, SIZE);
        assert!(read < REST, "{worker} maps them: {read}");
    }
    let sandbox = counts(&pair.client, "length").await.peak_memory_bytes;
    let into_sandbox = SIZE as u64..(SIZE + REST) as u64;
    assert!(into_sandbox.contains(&sandbox), "into the sandbox: {sandbox}");
    let (gathered, back) = peak(value.bytes()).await;
    assert!(gathered < REST, "the client maps them: {gathered}");
    assert!(back.unwrap().iter().all(|byte| *byte == 8));
    let (owned, _) = peak(value.result()).await;
    assert!(is_one(owned), "unless it wants its own: {owned}");
}
