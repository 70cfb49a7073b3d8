//! Tasks that are refused after too many strikes, workers that die or leave under a call, retries.

use grid_proto::{Arg, FailureKind};
use noop::{fresh, sleep_ms, spin};
use odd::user_error::flaky;
use serde_json::Value;

use crate::parts::call;
use crate::support::{
    Processes, bundle_bytes, bundle_path, counts, eventually, failure, raw_call, runs, signal,
    stderr, stdout,
};

fn deploy(grid: &Processes, name: &str) {
    let deployed = grid.run(&["deploy", bundle_path(name).to_str().unwrap()]);
    assert!(deployed.status.success(), "{}", stderr(&deployed));
}

#[tokio::test]
async fn a_task_with_too_many_strikes_is_refused_until_it_is_cleared() {
    let grid = Processes::up(&["--workers=1", "--quarantine-after=3"]);
    deploy(&grid, "odd");
    let none = stdout(&grid.run(&["quarantine", "list"]));
    assert_eq!(none.trim(), "no task is in quarantine");
    for _ in 0..3 {
        let trapped = grid.run(&["run", "odd", "panic", "\"boom\"", "--impure"]);
        assert!(stderr(&trapped).contains("panic: "), "{}", stderr(&trapped));
    }
    let refused = grid.run(&["run", "odd", "panic", "\"boom\"", "--impure"]);
    let words = stderr(&refused);
    assert_eq!(refused.status.code(), Some(4), "{words}");
    assert!(words.contains("quarantined: ") && words.contains("after 3 strikes"), "{words}");
    assert_eq!(words.matches("caused by: call ").count(), 3, "{words}");
    assert!(words.contains("on `worker-0`: panic: "), "{words}");
    let client = grid.client().await;
    assert_eq!(counts(&client, "panic").await.calls, 3, "it was not run");
    // Errors that a task returns are no strikes, and other tasks of the bundle run.
    for _ in 0..4 {
        assert_eq!(grid.run(&["run", "odd", "fail", "--impure"]).status.code(), Some(1));
    }

    let listed = stdout(&grid.run(&["quarantine", "list"]));
    assert!(listed.contains("odd@0.1.0:panic: 3 strikes, the last of them:"), "{listed}");
    let json = stdout(&grid.run(&["quarantine", "list", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[0]["last"].as_array().unwrap().len(), 3, "{json}");
    let wrong = grid.run(&["quarantine", "clear", "odd@0.1.0:fail"]);
    assert_eq!(wrong.status.code(), Some(4));
    assert!(stderr(&wrong).contains("is not in quarantine"), "{}", stderr(&wrong));
    let cleared = grid.run(&["quarantine", "clear", "odd@0.1.0:panic"]);
    assert_eq!(stdout(&cleared).trim(), "1 task may run again");
    let again = grid.run(&["run", "odd", "panic", "\"boom\"", "--impure"]);
    assert!(stderr(&again).contains("panic: "), "{}", stderr(&again));
    assert_eq!(counts(&client, "panic").await.calls, 4);
}

#[tokio::test]
async fn the_call_that_was_executing_when_workers_died_is_charged_and_no_other() {
    let grid = Processes::up(&["--workers=1", "--allowed-failures=1"]);
    deploy(&grid, "noop");
    let client = grid.client().await;
    let deadly = client.submit(spin::call(u64::MAX)).await.unwrap();
    let others = client.map((0..20).map(fresh::call)).await.unwrap();
    let mut killed = Vec::<(String, u32)>::new();
    for _ in 0..2 {
        let executing = async || {
            let workers = client.workers().await.unwrap();
            let call = call(&client, deadly.key()).await;
            let on = workers.iter().find(|worker| call.workers.contains(&worker.name))?;
            let executes = call.explanation.contains("executing on");
            // Its successor has the same name.
            let known = killed.iter().any(|(_, pid)| *pid == on.pid);
            (executes && !known).then(|| (on.name.clone(), on.pid))
        };
        eventually("it executes", async || executing().await.is_some()).await;
        let (name, pid) = executing().await.unwrap();
        signal("-KILL", u64::from(pid));
        killed.push((name, pid));
    }
    let killed: Vec<_> = killed.into_iter().map(|(name, _)| name).collect();
    let failed = failure(deadly.result().await);
    let FailureKind::KilledWorker { deaths } = &failed.kind else { panic!("{failed}") };
    let named: Vec<_> = deaths.iter().map(|death| death.worker.clone()).collect();
    assert_eq!(named, killed, "{failed}");
    assert!(killed.iter().all(|name| failed.message.contains(name)), "{failed}");
    assert!(client.gather(&others).await.unwrap().into_iter().eq(0..20));
}

#[tokio::test]
async fn a_worker_that_leaves_as_planned_is_no_failure() {
    let grid = Processes::up(&["--workers=2", "--allowed-failures=0"]);
    deploy(&grid, "noop");
    let client = grid.client().await;
    let slow = client.submit(sleep_ms::call(1_000)).await.unwrap();
    eventually("it executes", async || {
        call(&client, slow.key()).await.explanation.contains("executing on")
    })
    .await;
    let on = call(&client, slow.key()).await.workers[0].clone();
    let workers = client.workers().await.unwrap();
    let leaving = workers.iter().find(|worker| worker.name == on).unwrap();
    let pid = u64::from(leaving.pid);
    signal("-TERM", pid);
    assert_eq!(slow.result().await.unwrap(), 1_000, "a death would have failed it");
    assert_ne!(call(&client, slow.key()).await.workers, [on]);
    assert!(counts(&client, "sleep_ms").await.failures.is_empty());
    eventually("it is gone", async || !runs(pid)).await;
}

#[tokio::test]
async fn a_retry_of_a_reader_begins_with_the_input_that_failed() {
    let grid = Processes::up(&["--workers=1"]);
    deploy(&grid, "odd");
    let client = grid.client().await;
    let noop = client.deploy(&bundle_bytes("noop"), false).await.unwrap().info;
    // It fails at its first two attempts, and has no retries of its own.
    let root = client.submit(flaky::call(2).retries(0)).await.unwrap();
    let reader = raw_call(&noop, "fresh", vec![Arg::Key(root.key())]);
    let reader = client.submit_raw([reader]).await.unwrap().remove(0);
    for tries in 1..=2 {
        let failed = failure(reader.value().await);
        let site = failed.site.clone().unwrap();
        assert_eq!(site.task, "odd@0.1.0:flaky", "{failed}");
        assert_eq!(counts(&client, "flaky").await.calls, tries);
        let retried = grid.run(&["retry", &reader.key().to_string()[..10]]);
        assert!(stdout(&retried).contains(&site.key.short()), "{}", stdout(&retried));
        assert!(stdout(&retried).contains(&reader.key().short()), "{}", stdout(&retried));
        eventually("it has ended again", async || {
            counts(&client, "flaky").await.calls == tries + 1
        })
        .await;
    }
    eventually("the reader runs", async || reader.value().await.is_ok()).await;
    assert_eq!(counts(&client, "fresh").await.calls, 1);
    let none = grid.run(&["retry", &reader.key().to_string()[..10]]);
    assert!(stdout(&none).contains("none of them has failed"), "{}", stdout(&none));
}
