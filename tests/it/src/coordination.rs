//! What clients share by name, and what happens when one of them dies.

use std::time::Duration;

use grid_client::ClientError;
use grid_client::coordination::Shared;
use grid_proto::coordination::NamedKind;
use grid_proto::message::Refusal;
use hello::inc;
use serde_json::json;

use crate::support::{Grid, Processes, bundle_path, eventually, grid, signal, stderr, stdout};

const SOON: Duration = Duration::from_millis(30);

fn refused<T: std::fmt::Debug>(ended: Result<T, ClientError>) -> Refusal {
    match ended {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_dataset_outlives_its_publisher() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("hello").await;
    let publisher = grid.embedded.client().await.unwrap();
    let futures = publisher.map((0..10).map(inc::call)).await.unwrap();
    publisher.dataset("numbers").publish(&futures).await.unwrap();
    let taken = refused(publisher.dataset("numbers").publish(&futures[..1]).await);
    assert!(matches!(taken, Refusal::NameExists { .. }), "{taken}");
    drop(futures);
    publisher.close().await;
    eventually("the publisher is gone", async || grid.client.status().await.unwrap().clients == 1)
        .await;
    let numbers = grid.client.dataset("numbers");
    let found = numbers.get::<i64>().await.unwrap();
    assert!(grid.client.gather(&found).await.unwrap().into_iter().eq(1..=10));
    let listed = grid.client.named(NamedKind::Dataset).await.unwrap();
    assert_eq!((listed.len(), listed[0].size), (1, 10));
    numbers.unpublish().await.unwrap();
    drop(found);
    eventually("its results are freed", async || {
        grid.client.status().await.unwrap().calls.is_empty()
    })
    .await;
    assert!(matches!(refused(numbers.unpublish().await), Refusal::UnknownName { .. }));
    assert!(matches!(refused(numbers.get::<i64>().await), Refusal::UnknownName { .. }));
}

#[tokio::test]
async fn variables_hold_values_and_futures() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("hello").await;
    let other = grid.embedded.client().await.unwrap();
    let (here, there) = (grid.client.variable::<i64>("x"), other.variable::<i64>("x"));
    assert!(here.get_within(SOON).await.unwrap().is_none());
    let reading = tokio::spawn(async move { there.get().await.unwrap().result().await.unwrap() });
    eventually("he waits", async || {
        let listed = grid.client.named(NamedKind::Variable).await.unwrap();
        listed.first().is_some_and(|info| info.waiting == 1)
    })
    .await;
    here.set(5).await.unwrap();
    assert_eq!(reading.await.unwrap(), 5);
    let future = grid.client.submit(inc::call(1)).await.unwrap();
    here.set_future(&future).await.unwrap();
    drop(future);
    let there = other.variable::<i64>("x");
    assert!(matches!(there.get().await.unwrap(), Shared::Future(_)));
    assert_eq!(there.get().await.unwrap().result().await.unwrap(), 2);
    there.delete().await.unwrap();
    assert!(matches!(refused(here.delete().await), Refusal::UnknownName { .. }));
    let big = refused(grid.client.variable("big").set("x".repeat(100_000)).await);
    assert!(big.to_string().contains("share the future"), "{big}");
    let words = other.variable::<String>("x");
    here.set(1).await.unwrap();
    assert!(matches!(words.get().await, Err(ClientError::Value(_))), "another type");
}

#[tokio::test]
async fn a_queue_moves_items_between_clients_and_loses_none() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("hello").await;
    let other = grid.embedded.client().await.unwrap();
    let put = grid.client.bounded_queue::<i64>("q", 3);
    for number in 0..3 {
        put.put(number).await.unwrap();
    }
    assert!(!put.put_within(9, SOON).await.unwrap(), "it is full");
    assert_eq!(put.size().await.unwrap(), 3);
    let get = other.queue::<i64>("q");
    let producer = tokio::spawn(async move {
        for number in 3..100 {
            put.put(number).await.unwrap();
        }
    });
    let mut got = Vec::new();
    while got.len() < 100 {
        // A getter that gives up takes nothing along, however far it has come by then.
        let impatient = Duration::from_micros(50 * (got.len() as u64 % 10));
        if let Ok(item) = tokio::time::timeout(impatient, get.get()).await {
            got.push(item.unwrap().result().await.unwrap());
        }
        for item in get.get_batch(2, Some(SOON)).await.unwrap() {
            got.push(item.result().await.unwrap());
        }
    }
    producer.await.unwrap();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..100), "each once");
    assert!(get.get_within(SOON).await.unwrap().is_none());
    let future = grid.client.submit(inc::call(1)).await.unwrap();
    grid.client.queue("q").put_future(&future).await.unwrap();
    drop(future);
    assert_eq!(get.get().await.unwrap().result().await.unwrap(), 2);
    let waiting = tokio::spawn(async move { get.get().await });
    eventually("he waits", async || {
        grid.client.describe(NamedKind::Queue, "q").await.unwrap().waiting == 1
    })
    .await;
    grid.client.queue::<i64>("q").delete().await.unwrap();
    assert!(matches!(refused(waiting.await.unwrap()), Refusal::UnknownName { .. }));
}

#[tokio::test]
async fn a_lock_passes_on_when_it_is_released_dropped_or_its_client_leaves() {
    let grid = Grid::start(1, 1).await;
    let other = grid.embedded.client().await.unwrap();
    let (mine, theirs) = (grid.client.lock("l"), other.lock("l"));
    let held = mine.acquire().await.unwrap();
    assert!(held.is_held() && theirs.acquire_within(SOON).await.unwrap().is_none());
    held.release().await.unwrap();
    drop(theirs.acquire().await.unwrap());
    let _held = theirs.acquire().await.unwrap();
    let waiting = tokio::spawn(async move { mine.acquire().await.unwrap() });
    eventually("I wait", async || {
        let locks = grid.client.named(NamedKind::Lock).await.unwrap();
        locks.first().is_some_and(|lock| lock.waiting == 1)
    })
    .await;
    other.close().await;
    assert!(waiting.await.unwrap().is_held());
}

#[tokio::test]
async fn a_semaphore_is_renewed_while_it_is_held_and_lost_when_it_is_not() {
    let grid = Grid::start(1, 1).await;
    let other = grid.embedded.client().await.unwrap();
    let lease = Duration::from_millis(150);
    let two = grid.client.semaphore("s", 2).with_lease(lease);
    let first = two.acquire().await.unwrap();
    let _second = two.acquire().await.unwrap();
    let third = other.semaphore("s", 2).with_lease(lease);
    assert!(third.acquire_within(lease * 4).await.unwrap().is_none(), "both are renewed");
    assert!(first.is_held());
    let disagreed = refused(other.semaphore("s", 3).acquire().await.map(drop));
    assert!(disagreed.to_string().contains("has 2 leases"), "{disagreed}");
    first.release().await.unwrap();
    assert!(third.acquire().await.unwrap().is_held());
}

#[tokio::test]
async fn an_event_is_waited_for_and_topics_tell_their_subscribers() {
    let grid = Grid::start(1, 1).await;
    let other = grid.embedded.client().await.unwrap();
    let (here, there) = (grid.client.event("go"), other.event("go"));
    assert!(!there.wait_within(SOON).await.unwrap() && !there.is_set().await.unwrap());
    let waiting = tokio::spawn(async move { there.wait().await });
    here.set().await.unwrap();
    waiting.await.unwrap().unwrap();
    here.clear().await.unwrap();
    assert!(!here.is_set().await.unwrap());

    let (said, heard) = (grid.client.topic::<String>("news"), other.topic::<String>("news"));
    said.publish("early".into()).await.unwrap();
    let mut from_now = heard.subscribe().await.unwrap();
    let mut from_first = heard.subscribe_with_kept().await.unwrap();
    for text in ["one", "two"] {
        said.publish(text.into()).await.unwrap();
    }
    assert_eq!(from_now.next().await.unwrap().value, "one");
    for (number, text) in (0..).zip(["early", "one", "two"]) {
        let message = from_first.next().await.unwrap();
        assert_eq!((message.number, message.value.as_str()), (number, text));
    }
    drop(from_first);
    assert_eq!(from_now.next().await.unwrap().value, "two", "the other still listens");
    drop(from_now);
    eventually("nobody is told any more", async || {
        grid.client.describe(NamedKind::Topic, "news").await.unwrap().subscribers == 0
    })
    .await;
    assert_eq!(heard.recent().await.unwrap().len(), 3);
    said.delete().await.unwrap();
    assert!(matches!(refused(heard.recent().await), Refusal::UnknownName { .. }));
}

#[tokio::test]
async fn a_lock_of_a_process_that_is_killed_goes_to_the_next() {
    let grid_up = Processes::up(&["--workers=1"]);
    let client = grid_up.client().await;
    // The program ends with the process that holds the lock for it.
    let program = "while kill -0 $PPID; do sleep 0.05; done";
    let args = ["lock", "run", "deploy", "--", "sh", "-c", program];
    let mut holder = grid(grid_up.home(), &args)
        .env("GRID_SCHEDULER", &grid_up.address)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("it holds the lock", async || {
        client.describe(NamedKind::Lock, "deploy").await.is_ok_and(|lock| lock.size == 1)
    })
    .await;
    let lock = client.lock("deploy");
    assert!(lock.acquire_within(SOON).await.unwrap().is_none());
    let busy = grid_up.run(&["lock", "run", "deploy", "--timeout=0.01", "--", "true"]);
    assert_eq!(busy.status.code(), Some(6), "{}", stderr(&busy));
    signal("-KILL", u64::from(holder.id()));
    holder.wait().unwrap();
    assert!(lock.acquire().await.unwrap().is_held());
}

#[tokio::test]
async fn names_are_used_from_the_command_line() {
    let grid = Processes::up(&["--workers=1"]);
    grid.run(&["deploy", bundle_path("hello").to_str().unwrap()]);
    grid.run(&["deploy", bundle_path("noop").to_str().unwrap()]);
    let says = |args: &[&str], words: &str| {
        let output = grid.run(args);
        let said = stdout(&output) + &stderr(&output);
        assert!(said.contains(words), "{args:?}: {said}");
        output.status.code().unwrap_or(-1)
    };
    assert_eq!(says(&["run", "hello", "inc", "41", "--publish", "answer"], "published 1 calls"), 0);
    assert_eq!(says(&["dataset", "get", "answer"], "42"), 0);
    let listed = grid.run(&["dataset", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["size"]), (&json!("answer"), &json!(1)));
    let key = stdout(&grid.run(&["dataset", "get", "answer", "--keys"]));
    assert_eq!(says(&["dataset", "publish", "answer", &key[..12]], "publish with `override`"), 4);
    assert_eq!(says(&["dataset", "publish", "answer", &key[..12], "--override"], "published"), 0);
    assert_eq!(says(&["cancel", &key[..12]], "cancelled"), 0);
    assert_eq!(says(&["dataset", "get", "answer"], "cancelled"), 3);
    assert_eq!(says(&["retry", &key[..12]], "run again"), 0);
    assert_eq!(says(&["dataset", "get", "answer"], "42"), 0);
    assert_eq!(says(&["dataset", "unpublish", "answer"], "unpublished"), 0);
    assert_eq!(says(&["dataset", "get", "answer"], "no dataset is named `answer`"), 4);

    assert_eq!(
        says(&["variable", "get", "v", "--timeout=0.01"], "`v` was not set in this time"),
        6
    );
    assert_eq!(says(&["variable", "set", "v", r#"{"a":-1}"#], "set `v`"), 0);
    assert_eq!(says(&["variable", "get", "v"], r#"{"a":-1}"#), 0);
    assert_eq!(says(&["queue", "put", "q", "1", "-2", "--max=2"], "put 2 values"), 0);
    assert_eq!(says(&["queue", "put", "q", "3", "--timeout=0.01"], "had no room"), 6);
    assert_eq!(says(&["queue", "list"], "2/2"), 0);
    assert_eq!(says(&["queue", "get", "q", "--count=9"], "1\n-2"), 0);
    assert_eq!(says(&["queue", "delete", "q"], "deleted"), 0);
    assert_eq!(says(&["event", "wait", "e", "--timeout=0.01"], "was not set"), 6);
    assert_eq!(says(&["event", "set", "e"], "set `e`"), 0);
    assert_eq!(says(&["event", "wait", "e"], ""), 0);
    assert_eq!(says(&["topic", "publish", "t", "\"hi\""], "told `t`"), 0);
    assert_eq!(says(&["topic", "recent", "t"], "\"hi\""), 0);
    assert_eq!(says(&["semaphore", "run", "s", "2", "--", "sh", "-c", "exit 7"], ""), 7);
    assert_eq!(says(&["lock", "list"], "there is no lock"), 0);

    let detached = grid.run(&["run", "noop", "sleep_ms", "300", "--detach"]);
    let key = stdout(&detached).trim().to_owned();
    assert_eq!(key.len(), 64, "{key}");
    let client = grid.client().await;
    eventually("it runs to its end", async || {
        let counts = crate::support::counts(&client, "sleep_ms").await;
        counts.successes == 1
    })
    .await;
}
