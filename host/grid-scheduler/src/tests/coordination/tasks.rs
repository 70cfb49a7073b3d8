//! Calls that share by name while they run: all that they wait for and hold ends with the attempt.

use grid_proto::coordination::{
    Coordinated, DatasetOperation, EventOperation, Item, LeaseKind, LeaseOperation, NamedKind,
    OPEN_PER_CLIENT_MAX, Operation, QueueOperation, VariableOperation,
};
use grid_proto::message::{Answer, FromClient, FromWorker, Outcome, ToClient};
use grid_proto::{Attempt, ClientId, FailureKind, LeaseId, RequestId, Spent, TrapKind, WorkerId};

use super::{acquire, ask, at_once, given, item, lease, lease_of, pass};
use crate::Event;
use crate::tests::grid::{ANN, BOB, Grid, Out, call, key};

/// A worker with room that runs so many calls, from 1; call 1 is Ann's.
fn running(calls: u64) -> Grid {
    let mut grid = Grid::new();
    grid.worker(1, 8);
    for number in 1..=calls {
        let client = if number == 1 { ANN } else { BOB };
        grid.submit(client, &[call(number, &[])], &[key(number)]);
    }
    grid
}

impl Grid {
    /// A running call, in its first attempt, does something with what is shared.
    fn shares(&mut self, number: u64, request: u64, operation: Operation) -> Out {
        let request = RequestId(request);
        self.speak(1, number, 0, FromClient::Coordinate { request, operation })
    }
}

impl Out {
    /// What was given to a running call, as which request.
    fn given_to(&self, number: u64) -> Vec<(u64, Coordinated)> {
        let given = |(_, message): (u32, &ToClient)| match message {
            ToClient::Answer { request, answer: Answer::Coordinated(given) } => {
                Some((request.0, given.clone()))
            }
            _ => None,
        };
        self.told(number).into_iter().filter_map(given).collect()
    }
}

fn lock(wait_ms: Option<u64>) -> Operation {
    acquire(LeaseKind::Lock, 1, None, wait_ms)
}

fn queue(operation: QueueOperation) -> Operation {
    Operation::Queue { name: "q".to_owned(), operation }
}

fn take() -> Operation {
    queue(QueueOperation::Get { count_max: 1, items_max: 1, wait_ms: None })
}

fn put(item: Item) -> Operation {
    queue(QueueOperation::Put { item, items_max: 1, wait_ms: None })
}

fn variable(operation: VariableOperation) -> Operation {
    Operation::Variable { name: "v".to_owned(), operation }
}

/// Every way in which the attempt of call 1 ends.
fn ends() -> Vec<fn(&mut Grid) -> Out> {
    vec![
        |grid| grid.finish(1, 1, 0, 8),
        |grid| grid.fail(1, 1, 0, FailureKind::User),
        |grid| grid.fail(1, 1, 0, FailureKind::Trap { trap: TrapKind::Panic }),
        |grid| grid.say(ANN, FromClient::Cancel { keys: vec![key(1)], force: false }),
        |grid| grid.say(ANN, FromClient::Cancel { keys: vec![key(1)], force: true }),
        |grid| grid.say(ANN, FromClient::Release(vec![key(1)])),
        |grid| grid.tell(Event::ClientGone(ANN)),
        |grid| grid.tell(Event::WorkerGone(WorkerId(1))),
        |grid| {
            let (key, attempt) = (key(1), Attempt(0));
            let (outcome, spent) = (Outcome::Reschedule, Spent::default());
            grid.hear(1, FromWorker::Finished { key, attempt, outcome, spent })
        },
    ]
}

/// What of a kind has somebody who holds or waits.
fn in_use(grid: &mut Grid, kind: NamedKind) -> u64 {
    match at_once(grid, BOB, Operation::List(kind)) {
        Coordinated::List(list) => list.iter().map(|info| info.size + info.waiting).sum(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lease_ends_with_its_attempt_however_that_ends() {
    for (n, end) in ends().into_iter().enumerate() {
        let mut grid = running(1);
        let held = grid.shares(1, 1, lock(None)).given_to(1);
        assert!(matches!(held[..], [(1, Coordinated::Lease(_))]), "{held:?}");
        assert!(given(&ask(&mut grid, BOB, 1, lock(None))).is_empty());
        let out = end(&mut grid);
        let next = lease_of(&given(&out));
        assert_eq!(in_use(&mut grid, NamedKind::Lock), 1, "{n}");
        let release = lease(LeaseKind::Lock, LeaseOperation::Release(next));
        assert_eq!(at_once(&mut grid, BOB, release), Coordinated::Done, "{n}");
        assert_eq!(in_use(&mut grid, NamedKind::Lock), 0, "{n}");
    }
}

#[test]
fn a_wait_ends_with_its_attempt_and_leaves_nothing() {
    let full = |grid: &mut Grid| at_once(grid, BOB, put(item(7)));
    for (n, end) in ends().into_iter().enumerate() {
        let mut grid = running(1);
        full(&mut grid);
        let held = lease_of(&given(&ask(&mut grid, BOB, 1, lock(None))));
        let event = EventOperation::Wait { wait_ms: None };
        let event = Operation::Event { name: "e".to_owned(), operation: event };
        let waits =
            [lock(None), put(item(8)), variable(VariableOperation::Get { wait_ms: None }), event];
        for (request, operation) in waits.into_iter().enumerate() {
            let out = grid.shares(1, 1 + request as u64, operation);
            assert!(out.given_to(1).is_empty(), "{n}: {out:?}");
        }
        end(&mut grid);
        let release = lease(LeaseKind::Lock, LeaseOperation::Release(held));
        at_once(&mut grid, BOB, release);
        let kinds = [NamedKind::Lock, NamedKind::Variable, NamedKind::Event];
        assert_eq!(kinds.map(|kind| in_use(&mut grid, kind)), [0; 3], "{n}");
        assert_eq!(in_use(&mut grid, NamedKind::Queue), 1, "{n}: what it would have put is there");
    }
}

#[test]
fn items_that_an_attempt_did_not_take_are_the_next_ones() {
    for end in ends() {
        let mut grid = running(1);
        at_once(&mut grid, BOB, put(item(7)));
        let given_to = grid.shares(1, 1, take()).given_to(1);
        assert_eq!(given_to, [(1, Coordinated::Items(vec![item(7)]))]);
        assert!(given(&ask(&mut grid, BOB, 2, take())).is_empty());
        let out = end(&mut grid);
        assert_eq!(given(&out), [(BOB, 2, Coordinated::Items(vec![item(7)]))]);
    }
}

#[test]
fn calls_wait_for_each_other_and_give_their_slots_back() {
    let mut grid = Grid::new();
    grid.worker(1, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    grid.shares(1, 1, take());
    assert_eq!(grid.submit(ANN, &[call(2, &[])], &[key(2)]).placed(), [(1, 2, 0)]);
    let more: Vec<_> = (3..6).map(|number| call(number, &[])).collect();
    grid.submit(BOB, &more, &[key(3), key(4), key(5)]);
    assert!(!grid.waits(1, 1, 0, true).placed().is_empty(), "its slot is free");
    let out = grid.shares(2, 1, put(item(7)));
    assert_eq!(out.given_to(1), [(1, Coordinated::Items(vec![item(7)]))]);
    assert_eq!(out.given_to(2), [(1, Coordinated::Done)]);
}

#[test]
fn a_call_that_was_taken_is_held_until_the_attempt_ends() {
    let mut grid = running(1);
    grid.submit(BOB, &[call(9, &[])], &[key(9)]);
    grid.finish(1, 9, 0, 8);
    at_once(&mut grid, BOB, put(Item::Call(key(9))));
    grid.say(BOB, FromClient::Release(vec![key(9)]));
    let given_to = grid.shares(1, 1, take()).given_to(1);
    assert_eq!(given_to, [(1, Coordinated::Items(vec![Item::Call(key(9))]))]);
    let out = grid.speak(1, 1, 0, FromClient::Took(RequestId(1)));
    assert!(matches!(out.told(1)[..], [(1, ToClient::Ready { .. })]), "{out:?}");
    assert_eq!(grid.state(9), "memory");
    let publish = DatasetOperation::Publish { keys: vec![key(9)], replace: false };
    let publish = Operation::Dataset { name: "d".to_owned(), operation: publish };
    assert_eq!(grid.shares(1, 2, publish).given_to(1), [(2, Coordinated::Done)]);
    grid.finish(1, 1, 0, 8);
    assert_eq!(grid.state(9), "memory", "its name outlives the attempt");
    let unpublish = DatasetOperation::Unpublish;
    at_once(&mut grid, BOB, Operation::Dataset { name: "d".to_owned(), operation: unpublish });
    assert_eq!(grid.state(9), "unknown");
}

#[test]
fn what_waits_for_a_call_gives_it_no_result() {
    let mut grid = running(2);
    grid.submit(BOB, &[call(3, &[1])], &[key(3)]);
    // Call 2 waits for call 1, by way of call 3.
    at_once(&mut grid, BOB, variable(VariableOperation::Set(Item::Call(key(3)))));
    let read = || variable(VariableOperation::Get { wait_ms: None });
    grid.shares(2, 1, read());
    grid.speak(1, 2, 0, FromClient::Took(RequestId(1)));
    for circle in [1, 2, 3] {
        at_once(&mut grid, BOB, variable(VariableOperation::Set(Item::Call(key(circle)))));
        grid.shares(1, 10 + circle, read());
        let out = grid.speak(1, 1, 0, FromClient::Took(RequestId(10 + circle)));
        let [(1, ToClient::Failed { key: failed, failure })] = out.told(1)[..] else {
            panic!("{circle}: {out:?}")
        };
        assert_eq!(*failed, key(circle));
        assert!(failure.message.contains("waits for the call that asks"), "{failure}");
    }
    assert!(grid.fail(1, 1, 0, FailureKind::User).failed(BOB).iter().any(|it| it.0 == 3));
}

#[test]
fn an_attempt_that_is_over_shares_nothing() {
    let mut grid = running(1);
    grid.tell(Event::WorkerGone(WorkerId(1)));
    grid.worker(1, 8);
    let out = grid.shares(1, 1, lock(None));
    assert_eq!(out.cancelled(), [(1, 1, 0)], "it would wait for ever");
    assert_eq!(in_use(&mut grid, NamedKind::Lock), 0);
}

#[test]
fn time_outs_of_calls_are_the_schedulers() {
    let mut grid = running(1);
    assert!(grid.shares(1, 1, take()).given_to(1).is_empty());
    grid.shares(1, 2, variable(VariableOperation::Get { wait_ms: Some(50) }));
    assert!(pass(&mut grid, 40_000).given_to(1).is_empty());
    assert_eq!(pass(&mut grid, 60_000).given_to(1), [(2, Coordinated::TimedOut)]);
}

#[test]
fn why_a_call_waits_is_told() {
    let mut grid = running(1);
    ask(&mut grid, BOB, 1, lock(None));
    let why = |grid: &mut Grid| grid.calls()[0].explanation.clone();
    grid.shares(1, 1, lock(None));
    grid.waits(1, 1, 0, true);
    assert_eq!(why(&mut grid), "waits on `w1` for lock `l`");
    grid.speak(1, 1, 0, FromClient::Abandon(RequestId(1)));
    assert_eq!(why(&mut grid), "waits on `w1` for calls that it submitted");
}

#[test]
fn a_call_that_holds_too_much_may_still_give_it_back() {
    let mut grid = running(1);
    let semaphore = |request| FromClient::Coordinate {
        request: RequestId(request),
        operation: acquire(LeaseKind::Semaphore, 1 << 20, None, None),
    };
    let from_task = |message| {
        let (key, attempt, message) = (key(1), Attempt(0), Box::new(message));
        Event::Worker(WorkerId(1), FromWorker::FromTask { key, attempt, message })
    };
    for request in 1..=OPEN_PER_CLIENT_MAX as u64 {
        grid.machine.handle(grid.now, from_task(semaphore(request)));
    }
    grid.settle();
    let told = |out: &Out| out.told(1).into_iter().map(|(_, it)| it.clone()).collect::<Vec<_>>();
    let out = grid.tell(from_task(semaphore(1 << 20)));
    assert!(
        matches!(told(&out)[..], [ToClient::Answer { answer: Answer::Refused(_), .. }]),
        "{out:?}"
    );
    let release = LeaseOperation::Release(LeaseId(0));
    let out = grid.shares(1, 1 << 21, lease(LeaseKind::Semaphore, release));
    assert_eq!(out.given_to(1), [(1 << 21, Coordinated::Done)]);
    let out = grid.tell(from_task(semaphore(1 << 20)));
    assert!(matches!(out.given_to(1)[..], [(_, Coordinated::Lease(_))]), "{out:?}");
}

#[test]
fn what_a_call_shares_is_its_own_and_no_clients() {
    let mut grid = running(2);
    let held = grid.shares(1, 1, lock(None)).given_to(1);
    let [(1, Coordinated::Lease(id))] = held[..] else { panic!("{held:?}") };
    let release = || lease(LeaseKind::Lock, LeaseOperation::Release(id));
    let foreign: ClientId = ANN;
    assert!(ask(&mut grid, foreign, 1, release()).refusal().unwrap().contains("does not hold"));
    assert!(grid.shares(2, 1, release()).given_to(2).is_empty());
    assert_eq!(grid.shares(1, 2, release()).given_to(1), [(2, Coordinated::Done)]);
}
