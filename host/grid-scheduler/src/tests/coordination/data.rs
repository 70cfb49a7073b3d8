//! Datasets, variables and queues.

use grid_proto::coordination::{
    Coordinated, DatasetOperation, Item, NamedKind, Operation, QueueOperation, VariableOperation,
};
use grid_proto::message::FromClient;

use super::{abandon, ask, at_once, given, item, pass, took};
use crate::Event;
use crate::tests::grid::{ANN, BOB, Grid, call, key};

fn dataset(operation: DatasetOperation) -> Operation {
    Operation::Dataset { name: "d".to_owned(), operation }
}

fn publish(calls: &[u64], replace: bool) -> Operation {
    let keys = calls.iter().copied().map(key).collect();
    dataset(DatasetOperation::Publish { keys, replace })
}

fn variable(operation: VariableOperation) -> Operation {
    Operation::Variable { name: "v".to_owned(), operation }
}

fn put(item: Item, items_max: u32, wait_ms: Option<u64>) -> Operation {
    queue(QueueOperation::Put { item, items_max, wait_ms })
}

fn get(count_max: u32, wait_ms: Option<u64>) -> Operation {
    queue(QueueOperation::Get { count_max, items_max: 0, wait_ms })
}

fn queue(operation: QueueOperation) -> Operation {
    Operation::Queue { name: "q".to_owned(), operation }
}

fn release(call: u64) -> FromClient {
    FromClient::Release(vec![key(call)])
}

#[test]
fn a_dataset_outlives_who_published_it_and_gives_futures_to_others() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    assert_eq!(at_once(&mut grid, ANN, publish(&[1], false)), Coordinated::Done);
    grid.finish(10, 1, 0, 9);
    assert!(grid.tell(Event::ClientGone(ANN)).freed().is_empty());
    let out = ask(&mut grid, BOB, 1, dataset(DatasetOperation::Get));
    assert_eq!(given(&out), [(BOB, 1, Coordinated::Items(vec![Item::Call(key(1))]))]);
    // Unpublished while it is on its way: it is kept for him still.
    assert_eq!(at_once(&mut grid, BOB, dataset(DatasetOperation::Unpublish)), Coordinated::Done);
    assert_eq!(took(&mut grid, BOB, 1).ready(BOB), [1]);
    assert_eq!(grid.say(BOB, release(1)).freed(), [(10, 1)]);
    assert!(grid.calls().is_empty());
}

#[test]
fn a_dataset_is_computed_though_its_client_left_and_again_when_it_is_lost() {
    let mut grid = Grid::new();
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    at_once(&mut grid, ANN, publish(&[2], false));
    grid.tell(Event::ClientGone(ANN));
    assert_eq!(grid.worker(10, 1).placed(), [(10, 1, 0)]);
    grid.finish(10, 1, 0, 1);
    grid.finish(10, 2, 0, 1);
    grid.tell(Event::WorkerGone(grid_proto::WorkerId(10)));
    assert_eq!(grid.worker(11, 1).placed(), [(11, 1, 1)]);
}

#[test]
fn a_name_is_taken_once_unless_replaced_and_given_up_once() {
    let mut grid = Grid::new();
    grid.submit(ANN, &[call(1, &[]), call(2, &[])], &[key(1), key(2)]);
    at_once(&mut grid, ANN, publish(&[1], false));
    let refused = ask(&mut grid, BOB, 1, publish(&[2], false)).refusal().unwrap();
    assert!(refused.contains("dataset `d` already") && refused.contains("override"), "{refused}");
    at_once(&mut grid, BOB, publish(&[2, 1], true));
    let refused = ask(&mut grid, BOB, 1, publish(&[9], true)).refusal().unwrap();
    assert!(refused.contains("is not known"), "{refused}");
    let Coordinated::List(list) = at_once(&mut grid, BOB, Operation::List(NamedKind::Dataset))
    else {
        panic!()
    };
    assert_eq!((list.len(), &*list[0].name, list[0].size), (1, "d", 2));
    at_once(&mut grid, ANN, dataset(DatasetOperation::Unpublish));
    for operation in [DatasetOperation::Unpublish, DatasetOperation::Get] {
        let refused = ask(&mut grid, ANN, 1, dataset(operation)).refusal().unwrap();
        assert!(refused.contains("no dataset is named `d`"), "{refused}");
    }
}

#[test]
fn a_variable_is_waited_for_read_by_many_and_replaced() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let read = || variable(VariableOperation::Get { wait_ms: None });
    assert!(given(&ask(&mut grid, BOB, 1, read())).is_empty());
    assert!(given(&ask(&mut grid, ANN, 2, read())).is_empty());
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    let out = ask(&mut grid, ANN, 3, variable(VariableOperation::Set(Item::Call(key(1)))));
    let items = Coordinated::Items(vec![Item::Call(key(1))]);
    let expected = [(BOB, 1, items.clone()), (ANN, 2, items), (ANN, 3, Coordinated::Done)];
    assert_eq!(given(&out), expected);
    grid.tell(Event::ClientGone(ANN));
    assert!(grid.say(BOB, release(1)).cancelled().is_empty());
    at_once(&mut grid, BOB, variable(VariableOperation::Set(item(7))));
    assert_eq!(grid.state(1), "processing", "it is on its way to him");
    assert_eq!(abandon(&mut grid, BOB, 1).cancelled(), [(10, 1, 0)]);
    let out = ask(&mut grid, BOB, 4, read());
    assert_eq!(given(&out), [(BOB, 4, Coordinated::Items(vec![item(7)]))]);
    took(&mut grid, BOB, 4);
    at_once(&mut grid, BOB, variable(VariableOperation::Delete));
    let refused = ask(&mut grid, BOB, 5, variable(VariableOperation::Delete)).refusal().unwrap();
    assert!(refused.contains("no variable is named `v`"), "{refused}");
}

#[test]
fn who_waits_too_long_is_told_in_time() {
    let mut grid = Grid::new();
    let read = |wait_ms| variable(VariableOperation::Get { wait_ms });
    assert_eq!(at_once(&mut grid, ANN, read(Some(0))), Coordinated::TimedOut);
    ask(&mut grid, ANN, 1, read(Some(5)));
    ask(&mut grid, BOB, 1, read(Some(3)));
    ask(&mut grid, BOB, 2, read(None));
    assert!(given(&pass(&mut grid, 3_000)).is_empty());
    assert_eq!(given(&pass(&mut grid, 3_001)), [(BOB, 1, Coordinated::TimedOut)]);
    assert_eq!(given(&pass(&mut grid, 9_000_000)), [(ANN, 1, Coordinated::TimedOut)]);
    assert_eq!(given(&abandon(&mut grid, BOB, 2)), [(BOB, 2, Coordinated::TimedOut)]);
    let list = at_once(&mut grid, ANN, Operation::List(NamedKind::Variable));
    assert_eq!(list, Coordinated::List(Vec::new()), "it existed for their sake only");
}

#[test]
fn a_queue_is_first_in_first_out_bounded_and_fair_to_both_ends() {
    let mut grid = Grid::new();
    for byte in 0..2 {
        assert_eq!(at_once(&mut grid, ANN, put(item(byte), 2, None)), Coordinated::Done);
    }
    assert!(given(&ask(&mut grid, ANN, 1, put(item(2), 2, None))).is_empty(), "it is full");
    assert_eq!(at_once(&mut grid, ANN, put(item(3), 0, Some(0))), Coordinated::TimedOut);
    let out = ask(&mut grid, BOB, 2, get(1, None));
    let expected = [(BOB, 2, Coordinated::Items(vec![item(0)])), (ANN, 1, Coordinated::Done)];
    assert_eq!(given(&out), expected);
    took(&mut grid, BOB, 2);
    let out = ask(&mut grid, BOB, 3, get(10, None));
    assert_eq!(given(&out), [(BOB, 3, Coordinated::Items(vec![item(1), item(2)]))]);
    took(&mut grid, BOB, 3);
    ask(&mut grid, BOB, 4, get(10, None));
    ask(&mut grid, ANN, 5, get(10, None));
    let out = ask(&mut grid, ANN, 6, put(item(9), 0, None));
    let expected = [(ANN, 6, Coordinated::Done), (BOB, 4, Coordinated::Items(vec![item(9)]))];
    assert_eq!(given(&out), expected, "who waited longest");
    let refused = ask(&mut grid, BOB, 7, put(item(1), 3, None)).refusal().unwrap();
    assert!(refused.contains("holds at most 2 items, not 3"), "{refused}");
}

#[test]
fn items_go_back_to_the_front_when_nobody_took_them() {
    let mut grid = Grid::new();
    for byte in 0..3 {
        at_once(&mut grid, ANN, put(item(byte), 3, None));
    }
    ask(&mut grid, BOB, 1, get(2, None));
    ask(&mut grid, ANN, 2, get(1, None));
    ask(&mut grid, ANN, 3, get(3, None));
    let out = grid.tell(Event::ClientGone(BOB));
    assert_eq!(given(&out), [(ANN, 3, Coordinated::Items(vec![item(0), item(1)]))]);
    took(&mut grid, ANN, 3);
    abandon(&mut grid, ANN, 2);
    let out = ask(&mut grid, ANN, 4, get(9, None));
    assert_eq!(given(&out), [(ANN, 4, Coordinated::Items(vec![item(2)]))]);
}

#[test]
fn a_queue_keeps_the_calls_in_it_and_drops_them_when_it_is_deleted() {
    let mut grid = Grid::new();
    grid.worker(10, 4);
    let calls = [call(1, &[]), call(2, &[]), call(3, &[])];
    grid.submit(ANN, &calls, &[key(1), key(2), key(3)]);
    at_once(&mut grid, ANN, put(Item::Call(key(1)), 2, None));
    at_once(&mut grid, ANN, put(Item::Call(key(2)), 2, None));
    ask(&mut grid, BOB, 1, put(Item::Call(key(3)), 2, None));
    assert!(grid.tell(Event::ClientGone(ANN)).cancelled().is_empty());
    let out = ask(&mut grid, BOB, 2, get(1, None));
    assert_eq!(given(&out).len(), 2, "one is taken, the waiting one has room");
    took(&mut grid, BOB, 2);
    let out = ask(&mut grid, BOB, 3, queue(QueueOperation::Delete));
    assert_eq!(out.cancelled(), [(10, 2, 0), (10, 3, 0)]);
    assert_eq!(grid.state(1), "processing", "he took that one over");
    let refused = ask(&mut grid, BOB, 4, queue(QueueOperation::Delete)).refusal().unwrap();
    assert!(refused.contains("no queue is named `q`"), "{refused}");
}

#[test]
fn who_waits_at_a_queue_that_is_deleted_is_refused() {
    let mut grid = Grid::new();
    ask(&mut grid, BOB, 1, get(1, None));
    let out = ask(&mut grid, ANN, 2, queue(QueueOperation::Delete));
    assert!(out.refusal().unwrap().contains("no queue is named `q`"), "{out:?}");
    assert_eq!(given(&out), [(ANN, 2, Coordinated::Done)]);
}
