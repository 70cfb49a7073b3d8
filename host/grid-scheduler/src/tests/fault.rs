//! A machine whose state is made wrong: it finds it, stops, and tells.

use grid_proto::message::Query;

use super::grid::{ANN, Grid, call, key};
use crate::call::State;
use crate::{Action, Config, Event, Now};

/// A reader that waits for an input that executes.
fn waiting(checked_per_turn: usize) -> Grid {
    let mut grid = Grid::with(Config { checked_per_turn, ..Config::default() });
    grid.worker(1, 1);
    grid.submit(ANN, &[call(1, &[]), call(2, &[1])], &[key(2)]);
    grid
}

fn turn(grid: &mut Grid) {
    grid.machine.flush(Now(2));
}

#[test]
fn a_walk_over_a_few_calls_in_each_turn_finds_what_cannot_be() {
    let mut grid = waiting(1);
    let reader = grid.machine.calls.find(&key(2)).unwrap();
    grid.machine.calls[reader].state = State::Waiting { missing: 2 };
    // The walk has all places of the arena to come to.
    for _ in 0..1_000 {
        turn(&mut grid);
    }
    let words = format!("call {} (waiting): missing inputs are miscounted", key(2).short());
    assert_eq!(grid.machine.fault(), Some(&*words));
    assert_eq!(grid.machine.check(), Err(words));
}

#[test]
fn without_the_walk_and_in_order_nothing_is_found() {
    let mut grid = waiting(0);
    let reader = grid.machine.calls.find(&key(2)).unwrap();
    grid.machine.calls[reader].state = State::Waiting { missing: 2 };
    (0..1_000).for_each(|_| turn(&mut grid));
    assert_eq!(grid.machine.fault(), None);
    let mut grid = waiting(300);
    (0..1_000).for_each(|_| turn(&mut grid));
    assert_eq!(grid.machine.fault(), None);
}

#[test]
fn what_a_step_meets_is_found_at_once_and_nothing_is_done_after_it() {
    let mut grid = Grid::new();
    grid.submit(ANN, &[call(1, &[])], &[key(1)]);
    assert_eq!(grid.machine.unbound.len(), 1);
    grid.machine.unbound.clear();
    let release = grid_proto::message::FromClient::Release(vec![key(1)]);
    grid.machine.handle(Now(2), Event::Client(ANN, release));
    let words = format!(
        "call {} (queued): it is not among the calls that may run anywhere",
        key(1).short()
    );
    assert_eq!(grid.machine.fault(), Some(&*words));

    let clients = grid.machine.status().clients;
    grid.machine.handle(Now(3), Event::ClientGone(ANN));
    let query = grid_proto::message::FromClient::Query {
        request: grid_proto::RequestId(1),
        query: Query::Status,
    };
    grid.machine.handle(Now(3), Event::Client(ANN, query));
    turn(&mut grid);
    grid.machine.handle_timeout(Now(4));
    assert_eq!(grid.machine.status().clients, clients, "ANN is still there for it");
    assert_eq!(grid.machine.poll_action().map(|action: Action| format!("{action:?}")), None);
}

#[test]
fn a_dump_tells_the_contradiction_the_calls_around_it_and_the_last_events() {
    let mut grid = waiting(300);
    let reader = grid.machine.calls.find(&key(2)).unwrap();
    grid.machine.calls[reader].state = State::Waiting { missing: 2 };
    turn(&mut grid);
    let dump = grid.machine.dump();
    assert!(dump.fault.unwrap().contains("missing inputs are miscounted"));
    let keys: Vec<_> = dump.calls.iter().map(|call| call.key).collect();
    assert_eq!(keys, [key(1), key(2)], "the call and its input");
    assert!(dump.story.iter().any(|step| step.key == key(1) && step.state == "processing"));
    assert_eq!((dump.workers.len(), dump.status.calls["waiting"]), (1, 1));
    assert_eq!(dump.queues["unbound"], 0);
    let events = grid.machine.recent_events();
    let submit = format!("client 1: submit, call {}, of 2 calls", key(1));
    assert!(events.iter().any(|event| event.contains(&submit)), "{events:?}");
    assert!(events.last().unwrap().contains("own: turn"), "{events:?}");
}

#[test]
fn the_last_events_are_bounded_and_numbered() {
    let mut grid = waiting(0);
    (0..1_000).for_each(|_| turn(&mut grid));
    let events = grid.machine.recent_events();
    assert_eq!(events.len(), 256);
    let number = |event: &String| event.split(' ').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(number(&events[255]) - number(&events[0]), 255);
    assert!(number(&events[0]) > 700);
}
