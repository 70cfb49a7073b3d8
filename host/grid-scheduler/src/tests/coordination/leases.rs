//! Locks, semaphores and events.

use grid_proto::coordination::{
    Coordinated, EventOperation, LeaseKind, LeaseOperation, NamedKind, Operation,
};

use super::{acquire, ask, at_once, given, lease, lease_of, pass};
use crate::Event;
use crate::tests::grid::{ANN, BOB, Grid};

fn event(operation: EventOperation) -> Operation {
    Operation::Event { name: "e".to_owned(), operation }
}

fn lock() -> Operation {
    acquire(LeaseKind::Lock, 1, None, None)
}

#[test]
fn a_lock_has_one_holder_at_a_time_and_ends_with_it() {
    let mut grid = Grid::new();
    let first = lease_of(&given(&ask(&mut grid, ANN, 1, lock())));
    assert!(given(&ask(&mut grid, BOB, 2, lock())).is_empty());
    assert!(given(&ask(&mut grid, ANN, 3, lock())).is_empty(), "also for its holder");
    let taken = acquire(LeaseKind::Lock, 1, None, Some(0));
    assert_eq!(at_once(&mut grid, BOB, taken), Coordinated::TimedOut);
    let foreign = lease(LeaseKind::Lock, LeaseOperation::Release(first));
    let refused = ask(&mut grid, BOB, 4, foreign.clone()).refusal().unwrap();
    assert!(refused.contains("does not hold lock `l`"), "{refused}");
    // What she waits for goes with her too.
    let out = grid.tell(Event::ClientGone(ANN));
    let second = lease_of(&given(&out));
    assert_ne!(first, second);
    let out = ask(&mut grid, BOB, 5, lease(LeaseKind::Lock, LeaseOperation::Release(second)));
    assert_eq!(given(&out), [(BOB, 5, Coordinated::Done)]);
    let list = at_once(&mut grid, BOB, Operation::List(NamedKind::Lock));
    assert_eq!(list, Coordinated::List(Vec::new()));
    let twice = lease(LeaseKind::Lock, LeaseOperation::Release(second));
    assert!(ask(&mut grid, BOB, 6, twice).refusal().unwrap().contains("does not hold"));
}

#[test]
fn a_semaphore_has_as_many_leases_as_its_users_agree_on() {
    let mut grid = Grid::new();
    let two = || acquire(LeaseKind::Semaphore, 2, None, None);
    let first = lease_of(&given(&ask(&mut grid, ANN, 1, two())));
    lease_of(&given(&ask(&mut grid, ANN, 2, two())));
    assert!(given(&ask(&mut grid, BOB, 3, two())).is_empty());
    let three = acquire(LeaseKind::Semaphore, 3, None, None);
    let refused = ask(&mut grid, BOB, 4, three).refusal().unwrap();
    assert!(refused.contains("has 2 leases as long as it is in use, not 3"), "{refused}");
    let none = acquire(LeaseKind::Semaphore, 0, None, None);
    assert!(ask(&mut grid, BOB, 4, none).refusal().unwrap().contains("at least one"));
    let wide = acquire(LeaseKind::Lock, 2, None, None);
    assert!(ask(&mut grid, BOB, 4, wide).refusal().unwrap().contains("use a semaphore"));
    let release = lease(LeaseKind::Semaphore, LeaseOperation::Release(first));
    let out = ask(&mut grid, ANN, 5, release);
    assert_eq!(given(&out).len(), 2, "{out:?}");
}

#[test]
fn a_lease_that_is_not_renewed_ends_and_the_next_gets_it() {
    let mut grid = Grid::new();
    let leased = || acquire(LeaseKind::Semaphore, 1, Some(30), None);
    let first = lease_of(&given(&ask(&mut grid, ANN, 1, leased())));
    ask(&mut grid, BOB, 2, leased());
    let renew = lease(LeaseKind::Semaphore, LeaseOperation::Renew(first));
    assert!(given(&pass(&mut grid, 25_000)).is_empty());
    assert_eq!(at_once(&mut grid, ANN, renew.clone()), Coordinated::Done);
    assert!(given(&pass(&mut grid, 50_000)).is_empty(), "renewed in time");
    let out = pass(&mut grid, 55_000);
    assert_ne!(lease_of(&given(&out)), first);
    let refused = ask(&mut grid, ANN, 3, renew).refusal().unwrap();
    assert!(refused.contains("not renewed in time"), "{refused}");
}

#[test]
fn an_event_lets_all_go_on_until_it_is_cleared() {
    let mut grid = Grid::new();
    let wait = |wait_ms| event(EventOperation::Wait { wait_ms });
    assert_eq!(at_once(&mut grid, ANN, event(EventOperation::IsSet)), Coordinated::Truth(false));
    ask(&mut grid, ANN, 1, wait(None));
    ask(&mut grid, BOB, 2, wait(Some(60)));
    let out = ask(&mut grid, BOB, 3, event(EventOperation::Set));
    let done = Coordinated::Done;
    assert_eq!(given(&out), [(ANN, 1, done.clone()), (BOB, 2, done.clone()), (BOB, 3, done)]);
    assert_eq!(at_once(&mut grid, ANN, wait(Some(0))), Coordinated::Done);
    assert_eq!(at_once(&mut grid, ANN, event(EventOperation::IsSet)), Coordinated::Truth(true));
    at_once(&mut grid, ANN, event(EventOperation::Clear));
    assert_eq!(at_once(&mut grid, ANN, wait(Some(0))), Coordinated::TimedOut);
    let list = at_once(&mut grid, ANN, Operation::List(NamedKind::Event));
    assert_eq!(list, Coordinated::List(Vec::new()));
}
