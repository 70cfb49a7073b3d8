//! Topics.

use grid_proto::ClientId;
use grid_proto::coordination::{
    Coordinated, NamedKind, Operation, TOPIC_MESSAGES_MAX, TopicOperation,
};
use grid_proto::message::ToClient;

use super::{ask, at_once, value};
use crate::tests::grid::{ANN, BOB, Grid, Out};
use crate::{Action, Event};

fn topic(operation: TopicOperation) -> Operation {
    Operation::Topic { name: "t".to_owned(), operation }
}

fn told(out: &Out) -> Vec<(ClientId, u64)> {
    let told = |action: &Action| match action {
        Action::ToClient(client, ToClient::Topic { message, .. }) => {
            Some((*client, message.number))
        }
        _ => None,
    };
    out.0.iter().filter_map(told).collect()
}

#[test]
fn subscribers_are_told_and_late_readers_find_the_last_messages() {
    let mut grid = Grid::new();
    at_once(&mut grid, ANN, topic(TopicOperation::Subscribe));
    let publish = || topic(TopicOperation::Publish(value(1)));
    assert_eq!(told(&ask(&mut grid, BOB, 1, publish())), [(ANN, 0)]);
    let Coordinated::Messages(kept) = at_once(&mut grid, BOB, topic(TopicOperation::Subscribe))
    else {
        panic!()
    };
    assert_eq!((kept.len(), &kept[0].value), (1, &value(1)));
    assert_eq!(told(&ask(&mut grid, BOB, 1, publish())), [(ANN, 1), (BOB, 1)]);
    at_once(&mut grid, ANN, topic(TopicOperation::Unsubscribe));
    grid.tell(Event::ClientGone(BOB));
    for _ in 0..TOPIC_MESSAGES_MAX {
        assert!(told(&ask(&mut grid, ANN, 1, publish())).is_empty());
    }
    let Coordinated::Messages(kept) = at_once(&mut grid, ANN, topic(TopicOperation::Recent)) else {
        panic!()
    };
    assert_eq!((kept.len(), kept[0].number), (TOPIC_MESSAGES_MAX, 2));
    at_once(&mut grid, ANN, topic(TopicOperation::Delete));
    for operation in [TopicOperation::Recent, TopicOperation::Delete, TopicOperation::Unsubscribe] {
        let refused = ask(&mut grid, ANN, 1, topic(operation)).refusal().unwrap();
        assert!(refused.contains("no topic is named `t`"), "{refused}");
    }
}

#[test]
fn a_topic_without_messages_goes_with_its_last_subscriber() {
    let mut grid = Grid::new();
    at_once(&mut grid, ANN, topic(TopicOperation::Subscribe));
    let list = || Operation::List(NamedKind::Topic);
    let Coordinated::List(listed) = at_once(&mut grid, BOB, list()) else { panic!() };
    assert_eq!((listed[0].size, listed[0].subscribers), (0, 1));
    grid.tell(Event::ClientGone(ANN));
    assert_eq!(at_once(&mut grid, BOB, list()), Coordinated::List(Vec::new()));
}
