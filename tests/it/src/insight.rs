//! What people are told of calls: why each is where it is, what happened to it, how many there are.

use std::collections::BTreeMap;

use noop::{fresh, sleep_ms, spin};
use odd::user_error::fail;
use serde_json::Value;

use crate::parts::Parts;
use crate::support::{eventually, failure, stderr, stdout};

fn json(grid: &Parts, args: &[&str]) -> Value {
    let output = grid.run(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn counted(states: &Value) -> BTreeMap<String, u64> {
    let states = states.as_object().unwrap().iter();
    states.map(|(state, count)| (state.clone(), count.as_u64().unwrap())).collect()
}

#[tokio::test]
async fn explanations_stories_and_counts_agree_with_the_listing() {
    let mut grid = Parts::start(&["--saturation=1"]).await;
    grid.worker("w", &[]).await;
    grid.deploy(&["noop", "odd"]).await;
    let client = &grid.client;
    let done = client.submit(fresh::call(3)).await.unwrap();
    done.result().await.unwrap();
    let failed = client.submit(fail::call()).await.unwrap();
    failure(failed.result().await);
    let busy = client.submit(spin::call(u64::MAX)).await.unwrap();
    grid.explained(busy.key(), "executing on `w`").await;
    let queued = client.map((0..3).map(sleep_ms::call)).await.unwrap();
    let waiting = client.submit(spin::call(&busy)).await.unwrap();
    let homeless = client.submit(fresh::call(4).on("nowhere")).await.unwrap();

    let expected = [
        (&done.key(), "memory", "its result is on 1 of 1 workers"),
        (&failed.key(), "erred", "user-error: cannot read the table"),
        (&busy.key(), "processing", "executing on `w`"),
        (&queued[2].key(), "queued", "it goes to the first worker with room"),
        (&waiting.key(), "waiting", "waits for 1 of 1 inputs, for instance"),
        (&homeless.key(), "no-worker", "a worker, host or label called nowhere"),
    ];
    for (key, state, words) in expected {
        let digits = key.to_string()[..12].to_owned();
        eventually(state, async || grid.call(*key).await.state == state).await;
        let said = stdout(&grid.run(&["explain", &digits]));
        let attempt = if state == "processing" { ", attempt 0" } else { "" };
        assert!(said.contains(&format!("is {state}{attempt}: ")), "{said}");
        assert!(said.contains(words), "{said}");
        let story = json(&grid, &["story", &digits]);
        let last = story.as_array().unwrap().last().unwrap().clone();
        assert_eq!(last["state"], state, "{story}");
        let told = stdout(&grid.run(&["story", &digits]));
        assert!(told.lines().count() > story.as_array().unwrap().len(), "with a header: {told}");
    }
    let story = json(&grid, &["story", &done.key().to_string()]);
    let steps: Vec<_> = story.as_array().unwrap().iter().collect();
    let states: Vec<_> = steps.iter().map(|step| step["state"].as_str().unwrap()).collect();
    assert!(states.ends_with(&["queued", "processing", "memory"]), "{states:?}");
    assert_eq!(steps.last().unwrap()["cause"], "worker `w`: finished");

    let mut listed = BTreeMap::<String, u64>::new();
    let mut by_task = BTreeMap::<String, BTreeMap<String, u64>>::new();
    for call in json(&grid, &["calls"]).as_array().unwrap() {
        let (state, task) = (call["state"].as_str().unwrap(), call["task"].as_str().unwrap());
        *listed.entry(state.to_owned()).or_default() += 1;
        *by_task.entry(task.to_owned()).or_default().entry(state.to_owned()).or_default() += 1;
    }
    assert_eq!(listed.values().sum::<u64>(), 8);
    assert_eq!(counted(&json(&grid, &["status"])["calls"]), listed);
    for task in json(&grid, &["tasks"]).as_array().unwrap() {
        let name =
            format!("{}:{}", task["bundle"].as_str().unwrap(), task["task"].as_str().unwrap());
        assert_eq!(counted(&task["states"]), by_task.remove(&name).unwrap_or_default(), "{name}");
    }
    assert!(by_task.is_empty(), "{by_task:?}");
    for command in ["explain", "story"] {
        let unknown = grid.run(&[command, "ffffffffffff"]);
        assert_eq!(unknown.status.code(), Some(4));
        assert!(stderr(&unknown).contains("is not known"), "{}", stderr(&unknown));
    }
}
