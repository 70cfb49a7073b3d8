//! The binary `grid` as people and scripts use it: output, JSON, exit codes, words.

use std::process::Output;

use grid_client::Client;
use noop::spin;
use serde_json::{Value, json};

use crate::support::{Processes, bundle_bytes, bundle_path, eventually, grid, stderr, stdout};

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn deploy(grid: &Processes, name: &str) -> Output {
    grid.run(&["deploy", bundle_path(name).to_str().unwrap()])
}

#[tokio::test]
async fn a_bundle_is_deployed_inspected_and_run() {
    let grid = Processes::up(&["--workers=2"]);
    let first = deploy(&grid, "hello");
    assert!(stdout(&first).contains("deployed hello@0.1.0") && stdout(&first).contains("sent"));
    let second = deploy(&grid, "hello");
    assert!(stdout(&second).contains("the grid had its bytes"), "{}", stdout(&second));
    let hash = grid_proto::BundleHash::of(&bundle_bytes("hello")).to_string();
    assert!(stdout(&second).contains(&hash));

    assert_eq!(stdout(&grid.run(&["run", "hello", "add", "1", "-3"])).trim(), "-2");
    let ada = grid.run(&["run", "hello@0.1.0", "greet", r#"{"name":"Ada","age":36}"#]);
    let greeting: Value = serde_json::from_str(&stdout(&ada)).unwrap();
    assert_eq!(greeting["letters"], json!(3));
    let by_hash = grid.run(&["run", &hash[..10], "inc", "41", "--json"]);
    assert_eq!(parsed(&by_hash), json!(42));

    let inspected = stdout(&grid.run(&["inspect", "hello"]));
    assert!(inspected.contains("add(a: i64, b: i64) -> i64"), "{inspected}");
    assert!(inspected.contains("Adds two numbers."), "{inspected}");
    assert!(inspected.contains("wasi:cli/stdout"), "{inspected}");
    let file = grid.run(&["inspect", "--json", bundle_path("hello").to_str().unwrap()]);
    assert_eq!(parsed(&file)["hash"], json!(hash));

    assert_eq!(parsed(&grid.run(&["bundles", "--json"]))[0]["description"]["name"], "hello");
    let status = parsed(&grid.run(&["status", "--json"]));
    assert_eq!((&status["workers"], &status["slots"]), (&json!(2), &json!(2)));
    let workers = parsed(&grid.run(&["workers", "--json"]));
    let pids: Vec<_> = workers.as_array().unwrap().iter().map(|w| w["pid"].as_u64()).collect();
    assert_eq!(pids.len(), 2);
    assert!(grid.worker_pids.iter().all(|pid| pids.contains(&Some(*pid))));
    let tasks = stdout(&grid.run(&["tasks"]));
    assert!(tasks.contains("hello@0.1.0:add"), "{tasks}");
}

#[tokio::test]
async fn many_calls_come_from_a_file_in_order() {
    let grid = Processes::up(&["--workers=2"]);
    deploy(&grid, "hello");
    let lines: String = (0..300).map(|n| format!("[{n}, {n}]\n")).collect();
    std::fs::write(grid.home().join("calls.jsonl"), lines).unwrap();
    let mapped = grid.run(&["run", "hello", "add", "--map", "calls.jsonl"]);
    let results: Vec<i64> = stdout(&mapped).lines().map(|line| line.parse().unwrap()).collect();
    assert!(results.into_iter().eq((0..300).map(|n| 2 * n)));

    std::fs::write(grid.home().join("words.jsonl"), "\"1\"\n\"x\"\n\"3\"\n").unwrap();
    let mapped = grid.run(&["run", "hello", "parse", "--map", "words.jsonl"]);
    let lines: Vec<Value> =
        stdout(&mapped).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0], &lines[2]), (&json!(1), &json!(3)));
    assert_eq!(lines[1]["kind"], "user-error");
    assert_eq!(code(&mapped), 1);

    std::fs::write(grid.home().join("bad.jsonl"), "[1, 2]\n[1,\n").unwrap();
    let bad = grid.run(&["run", "hello", "add", "--map", "bad.jsonl"]);
    assert_eq!(code(&bad), 2);
    assert!(stderr(&bad).contains("bad.jsonl:2"), "{}", stderr(&bad));
}

#[tokio::test]
async fn every_kind_of_failure_has_its_exit_code_and_words() {
    let grid = Processes::up(&["--workers=1"]);
    deploy(&grid, "hello");
    deploy(&grid, "odd");
    deploy(&grid, "noop");
    std::fs::write(grid.home().join("note.txt"), "no wasm").unwrap();
    let cases: [(&[&str], i32, &str); 13] = [
        (&["run", "hello", "parse", "\"x\""], 1, "caused by: invalid digit"),
        (&["run", "odd", "panic", "\"boom\""], 3, "panic: "),
        (&["run", "odd", "loop_forever", "--timeout", "0.2"], 3, "deadline"),
        (&["run", "odd", "memory_bomb", "--memory", "16MiB"], 3, "out-of-memory"),
        (&["run", "odd", "huge_result", "100000000"], 3, "result-too-large"),
        (&["run", "nobody", "task"], 4, "`nobody` is not on this grid"),
        (&["run", "hello", "nothing"], 4, "has no task `nothing`; it has inc, add"),
        (&["run", "hello", "add", "1"], 4, "takes 2 arguments"),
        (&["run", "hello", "add", "1", "\"2\""], 4, "takes `i64`, not a text"),
        (&["run", "hello", "add", "1", "{"], 2, "is not JSON"),
        (&["deploy", "note.txt"], 4, "not a wasm file"),
        (&["deploy", "missing.wasm"], 6, "missing.wasm"),
        (&["cancel", "abcdef"], 4, "`abcdef` is not known"),
    ];
    for (args, expected, words) in cases {
        let output = grid.run(args);
        assert_eq!(code(&output), expected, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
    let traps = stdout(&grid.run(&["traps"]));
    assert!(traps.contains("odd@0.1.0:panic") && traps.contains("out-of-memory"), "{traps}");
    let traps = parsed(&grid.run(&["traps", "--json"]));
    let panics = traps.as_array().unwrap().iter().find(|task| task["task"] == "panic").unwrap();
    assert_eq!((&panics["failures"]["panic"], &panics["calls"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_running_call_is_listed_explained_and_cancelled() {
    let grid = Processes::up(&["--workers=1"]);
    let client: Client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let endless = client.submit(spin::call(u64::MAX)).await.unwrap();
    let key = endless.key().to_string();
    eventually("it is listed as executing", async || {
        let calls = parsed(&grid.run(&["calls", &key[..8], "--json"]));
        calls[0]["explanation"].as_str().is_some_and(|why| why.contains("executing on"))
    })
    .await;
    let cancelled = grid.run(&["cancel", &key[..8]]);
    assert_eq!(code(&cancelled), 0, "{}", stderr(&cancelled));
    let ended = endless.result().await.unwrap_err().to_string();
    assert!(ended.contains("cancelled"), "{ended}");
    eventually("the slot is free", async || {
        parsed(&grid.run(&["workers", "--json"]))[0]["in_hand"] == json!(0)
    })
    .await;
}

#[tokio::test]
async fn a_port_in_use_and_a_grid_that_is_not_there_are_named() {
    let grid_up = Processes::up(&["--workers=1"]);
    let home = grid_up.home();
    for command in ["scheduler", "up"] {
        let taken = grid(home, &[command, "--listen", &grid_up.address]).output().unwrap();
        assert_eq!(code(&taken), 6, "{}", stderr(&taken));
        assert!(stderr(&taken).contains(&format!("`{}` is in use", grid_up.address)));
    }
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let options = ["--scheduler", &address, "--connect-timeout", "0.3"];
    for command in ["status", "worker"] {
        let output = grid(home, &[command]).args(options).output().unwrap();
        assert_eq!(code(&output), 5, "{}", stderr(&output));
        let words = stderr(&output);
        assert!(words.contains(&address) && words.contains("300 ms"), "{words}");
    }
    let stranger = grid_up.run(&["status", "--identity", "another"]);
    assert_eq!(code(&stranger), 5);
    assert!(stderr(&stranger).contains("identity"), "{}", stderr(&stranger));
}

#[tokio::test]
async fn one_process_is_a_grid_too() {
    let home = tempfile::tempdir().unwrap();
    let bundle = bundle_path("hello");
    let args = ["run", "--embedded", bundle.to_str().unwrap(), "add", "20", "22"];
    for _ in 0..2 {
        let output = grid(home.path(), &args).output().unwrap();
        assert_eq!(stdout(&output).trim(), "42", "{}", stderr(&output));
    }
    let grid = Processes::up(&["--embedded"]);
    deploy(&grid, "hello");
    assert_eq!(stdout(&grid.run(&["run", "hello", "inc", "1"])).trim(), "2");
}

#[tokio::test]
async fn a_grid_remembers_its_bundles() {
    let home = tempfile::tempdir().unwrap();
    let bundle = bundle_path("hello");
    let grid_up = Processes::up_in(home, &["--workers=1"]);
    deploy(&grid_up, "hello");
    let grid_up = Processes::up_in(grid_up.stop(), &["--workers=1"]);
    assert_eq!(stdout(&grid_up.run(&["run", "hello", "inc", "1"])).trim(), "2");
    let again = grid_up.run(&["deploy", bundle.to_str().unwrap()]);
    assert!(stdout(&again).contains("the grid had its bytes"), "{}", stdout(&again));
}

#[test]
fn completions_are_printed_for_shells() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = grid(home.path(), &["completions", shell]).output().unwrap();
        assert!(stdout(&output).contains("deploy"), "{shell}");
    }
    let help = stdout(&grid(home.path(), &["--help"]).output().unwrap());
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn a_new_crate_builds_and_runs() {
    let home = tempfile::tempdir().unwrap();
    let made = grid(home.path(), &["new", "fresh-start"]).output().unwrap();
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let built = grid(home.path(), &["build", "fresh-start", "--out-dir=."]).output().unwrap();
    assert_eq!(code(&built), 0, "{}", stderr(&built));
    let file = "fresh-start.wasm";
    let inspected = parsed(&grid(home.path(), &["inspect", "--json", file]).output().unwrap());
    let task = inspected["description"]["tasks"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!(inspected["description"]["name"], "fresh-start");
    let sum = grid(home.path(), &["run", "--embedded", file, "add", "20", "22"]).output().unwrap();
    assert_eq!(stdout(&sum).trim(), "42", "{}", stderr(&sum));
    let missing = grid(home.path(), &["run", "--embedded", file, &task]).output().unwrap();
    assert_eq!(code(&missing), 4, "{task} takes arguments: {}", stderr(&missing));
    let again = grid(home.path(), &["new", "fresh-start"]).output().unwrap();
    assert_eq!(code(&again), 6);
    let bad = grid(home.path(), &["new", "9 lives"]).output().unwrap();
    assert_eq!(code(&bad), 6);
    assert!(stderr(&bad).contains("try `"), "{}", stderr(&bad));
}
