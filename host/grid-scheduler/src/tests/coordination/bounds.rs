//! What is refused, and that nothing is left behind by it.

use grid_proto::coordination::{
    Coordinated, ITEM_BYTES_MAX, Item, LeaseKind, NAME_BYTES_MAX, NamedKind, OPEN_PER_CLIENT_MAX,
    Operation, QueueOperation, TopicOperation, VariableOperation,
};
use grid_proto::{Codec, Value};

use super::{acquire, ask, at_once, given, item, took};
use crate::Config;
use crate::tests::grid::{ANN, BOB, Grid};

fn set(name: &str, item: Item) -> Operation {
    Operation::Variable { name: name.to_owned(), operation: VariableOperation::Set(item) }
}

fn big(bytes: usize) -> Value {
    Value { codec: Codec::Raw, bytes: vec![0; bytes] }
}

#[test]
fn names_and_values_have_bounds() {
    let mut grid = Grid::new();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let publish = TopicOperation::Publish(big(ITEM_BYTES_MAX + 1));
    let put = QueueOperation::Put {
        item: Item::Value(big(ITEM_BYTES_MAX + 1)),
        items_max: 0,
        wait_ms: None,
    };
    let cases = [
        (set("", item(1)), "needs a name"),
        (
            set("v\u{1b}[2J", item(1)),
            r#"the name "v\u{1b}[2J" of a variable has a control character"#,
        ),
        (set("two\nlines", item(1)), "has a control character"),
        (set(&long, item(1)), "at most 256 bytes; this one has 257"),
        (set("v", Item::Value(big(ITEM_BYTES_MAX + 1))), "share the future"),
        (Operation::Topic { name: "t".to_owned(), operation: publish }, "share the future"),
        (Operation::Queue { name: "q".to_owned(), operation: put }, "share the future"),
        (set("v", Item::Call(crate::tests::grid::key(5))), "is not known"),
        (
            Operation::Describe { kind: NamedKind::Queue, name: "none".to_owned() },
            "no queue is named `none`; `grid queue list`",
        ),
    ];
    for (operation, words) in cases {
        let refused = ask(&mut grid, ANN, 1, operation).refusal().unwrap();
        assert!(refused.contains(words), "{refused}");
    }
    at_once(&mut grid, ANN, set("v", Item::Value(big(ITEM_BYTES_MAX))));
}

#[test]
fn all_of_it_together_has_a_bound() {
    let mut grid = Grid::with(Config { coordination_bytes_max: 1_000, ..Config::default() });
    at_once(&mut grid, ANN, set("v", Item::Value(big(500))));
    let operations = [
        set("w", Item::Value(big(500))),
        set("v", Item::Value(big(900))),
        Operation::Topic { name: "t".to_owned(), operation: TopicOperation::Publish(big(400)) },
    ];
    for operation in operations {
        let refused = ask(&mut grid, ANN, 1, operation).refusal().unwrap();
        assert!(refused.contains("of 1000 bytes"), "{refused}");
    }
    let read = VariableOperation::Get { wait_ms: None };
    let read = Operation::Variable { name: "v".to_owned(), operation: read };
    assert_eq!(given(&ask(&mut grid, BOB, 2, read)).len(), 1, "reading is not refused");
    took(&mut grid, BOB, 2);
    let delete = VariableOperation::Delete;
    at_once(&mut grid, ANN, Operation::Variable { name: "v".to_owned(), operation: delete });
    at_once(&mut grid, ANN, set("w", Item::Value(big(500))));
}

#[test]
fn subscriptions_are_bounded_and_end_with_their_client_or_topic() {
    let mut grid = Grid::new();
    let topic = |number: u64, operation| {
        let name = format!("t{number}");
        Operation::Topic { name, operation }
    };
    let subscribe = |number| topic(number, TopicOperation::Subscribe);
    let most = OPEN_PER_CLIENT_MAX as u64;
    for number in 0..most {
        let operation = subscribe(number);
        let request = grid_proto::RequestId(number);
        let event = grid_proto::message::FromClient::Coordinate { request, operation };
        grid.machine.handle(grid.now, crate::Event::Client(ANN, event));
    }
    grid.settle();
    let one_more = ask(&mut grid, ANN, most, subscribe(most));
    assert!(one_more.refusal().unwrap().contains("give some up first"), "{one_more:?}");
    // Somebody else's deletion, or unsubscribing, makes room for one each.
    at_once(&mut grid, BOB, topic(0, TopicOperation::Delete));
    at_once(&mut grid, ANN, subscribe(most));
    assert!(ask(&mut grid, ANN, most, subscribe(0)).refusal().is_some());
    at_once(&mut grid, ANN, topic(1, TopicOperation::Unsubscribe));
    at_once(&mut grid, ANN, subscribe(0));
    // All of them are silent: they go with the only one who listens.
    at_once(&mut grid, BOB, subscribe(2));
    grid.tell(crate::Event::ClientGone(ANN));
    let Coordinated::List(left) = at_once(&mut grid, BOB, Operation::List(NamedKind::Topic)) else {
        panic!()
    };
    assert_eq!(left.iter().map(|info| &*info.name).collect::<Vec<_>>(), ["t2"]);
}

#[test]
fn one_client_has_so_much_open_and_no_request_twice() {
    let mut grid = Grid::new();
    ask(&mut grid, BOB, 0, acquire(LeaseKind::Lock, 1, None, None));
    for request in 0..OPEN_PER_CLIENT_MAX as u64 {
        let event = grid_proto::message::FromClient::Coordinate {
            request: grid_proto::RequestId(request),
            operation: acquire(LeaseKind::Lock, 1, None, None),
        };
        grid.machine.handle(grid.now, crate::Event::Client(ANN, event));
    }
    grid.settle();
    let one_more = ask(&mut grid, ANN, 1 << 20, acquire(LeaseKind::Lock, 1, None, None));
    assert!(one_more.refusal().unwrap().contains("give some up first"), "{one_more:?}");
    let twice = ask(&mut grid, ANN, 7, acquire(LeaseKind::Lock, 1, None, None));
    assert!(twice.refusal().unwrap().contains("request 7 is open already"), "{twice:?}");
}
