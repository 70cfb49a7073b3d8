//! What a guest says to a grid about what it shares, and what it is told.

use std::sync::{Arc, Mutex};

use grid_proto::coordination::{Coordinated, EventOperation, LeaseKind, Operation};
use grid_proto::{Key, LeaseId};

use super::guest::Guest;
use super::*;
use crate::{Answer, GridAccess, GridError, NestedCall};

/// A grid that gives one answer to all, and remembers what it was asked.
struct Fake {
    answer: Coordinated,
    asked: Mutex<Vec<Operation>>,
    ended: Mutex<Vec<LeaseId>>,
}

fn none<T: Send + 'static>() -> Answer<'static, T> {
    Box::pin(async { Err(GridError::Unavailable("not here".to_owned())) })
}

impl GridAccess for Fake {
    fn submit(&self, _: Vec<NestedCall>, _: Vec<u32>) -> Answer<'_, Vec<Key>> {
        none()
    }

    fn wait(&self, _: Vec<Key>, _: bool) -> Answer<'_, u32> {
        none()
    }

    fn fetch(&self, _: Key) -> Answer<'_, Value> {
        none()
    }

    fn release(&self, _: Vec<Key>) {}

    fn coordinate(&self, operation: Operation) -> Answer<'_, Coordinated> {
        self.asked.lock().unwrap().push(operation);
        let answer = self.answer.clone();
        Box::pin(async { Ok(answer) })
    }

    fn end_lease(&self, lease: LeaseId) {
        self.ended.lock().unwrap().push(lease);
    }
}

/// Runs a guest; gives its result, and the grid that it spoke to.
fn run_with(guest: &Guest, answer: Coordinated) -> (Vec<u8>, Arc<Fake>) {
    let asked = Mutex::default();
    let fake = Arc::new(Fake { answer, asked, ended: Mutex::default() });
    let engine = engine();
    let bundle = load(&engine, &guest.build());
    assert!(bundle.uses_grid());
    let grid = Some(Arc::clone(&fake) as Arc<dyn GridAccess>);
    let report = engine.run(&CallRequest { grid, ..request(&bundle) });
    (report.outcome.unwrap().bytes, fake)
}

const SET: &str = r#"(import "grid:task/coordination@0.1.0" "event-set"
    (func $set (param i32 i32 i32)))
    (data (i32.const 600) "name")"#;

/// Answers with the error's case and its text behind it.
const SETS: &str = "
    (if (i32.ne (i32.load8_u (i32.const 700)) (i32.const 1)) (then unreachable))
    (call $ok (i32.load (i32.const 708)) (i32.load (i32.const 712)))";

fn sets(length: u32) -> Guest {
    let run = format!("(call $set (i32.const 600) (i32.const {length}) (i32.const 700)) {SETS}");
    Guest { run: run.leak(), items: SET, ..Guest::default() }
}

#[test]
fn without_a_grid_nothing_is_shared() {
    let said = run(&sets(4).build()).outcome.unwrap().bytes;
    assert!(String::from_utf8(said).unwrap().starts_with("there is no grid here"));
}

#[test]
fn a_name_beyond_its_bound_is_not_told_to_the_grid() {
    let (said, fake) = run_with(&sets(257), Coordinated::Done);
    assert_eq!(said, b"a name has at most 256 bytes");
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[test]
fn an_answer_of_another_kind_is_an_error() {
    let (said, fake) = run_with(&sets(4), Coordinated::Truth(true));
    assert_eq!(said, b"the scheduler answered something else");
    let set = Operation::Event { name: "name".to_owned(), operation: EventOperation::Set };
    assert_eq!(*fake.asked.lock().unwrap(), [set]);
}

#[test]
fn what_does_not_come_about_in_time_is_a_case_of_its_own() {
    let guest = Guest {
        run:
            "(call $wait (i32.const 600) (i32.const 4) (i32.const 1) (i64.const 5) (i32.const 700))
              (if (i32.ne (i32.load8_u (i32.const 700)) (i32.const 1)) (then unreachable))
              (call $ok (i32.const 704) (i32.const 1))",
        items: r#"(import "grid:task/coordination@0.1.0" "event-wait"
                (func $wait (param i32 i32 i32 i64 i32)))
            (data (i32.const 600) "name")"#,
        ..Guest::default()
    };
    let (case, fake) = run_with(&guest, Coordinated::TimedOut);
    assert_eq!(case, [1]);
    let operation = EventOperation::Wait { wait_ms: Some(5) };
    let wait = Operation::Event { name: "name".to_owned(), operation };
    assert_eq!(*fake.asked.lock().unwrap(), [wait]);
}

#[test]
fn a_lease_comes_and_goes() {
    let guest = Guest {
        run:
            "(call $lock (i32.const 600) (i32.const 4) (i32.const 0) (i64.const 0) (i32.const 704))
              (if (i32.load8_u (i32.const 704)) (then unreachable))
              (call $release (i64.load (i32.const 712)))
              (call $ok (i32.const 712) (i32.const 8))",
        items: r#"(import "grid:task/coordination@0.1.0" "lock-acquire"
                (func $lock (param i32 i32 i32 i64 i32)))
            (import "grid:task/coordination@0.1.0" "release" (func $release (param i64)))
            (data (i32.const 600) "name")"#,
        ..Guest::default()
    };
    let (id, fake) = run_with(&guest, Coordinated::Lease(LeaseId(77)));
    assert_eq!(id, 77_u64.to_le_bytes());
    assert_eq!(*fake.ended.lock().unwrap(), [LeaseId(77)]);
    let asked = fake.asked.lock().unwrap();
    assert!(matches!(asked[..], [Operation::Lease { kind: LeaseKind::Lock, .. }]), "{asked:?}");
}
