//! What the tests share: bundles, grids in one process, polling.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use grid_client::{Client, Future, RawCall};
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_proto::report::BundleInfo;
use grid_proto::{Arg, CallOptions, Codec, Value};
use serde::Serialize;

/// How long a state may take to come about, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The directory of built bundles.
pub(crate) fn bundles_dir() -> PathBuf {
    std::env::var_os("GRID_BUNDLES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bundles")),
        PathBuf::from,
    )
}

/// The bytes of a bundle that `cargo xtask guests` built.
pub(crate) fn bundle_bytes(name: &str) -> Vec<u8> {
    let path = bundles_dir().join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display()))
}

/// A grid in this process, with a client and a directory that goes with it.
pub(crate) struct Grid {
    pub(crate) client: Client,
    pub(crate) embedded: Embedded,
    pub(crate) _state: tempfile::TempDir,
}

impl Grid {
    pub(crate) async fn start(workers: usize, slots: usize) -> Self {
        let state = tempfile::tempdir().unwrap();
        let embedded = Embedded::start(EmbeddedConfig {
            workers,
            slots,
            state_dir: state.path().to_owned(),
            ..EmbeddedConfig::default()
        })
        .unwrap();
        let client = embedded.client().await.unwrap();
        Self { client, embedded, _state: state }
    }

    pub(crate) async fn deploy(&self, name: &str) -> BundleInfo {
        self.client.deploy(&bundle_bytes(name), false).await.unwrap().info
    }
}

/// A call by name, pure or not, with MessagePack arguments.
pub(crate) fn call(bundle: &BundleInfo, task: &str, args: Vec<Arg>) -> RawCall {
    let (_, described) = bundle.description.task(task).unwrap();
    RawCall {
        bundle: bundle.hash,
        task: task.to_owned(),
        pure: described.pure,
        args,
        options: CallOptions::default(),
    }
}

pub(crate) fn value(value: impl Serialize) -> Arg {
    let bytes = rmp_serde::to_vec_named(&value).unwrap();
    Arg::Value(Value { codec: Codec::Msgpack, bytes })
}

pub(crate) async fn submit(client: &Client, call: RawCall) -> Future<grid_sdk::Value> {
    client.submit_raw([call]).await.unwrap().remove(0)
}

/// Asks until the answer is yes.
pub(crate) async fn eventually<F: std::future::Future<Output = bool>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) {
    let started = Instant::now();
    while !ask().await {
        assert!(started.elapsed() < PATIENCE, "never came about: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
