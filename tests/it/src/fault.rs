//! A scheduler whose own state is wrong: a mistake that tests can put into its machine.

use grid_client::ClientError;
use grid_embedded::{Embedded, EmbeddedConfig};
use grid_scheduler::{Config, Mutation};
use hello::inc;
use serde_json::Value;

use crate::support::{Processes, bundle_bytes, eventually, runs, signal};

#[tokio::test]
async fn a_contradiction_stops_a_whole_grid_with_a_dump_and_no_client_hangs() {
    let state = tempfile::tempdir().unwrap();
    // A result that is there is still counted as missing by its readers.
    let mutation = Some(Mutation::MissingNotCountedDown);
    let mut grid = Embedded::start(EmbeddedConfig {
        state_dir: state.path().to_owned(),
        scheduler: Config { mutation, checked_per_turn: 256, ..Config::default() },
        ..EmbeddedConfig::default()
    })
    .unwrap();
    let client = grid.client().await.unwrap();
    client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    let reader = client.submit(inc::call(inc::call(1))).await.unwrap();
    let lost = reader.result().await;
    let Err(ClientError::Net(why)) = &lost else { panic!("{lost:?}") };
    assert!(why.contains("its own state was wrong; its log names a dump"), "{why}");
    let error = grid.broken().await.to_string();
    let key = reader.key();
    assert!(error.contains(&format!("call {} (waiting): missing inputs", key.short())), "{error}");
    let dump = std::fs::read_dir(state.path().join("dumps")).unwrap().next().unwrap().unwrap();
    assert!(error.contains(dump.path().to_str().unwrap()), "{error}");
    let dump: Value = serde_json::from_slice(&std::fs::read(dump.path()).unwrap()).unwrap();
    let calls = dump["machine"]["calls"].as_array().unwrap();
    let states: Vec<_> = calls.iter().map(|call| call["state"].as_str().unwrap()).collect();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(states.contains(&"waiting") && states.contains(&"memory"), "{states:?}");
}

#[tokio::test]
async fn a_scheduler_that_ends_takes_its_grid_along_and_the_code_says_so() {
    let mut grid = Processes::up(&["--workers=2"]);
    signal("-KILL", grid.scheduler_pid);
    let ended = grid.up.wait().unwrap();
    assert_eq!(ended.code(), Some(6));
    let workers = grid.worker_pids.clone();
    eventually("the workers end", async || !workers.iter().any(|pid| runs(*pid))).await;
}
