//! A call's own directory: empty, private, bounded, and gone.

use std::fs;
use std::path::{Path, PathBuf};

use grid_client::Client;
use grid_proto::FailureKind;
use odd::scratch::*;

use crate::support::{Processes, bundle_bytes, failure};

const KIB: usize = 1 << 10;

/// A stream of the C library knows one error; making a file tells more.
fn is_over(why: &str) -> bool {
    why.contains("quota") || why.contains("i/o error")
}

async fn up(args: &[&str]) -> (Processes, Client) {
    let grid = Processes::up(&[&["--workers=1", "--slots=2"], args].concat());
    let client = grid.client().await;
    client.deploy(&bundle_bytes("odd"), false).await.unwrap();
    (grid, client)
}

/// Directories of calls.
fn left(grid: &Processes) -> Vec<PathBuf> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let folders = entries(&grid.home().join("grid-scratch-space"));
    let all = folders.flat_map(|folder| entries(&folder.path()).map(|entry| entry.path()));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "scratch")).collect()
}

#[tokio::test]
async fn it_is_empty_at_the_beginning_and_gone_at_the_end() {
    let (grid, client) = up(&[]).await;
    let calls = (0..20).map(|number| scratch_begin::call(format!("file-{number}")));
    let begun = client.map(calls).await.unwrap();
    let found = client.gather(&begun).await.unwrap();
    assert!(found.iter().all(Vec::is_empty), "{found:?}");
    assert_eq!(left(&grid), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_is_written_there_is_bounded_however_it_is_written() {
    let (grid, client) = up(&[]).await;
    for (piece, remove, most) in [
        (100 * KIB, false, 10),
        // What is removed counts on, as an open file may hold it.
        (100 * KIB, true, 10),
        // A file costs more than its byte.
        (1, false, 256),
    ] {
        let fill = client.submit(scratch_fill::call(piece, remove)).await.unwrap();
        let (taken, why) = fill.result().await.unwrap();
        assert!(is_over(&why), "{piece}: {why}");
        assert!(taken <= most * piece && taken >= most * piece * 9 / 10, "{taken} of {piece}");
    }
    let append = client.submit(scratch_append::call(10 * KIB)).await.unwrap();
    let (length, why) = append.result().await.unwrap();
    assert!(is_over(&why), "{why}");
    assert!((900 * KIB as u64..=1_024 * KIB as u64).contains(&length), "{length}");
    let hole = client.submit(scratch_hole::call(1u64 << 40)).await.unwrap();
    assert_eq!(hole.result().await.unwrap(), 1 << 40, "it holds nothing");
    assert_eq!(left(&grid), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn no_link_leads_out_of_it_and_nothing_in_it_outlives_the_call() {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("known"), "known").unwrap();
    let grant = format!("--grant=odd:{}:/out:rw", out.display());
    let (_grid, client) = up(&[&grant]).await;
    let climbed = client.submit(scratch_climb::call(secret.display().to_string())).await.unwrap();
    let outcomes = climbed.result().await.unwrap();
    let refused = outcomes.iter().filter(|outcome| outcome.starts_with("refused")).count();
    assert_eq!((refused, outcomes.len()), (5, 6), "{outcomes:?}");
    let names: Vec<_> = fs::read_dir(&out).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["known"]);
}

#[tokio::test]
async fn a_worker_may_give_less_or_none() {
    let (_grid, client) = up(&["--scratch-max=300KiB"]).await;
    let fill = client.submit(scratch_fill::call(100 * KIB, false)).await.unwrap();
    let (taken, why) = fill.result().await.unwrap();
    assert_eq!(taken, 200 * KIB, "{why}");
    let (_grid, client) = up(&["--scratch-max=0"]).await;
    let refused = client.submit(scratch_begin::call("file".to_owned())).await.unwrap();
    let refused = failure(refused.result().await);
    assert!(matches!(refused.kind, FailureKind::HostDenied { .. }), "{refused}");
    assert!(refused.message.contains("--scratch-max"), "{refused}");
}
