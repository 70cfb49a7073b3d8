//! Where calls run: pins, preferences, resources, memory.

use grid_proto::{Amount, FailureKind};
use nested::placed;
use noop::{add, chunk, fresh, length, sleep_ms};

use crate::parts::Parts;
use crate::support::{eventually, failure, stderr, stdout};

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_pinned_call_runs_there_and_only_there_and_waits_for_who_is_not_there() {
    let mut grid = Parts::start(&[]).await;
    grid.worker("east", &["--label=sun"]).await;
    grid.worker("west", &[]).await;
    grid.deploy(&["noop"]).await;
    for (name, worker) in [("east", "east"), ("west", "west"), ("sun", "east")] {
        let calls = (0..20).map(|n| fresh::call(n).on(name));
        let futures = grid.client.map(calls).await.unwrap();
        grid.client.gather(&futures).await.unwrap();
        for future in &futures {
            assert_eq!(grid.call(future.key()).await.workers, [worker], "on {name}");
        }
    }
    // The host is that of both; an input that is elsewhere changes nothing.
    let here = grid.client.submit(fresh::call(1).on(&host())).await.unwrap();
    here.result().await.unwrap();
    let source = grid.client.submit(chunk::call(1usize << 20).on("west")).await.unwrap();
    let reader = grid.client.submit(length::call(&source).on("sun")).await.unwrap();
    assert_eq!(reader.result().await.unwrap(), 1 << 20);
    assert_eq!(grid.call(reader.key()).await.workers, ["east"]);

    let waiting = grid.client.submit(fresh::call(5).on("moon").on("star")).await.unwrap();
    let why = "none of 2 workers may run it: it needs a worker, host or label called moon or star";
    grid.explained(waiting.key(), why).await;
    let said = stdout(&grid.run(&["explain", &waiting.key().to_string()[..8]]));
    assert!(said.contains("is no-worker: ") && said.contains(why), "{said}");
    let preferring = grid.client.submit(fresh::call(6).prefer("moon")).await.unwrap();
    assert_eq!(preferring.result().await.unwrap(), 6, "elsewhere when it must");
    grid.worker("night", &["--label=moon"]).await;
    assert_eq!(waiting.result().await.unwrap(), 5);
    assert_eq!(grid.call(waiting.key()).await.workers, ["night"]);
    let preferring = grid.client.submit(fresh::call(7).prefer("moon")).await.unwrap();
    preferring.result().await.unwrap();
    assert_eq!(grid.call(preferring.key()).await.workers, ["night"]);

    let typed = grid.run(&["run", "noop", "add", "1", "2", "--on=west"]);
    assert_eq!(stdout(&typed).trim(), "3", "{}", stderr(&typed));
}

#[tokio::test]
async fn calls_of_calls_run_where_they_are_told_to_and_take_what_they_need() {
    let mut grid = Parts::start(&[]).await;
    grid.worker("east", &["--slots=2", "--label=sun", "--resource=GPU=1"]).await;
    grid.worker("west", &["--slots=2"]).await;
    grid.deploy(&["nested"]).await;
    let run = async |call: grid_sdk::Call<Vec<String>>| {
        grid.client.submit(call.on("west")).await.unwrap().result().await
    };
    assert_eq!(run(placed::call("sun", false, 1.0, 4)).await.unwrap(), ["east"; 4]);
    assert_eq!(run(placed::call("west", false, 0.0, 4)).await.unwrap(), ["west"; 4]);
    // What is preferred does not have it.
    assert_eq!(run(placed::call("west", true, 0.5, 4)).await.unwrap(), ["east"; 4]);
    let refused = failure(run(placed::call("sun", false, -1.0, 1)).await);
    assert!(refused.message.contains("-1 of `GPU`: a number from 0 to 1e9"), "{refused}");
    let waiting = grid.client.submit(placed::call("sun", false, 2.0, 1)).await.unwrap();
    eventually("its child waits for a worker that has as much", async || {
        let calls = grid.client.calls("", Some("no-worker"), 10).await.unwrap();
        calls.iter().any(|call| call.explanation.contains("GPU"))
    })
    .await;
    drop(waiting);
}

#[tokio::test]
async fn resources_are_shared_out_and_can_be_changed_while_the_worker_runs() {
    let mut grid = Parts::start(&[]).await;
    grid.worker("w", &["--slots=4", "--resource=GPU=1"]).await;
    grid.deploy(&["noop"]).await;
    let client = &grid.client;
    let gpu = |milliseconds: u64| sleep_ms::call(milliseconds).resource("GPU", 1.0);
    let futures = client.map((0..3).map(|n| gpu(600 + n))).await.unwrap();
    eventually("one of them executes", async || client.workers().await.unwrap()[0].executing == 1)
        .await;
    let mut states = Vec::new();
    for future in &futures {
        let call = grid.call(future.key()).await;
        states.push((call.state.clone(), call.explanation.clone()));
    }
    let held_back: Vec<_> = states.iter().filter(|(state, _)| state == "queued").collect();
    assert_eq!(held_back.len(), 2, "{states:?}");
    let why = "has not enough of its resources free";
    assert!(held_back.iter().all(|(_, explanation)| explanation.contains(why)), "{states:?}");
    // Who takes none of it is held up by nobody.
    assert_eq!(client.submit(add::call(1, 1)).await.unwrap().result().await.unwrap(), 2);

    let set = grid.run(&["workers", "set", "w", "GPU=3"]);
    assert!(stdout(&set).contains("GPU=3/3"), "{} {}", stdout(&set), stderr(&set));
    eventually("the others execute, too", async || {
        client.workers().await.unwrap()[0].executing >= 2
    })
    .await;
    client.gather(&futures).await.unwrap();
    let most = client.workers().await.unwrap()[0].resources["GPU"];
    assert_eq!((most.offered, most.taken), (Amount(30_000), Amount(0)));

    client.set_resources("w", Vec::new()).await.unwrap();
    let waiting = client.submit(gpu(1)).await.unwrap();
    grid.explained(waiting.key(), "none of 1 workers may run it: it needs GPU=1").await;
    client.set_resources("w", vec![("GPU".to_owned(), Amount(10_000))]).await.unwrap();
    assert_eq!(waiting.result().await.unwrap(), 1);

    let unknown = grid.run(&["workers", "set", "nobody", "GPU=1"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(stderr(&unknown).contains("no worker `nobody`"), "{}", stderr(&unknown));
    let negative = grid.run(&["workers", "set", "w", "GPU=-1"]);
    assert_eq!(negative.status.code(), Some(2));
    assert!(stderr(&negative).contains("from 0 to 1e9"), "{}", stderr(&negative));
}

#[tokio::test]
async fn inputs_that_fit_no_worker_fail_the_call_with_both_numbers() {
    let mut grid = Parts::start(&[]).await;
    // The process alone holds more.
    grid.worker("small", &["--memory-limit=1MiB", "--memory-pause=off"]).await;
    grid.deploy(&["noop"]).await;
    let source = grid.client.submit(chunk::call(2usize << 20)).await.unwrap();
    let reader = grid.client.submit(length::call(&source)).await.unwrap();
    let failed = failure(reader.result().await);
    let kind = FailureKind::OutOfMemory { limit_bytes: 1 << 20, asked_bytes: 2 << 20 };
    assert_eq!(failed.kind, kind, "{failed}");
    let words = ["2097152 bytes", "1048576", "--memory-limit"];
    assert!(words.iter().all(|word| failed.message.contains(word)), "{failed}");
    // It is told once a worker is there that could hold them.
    grid.worker("large", &["--memory-limit=64MiB", "--memory-pause=off"]).await;
    grid.client.retry(vec![reader.key()]).await.unwrap();
    eventually("it runs there", async || {
        reader.result().await.is_ok_and(|length| length == 2 << 20)
    })
    .await;
    assert_eq!(grid.call(reader.key()).await.workers, ["large"]);
}
