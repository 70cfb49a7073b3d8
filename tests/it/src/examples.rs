//! The examples as their users run them: the demo, each program on a grid, and a worker killed in the
//! middle of the main job.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::garage::Garage;
use crate::outside::fill;
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
    let mut of_url = program(&grid, "flights");
    let output = of_url.args(["--url", "s3://b/x.csv", "--out", "s3://b/out"]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("--grant-store flights:read:URL"), "{}", stderr(&output));
}

/// Runs the forms for any store on a month that lies below a URL; gives what each found.
fn flights_of_urls(grid: &Processes, base: &str) -> [Value; 3] {
    let month = demo_dir().join("data/flights-2013-01.csv");
    let (csv, out, copy) =
        (format!("{base}/in/*.csv"), format!("{base}/out"), format!("{base}/copy/"));
    let forms = [
        // The scan; the copy with the first queries; the same queries again, of the copy alone.
        vec!["--url", &csv, "--out", &out],
        vec!["--url", &csv, "--copy", &copy],
        vec!["--copy", &copy],
    ];
    let found = forms.map(|form| {
        let mut flights = program(grid, "flights");
        flights.args(form).args(["--block-size", "400KiB", "--json", "--check"]).arg(&month);
        serde_json::from_str::<Value>(&succeeded(&flights.output().unwrap())).unwrap()
    });
    let origins: u64 =
        found[1]["origins"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(origins, 27_004);
    assert_eq!(found[0]["late"]["count"], 25);
    // What is there already is not written over.
    let mut again = program(grid, "flights");
    let again = again.args(["--url", &csv, "--out", &out]).output().unwrap();
    assert!(stderr(&again).contains("there is something already"), "{}", stderr(&again));
    found
}

/// What is the same whatever the grouping of sums.
fn counts(found: &Value) -> Vec<(String, Value, Value, Value)> {
    let of = |(code, carrier): (&String, &Value)| {
        let [all, late] = ["all", "late"].map(|which| carrier[which]["count"].clone());
        (code.clone(), all, late, carrier["all"]["max"].clone())
    };
    found["summary"]["carriers"].as_object().unwrap().iter().map(of).collect()
}

#[tokio::test]
async fn flights_are_the_same_of_files_of_a_bucket_and_of_a_copy_in_parquet() {
    let month = demo_dir().join("data/flights-2013-01.csv");
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir_all(data.join("in")).unwrap();
    std::fs::copy(&month, data.join("in/month.csv")).unwrap();
    let garage = Garage::start();
    fill(&garage, "flights/in/month.csv", &std::fs::read_to_string(&month).unwrap()).await;
    let bases = [format!("file://{}", data.display()), "s3://grid/flights".to_owned()];
    let grants = bases.iter().flat_map(|base| {
        ["read", "write"].map(|right| format!("--grant-store=flights:{right}:{base}/"))
    });
    let grants: Vec<_> = grants.collect();
    let mut args = vec!["--workers=2"];
    args.extend(grants.iter().map(String::as_str));
    let grid = Processes::up_with(home, &args, garage.environment());
    let [files, bucket] = bases.map(|base| flights_of_urls(&grid, &base));
    let all = files.iter().chain(&bucket);
    let expected = counts(&files[0]);
    assert!(expected.len() > 10 && all.clone().all(|found| counts(found) == expected));
    assert!(all.clone().all(|found| found["summary"]["rows"] == 27_004));
    assert_eq!(files[1]["origins"], bucket[2]["origins"]);
    assert_eq!(files[0]["late"]["quartiles"], bucket[0]["late"]["quartiles"]);
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
