//! Signals to `grid`, and what becomes of what it was doing.

use std::path::Path;
use std::process::{Child, Stdio};

use grid_proto::coordination::NamedKind;
use serde_json::Value;

use crate::support::{Processes, bundle_path, eventually, grid, signal, stderr};

/// `grid` against this grid, on its way.
fn start(grid_up: &Processes, args: &[&str]) -> Child {
    grid(grid_up.home(), args)
        .env("GRID_SCHEDULER", &grid_up.address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn send(name: &str, child: &Child) {
    signal(name, u64::from(child.id()));
}

async fn appears(file: &Path) {
    eventually(&format!("{}", file.display()), async || file.exists()).await;
}

#[tokio::test]
async fn a_lock_is_held_until_the_program_that_was_told_to_end_has_ended() {
    let grid_up = Processes::up(&["--workers=1"]);
    let client = grid_up.client().await;
    let program = "trap 'touch told' TERM INT; touch ready; \
                   until [ -e go ]; do sleep 0.01; done; exit 9";
    let file = |name: &str| grid_up.home().join(name);
    for name in ["-TERM", "-INT"] {
        let holder = start(&grid_up, &["lock", "run", "deploy", "--", "sh", "-c", program]);
        appears(&file("ready")).await;
        send(name, &holder);
        appears(&file("told")).await;
        let lock = client.describe(NamedKind::Lock, "deploy").await.unwrap();
        assert_eq!(lock.size, 1, "the program still runs");
        std::fs::write(file("go"), "").unwrap();
        let ended = holder.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(9), "{}", stderr(&ended));
        assert!(client.named(NamedKind::Lock).await.unwrap().is_empty(), "it was released");
        for name in ["ready", "told", "go"] {
            std::fs::remove_file(file(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_program_that_a_signal_ends_is_told_by_the_exit_code() {
    let grid_up = Processes::up(&["--workers=1"]);
    let killed = grid_up.run(&["semaphore", "run", "s", "2", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(killed.status.code(), Some(137), "{}", stderr(&killed));
    let program = "touch ready; exec sleep 1000";
    let holder = start(&grid_up, &["lock", "run", "l", "--", "sh", "-c", program]);
    appears(&grid_up.home().join("ready")).await;
    // Who waits for the lock gives up, and does not get it later.
    let client = grid_up.client().await;
    let next = start(&grid_up, &["lock", "run", "l", "--", "touch", "never"]);
    let waiting = async || client.describe(NamedKind::Lock, "l").await.unwrap().waiting;
    eventually("another waits", async || waiting().await == 1).await;
    send("-INT", &next);
    let ended = next.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("there was no lease yet"), "{}", stderr(&ended));
    eventually("nobody waits", async || waiting().await == 0).await;
    send("-TERM", &holder);
    let ended = holder.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{}", stderr(&ended));
    assert!(!grid_up.home().join("never").exists());
    let missing = grid_up.run(&["lock", "run", "l", "--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(6));
    assert!(stderr(&missing).contains("cannot run `no-such-program`"), "{}", stderr(&missing));
}

#[tokio::test]
async fn calls_of_an_interrupted_run_are_cancelled() {
    let grid_up = Processes::up(&["--workers=1"]);
    grid_up.run(&["deploy", bundle_path("noop").to_str().unwrap()]);
    let endless: String = (0..50).map(|n| format!("[{}]\n", u64::MAX - n)).collect();
    std::fs::write(grid_up.home().join("calls.jsonl"), endless).unwrap();
    let client = grid_up.client().await;
    let largest = u64::MAX.to_string();
    let runs: [(&[&str], &str, i32); 3] = [
        (&["run", "noop", "spin", &largest], "-INT", 130),
        (&["run", "noop", "spin", "--map", "calls.jsonl"], "-INT", 130),
        (&["run", "noop", "spin", "--map", "calls.jsonl", "--json"], "-TERM", 143),
    ];
    for (args, name, code) in runs {
        let run = start(&grid_up, args);
        eventually("one is executing", async || {
            client.workers().await.unwrap().iter().any(|worker| worker.executing > 0)
        })
        .await;
        send(name, &run);
        let ended = run.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {}", stderr(&ended));
        assert!(stderr(&ended).contains("is cancelled"), "{}", stderr(&ended));
        if args.contains(&"--json") {
            let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
            assert_eq!(said["kind"], "interrupted");
        }
        eventually("nothing of it is left", async || {
            let idle = client.workers().await.unwrap().iter().all(|worker| worker.in_hand == 0);
            idle && client.status().await.unwrap().calls.is_empty()
        })
        .await;
    }
}
