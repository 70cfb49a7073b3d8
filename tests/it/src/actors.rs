//! Actors: state that stays, methods in order, and what they are lost with.

use counter::*;
use grid_client::{Actor, ClientError, Future};
use grid_proto::{FailureKind, TrapKind};
use grid_sandbox::EngineConfig;

use crate::support::{Grid, Processes, bundle_bytes, eventually, failure, signal};

async fn counters(workers: usize, slots: usize) -> Grid {
    let grid = Grid::start(workers, slots).await;
    grid.deploy("counter").await;
    grid
}

async fn added(counter: &Actor, number: i64) -> Result<i64, ClientError> {
    counter.call(add::call(number)).await?.result().await
}

#[tokio::test]
async fn a_counter_counts_in_the_order_of_the_calls() {
    let grid = counters(2, 2).await;
    let counter = grid.client.actor(create::call(5)).await.unwrap();
    let mut sums = Vec::new();
    for number in 0..50 {
        sums.push(counter.call(add::call(number)).await.unwrap());
    }
    let expected: Vec<i64> = (0..50).map(|n| 5 + (0..=n).sum::<i64>()).collect();
    assert_eq!(grid.client.gather(&sums).await.unwrap(), expected);
    assert_eq!(sums[49].output(), "now 1230\n", "what another method wrote is another's");
    // The slots are free meanwhile, and other calls of the bundle find nothing of the actor.
    let others = grid.client.map([add::call(1), add::call(1)]).await.unwrap();
    assert_eq!(grid.client.gather(&others).await.unwrap(), [1, 1]);
}

#[tokio::test]
async fn an_argument_that_takes_time_keeps_the_order() {
    let grid = counters(1, 2).await;
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    let first = counter.call(add::call(later::call(10, 200))).await.unwrap();
    let second = counter.call(add::call(1)).await.unwrap();
    let both = grid.client.gather(&[second, first]).await.unwrap();
    assert_eq!(both, [11, 10]);
}

#[tokio::test]
async fn two_clients_share_an_actor_and_each_sees_its_own_order() {
    let grid = counters(2, 1).await;
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    let other = grid.embedded.client().await.unwrap();
    let same = other.actor_of(counter.key()).await.unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        ours.push(counter.call(add::call(1)).await.unwrap());
        theirs.push(same.call(add::call(1)).await.unwrap());
    }
    let ours = grid.client.gather(&ours).await.unwrap();
    let theirs = other.gather(&theirs).await.unwrap();
    assert!(ours.is_sorted() && theirs.is_sorted(), "{ours:?} {theirs:?}");
    let mut all = [ours, theirs].concat();
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>(), "one at a time");
    // It stays for the second, though the first that had it is gone.
    grid.client.clone().close().await;
    assert_eq!(added(&same, 2).await.unwrap(), 42);
}

#[tokio::test]
async fn an_error_goes_to_its_caller_and_the_state_survives() {
    let grid = counters(1, 1).await;
    let counter = grid.client.actor(create::call(1)).await.unwrap();
    let failed = counter.call(fail::call("not today")).await.unwrap();
    let failed = failure(failed.result().await);
    assert_eq!((failed.kind, failed.message.as_str()), (FailureKind::User, "not today"));
    assert_eq!(added(&counter, 1).await.unwrap(), 2);
    let refused = grid.client.actor(refuse::call("no counter")).await;
    assert!(
        matches!(refused, Err(ClientError::Failed(failure)) if failure.message == "no counter")
    );
    let wrong = counter.call(hello::inc::call(1)).await;
    assert!(matches!(wrong, Err(ClientError::Refused(_))), "the bundle is not there");
    grid.deploy("hello").await;
    let wrong = counter.call(hello::inc::call(1)).await.unwrap().result().await;
    assert!(wrong.unwrap_err().to_string().contains("it is of another bundle"));
}

/// A method that is stopped takes the counter with it; the failure of the next says how.
async fn is_lost(counter: &Actor, end: Future<i64>, kind: FailureKind) {
    let pending = counter.call(add::call(1)).await.unwrap();
    assert_eq!(failure(end.result().await).kind, kind);
    for failure in [failure(pending.result().await), failure(added(counter, 1).await)] {
        assert_eq!(failure.kind, FailureKind::ActorLost, "{failure}");
        assert!(failure.message.contains("was stopped in it"), "{failure}");
        assert!(failure.message.contains(kind.label()), "{failure}");
    }
}

#[tokio::test]
async fn a_method_that_is_stopped_takes_the_actor_with_it() {
    let grid = counters(1, 2).await;
    let panic = FailureKind::Trap { trap: TrapKind::Panic };
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    is_lost(&counter, counter.call(panics::call()).await.unwrap(), panic).await;
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    let soon = count_on::call().timeout(std::time::Duration::from_millis(100));
    let end = counter.call(soon).await.unwrap();
    is_lost(&counter, end, FailureKind::Deadline { limit_ms: 100 }).await;
    // Others do not notice.
    let counter = grid.client.actor(create::call(7)).await.unwrap();
    assert_eq!(added(&counter, 1).await.unwrap(), 8);
}

#[tokio::test]
async fn a_method_that_is_cancelled_while_it_runs_takes_the_actor_with_it() {
    let grid = counters(1, 2).await;
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    let endless = counter.call(count_on::call()).await.unwrap();
    let behind = counter.call(add::call(1)).await.unwrap();
    eventually("it runs", async || {
        grid.client.workers().await.unwrap().iter().any(|worker| worker.executing == 1)
    })
    .await;
    grid.client.cancel(vec![endless.key()], false).await.unwrap();
    assert_eq!(failure(endless.result().await).kind, FailureKind::Cancelled);
    assert_eq!(failure(behind.result().await).kind, FailureKind::ActorLost);
}

#[tokio::test]
async fn a_method_that_is_cancelled_before_it_runs_does_no_harm() {
    let grid = counters(1, 2).await;
    let counter = grid.client.actor(create::call(0)).await.unwrap();
    let slow = counter.call(add::call(later::call(1, 300))).await.unwrap();
    let unwanted = counter.call(add::call(100)).await.unwrap();
    let last = counter.call(add::call(1)).await.unwrap();
    grid.client.cancel(vec![unwanted.key()], false).await.unwrap();
    assert_eq!(grid.client.gather(&[slow, last]).await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_killed_worker_takes_its_actors_with_it_and_the_failures_say_so() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("counter"), false).await.unwrap();
    let (one, two) = (create::call(1).on("worker-0"), create::call(2).on("worker-1"));
    let (one, two) = (client.actor(one).await.unwrap(), client.actor(two).await.unwrap());
    let running = one.call(count_on::call()).await.unwrap();
    let waiting = one.call(add::call(1)).await.unwrap();
    let workers = client.workers().await.unwrap();
    let pid = workers.iter().find(|worker| worker.name == "worker-0").unwrap().pid;
    signal("-KILL", pid.into());
    for lost in [running, waiting] {
        let failure = failure(lost.result().await);
        assert_eq!(failure.kind, FailureKind::ActorLost, "{failure}");
        assert!(failure.message.contains("its worker `worker-0` is gone"), "{failure}");
    }
    assert_eq!(failure(added(&one, 1).await).kind, FailureKind::ActorLost);
    assert_eq!(added(&two, 1).await.unwrap(), 3, "the other is elsewhere");
    assert_eq!(two.call(home::call()).await.unwrap().result().await.unwrap(), "worker-1");
}

#[tokio::test]
async fn an_actor_that_nobody_wants_makes_room_for_others() {
    let engine = EngineConfig { actors_max: 1, ..EngineConfig::default() };
    let grid = Grid::start_with(1, 1, engine).await;
    grid.deploy("counter").await;
    let counter = grid.client.actor(create::call(1)).await.unwrap();
    let key = counter.key().to_string();
    let info = grid.client.calls(&key, None, 1).await.unwrap().remove(0);
    assert_eq!(info.explanation, "an actor on `worker-0`; 0 methods have not ended");
    let refused = grid.client.actor(create::call(2)).await;
    let Err(ClientError::Failed(failure)) = refused else { panic!("one too many") };
    assert!(failure.message.contains("1 actors live on this worker"), "{failure}");
    // A method that is under way keeps it.
    let last = counter.call(add::call(later::call(1, 100))).await.unwrap();
    drop(counter);
    assert_eq!(last.result().await.unwrap(), 2);
    eventually("there is room again", async || grid.client.actor(create::call(3)).await.is_ok())
        .await;
    drop(last);
    eventually("nothing of it is left", async || {
        grid.client.calls(&key, None, 1).await.unwrap().is_empty()
    })
    .await;
}
