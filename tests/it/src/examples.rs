//! The examples as their users run them: the demo, each program on a grid, and a worker killed in the
//! middle of the main job.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{
    Processes, bundle_path, eventually, grid, signal, stderr, stdout, target_dir,
};

/// Where `cargo xtask test` lays out what the demo needs.
fn demo_dir() -> PathBuf {
    std::env::var_os("GRID_DEMO").map_or_else(|| target_dir().join("demo"), PathBuf::from)
}

/// An example's program against a grid.
fn program(grid: &Processes, name: &str) -> Command {
    let programs = std::env::var_os("GRID_EXAMPLES");
    let programs = programs.map_or_else(|| target_dir().join("examples/debug"), PathBuf::from);
    let mut command = Command::new(programs.join(name));
    command
        .arg("--bundle")
        .arg(bundle_path(name))
        .env("GRID_SCHEDULER", &grid.address)
        .env("GRID_IDENTITY", grid.home().join("identity"))
        .current_dir(grid.home())
        .stdin(Stdio::null());
    command
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

/// A grid that grants `flights` the month that the repository carries.
fn grid_for_flights() -> Processes {
    let home = tempfile::tempdir().unwrap();
    let parts = home.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    let data = format!("--grant=flights:{}:/flights", demo_dir().join("data").display());
    let parts = format!("--grant=flights:{}:/parts:rw", parts.display());
    Processes::up_in(home, &["--workers=2", &data, &parts])
}

#[test]
fn the_demo_computes_contains_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let demo = demo_dir();
    let output = grid(home.path(), &["demo", "--json", "--examples", demo.to_str().unwrap()])
        .output()
        .unwrap();
    let said: Value = serde_json::from_str(&succeeded(&output)).unwrap();
    assert!(said["flights"].is_object() && said["hostile"].is_object(), "{said}");
}

#[test]
fn flights_equal_an_independent_pass_over_the_file() {
    let grid = grid_for_flights();
    let month = demo_dir().join("data/flights-2013-01.csv");
    for block_size in ["64KiB", "4MiB"] {
        let mut flights = program(&grid, "flights");
        flights.args(["--block-size", block_size, "--check"]).arg(&month);
        let said = succeeded(&flights.output().unwrap());
        assert!(said.contains("27,004"), "{said}");
    }
}

#[test]
fn flights_without_grants_say_what_to_type() {
    let grid = Processes::up(&["--workers=1"]);
    let output = program(&grid, "flights").output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("--grant flights:"), "{}", stderr(&output));
}

#[tokio::test]
async fn flights_survive_a_worker_killed_in_the_middle() {
    let grid = grid_for_flights();
    let client = grid.client().await;
    let month = demo_dir().join("data/flights-2013-01.csv");
    // Small blocks, so that there is a middle.
    let flights = program(&grid, "flights")
        .args(["--block-size", "1KiB", "--check"])
        .arg(&month)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("some blocks are scanned", async || {
        let counts = client.counts().await.unwrap();
        counts.iter().any(|counts| counts.task == "scan" && counts.successes > 100)
    })
    .await;
    signal("-KILL", grid.worker_pids[0]);
    // Not on this thread: the client's connection lives on it.
    let ended = tokio::task::spawn_blocking(|| flights.wait_with_output().unwrap());
    let said = succeeded(&ended.await.unwrap());
    assert!(said.contains("27,004"), "{said}");
    eventually("another worker takes the place of the dead one", async || {
        let workers = client.workers().await.unwrap();
        let pids: Vec<_> = workers.iter().map(|worker| u64::from(worker.pid)).collect();
        workers.len() == 2 && !pids.contains(&grid.worker_pids[0])
    })
    .await;
}

#[test]
fn hostile_functions_are_contained_and_counted() {
    let grid = Processes::up(&["--workers=2"]);
    let said = succeeded(&program(&grid, "hostile").output().unwrap());
    for kind in ["out-of-bounds", "deadline", "out-of-memory", "stack-overflow", "panic"] {
        assert!(said.contains(kind), "{said}");
    }
}

#[test]
fn mandelbrot_makes_a_picture_and_wordcount_counts() {
    let grid = Processes::up(&["--workers=2"]);
    succeeded(&program(&grid, "mandelbrot").output().unwrap());
    let picture = std::fs::read_dir(grid.home())
        .unwrap()
        .flatten()
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "png"));
    let bytes = std::fs::read(picture.expect("a PNG in the working directory").path()).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    let said = succeeded(&program(&grid, "wordcount").output().unwrap());
    assert!(said.contains("the"), "{said}");
}

#[test]
fn integrate_agrees_with_calculus_on_one_slot() {
    let grid = Processes::up(&["--workers=1", "--slots=1"]);
    let said = succeeded(&program(&grid, "integrate").output().unwrap());
    assert!(said.contains("calls"), "{said}");
}
