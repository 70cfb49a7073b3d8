//! What a guest keeps beyond its call.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::guest::Guest;
use super::*;
use crate::{LocalAccess, LocalBytes, LocalError};

/// A worker that keeps values of three bytes.
#[derive(Default)]
struct Fake(Mutex<BTreeMap<String, LocalBytes>>);

impl LocalAccess for Fake {
    fn get(&self, key: &str) -> Option<LocalBytes> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Option<LocalBytes>, LocalError> {
        if bytes.len() > 3 {
            return Err(LocalError::OverLimit("it is too large".to_owned()));
        }
        if let Some(there) = self.get(key) {
            return Ok(Some(there));
        }
        self.0.lock().unwrap().insert(key.to_owned(), Arc::new(bytes));
        Ok(None)
    }

    fn take(&self, key: &str) -> Option<LocalBytes> {
        self.0.lock().unwrap().remove(key)
    }
}

const LOCAL: &str = r#"(import "grid:task/worker-local@0.1.0" "get"
        (func $get (param i32 i32 i32)))
    (import "grid:task/worker-local@0.1.0" "put-if-absent"
        (func $put (param i32 i32 i32 i32 i32)))
    (import "grid:task/worker-local@0.1.0" "take" (func $take (param i32 i32 i32)))
    (data (i32.const 600) "key")
    (data (i32.const 610) "one")
    (data (i32.const 620) "three bytes")"#;

fn guest(run: &'static str) -> Vec<u8> {
    Guest { run, items: LOCAL, ..Guest::default() }.build()
}

/// Gets; answers with what is there, or nothing.
const GETS: &str = "(call $get (i32.const 600) (i32.const 3) (i32.const 704))
    (if (i32.load8_u (i32.const 704))
        (then (return (call $ok (i32.load (i32.const 708)) (i32.load (i32.const 712))))))
    (call $ok (i32.const 0) (i32.const 0))";

/// Puts `one`; answers with what was there, or nothing.
const PUTS: &str = "(call $put (i32.const 600) (i32.const 3) (i32.const 610) (i32.const 3)
        (i32.const 704))
    (if (i32.load8_u (i32.const 704)) (then unreachable))
    (if (i32.load8_u (i32.const 708))
        (then (return (call $ok (i32.load (i32.const 712)) (i32.load (i32.const 716))))))
    (call $ok (i32.const 0) (i32.const 0))";

const TAKES: &str = "(call $take (i32.const 600) (i32.const 3) (i32.const 704))
    (if (i32.eqz (i32.load8_u (i32.const 704))) (then unreachable))
    (call $ok (i32.load (i32.const 708)) (i32.load (i32.const 712)))";

/// Puts what must be refused; answers with the error's number and its text's.
const REFUSED: &str = "(call $put (i32.const 600) (i32.const 3) (i32.const 620) (i32.const 11)
        (i32.const 704))
    (if (i32.eqz (i32.load8_u (i32.const 704))) (then unreachable))
    (i32.store8 (i32.sub (i32.load (i32.const 712)) (i32.const 1)) (i32.load8_u (i32.const 708)))
    (call $ok (i32.sub (i32.load (i32.const 712)) (i32.const 1))
        (i32.add (i32.load (i32.const 716)) (i32.const 1)))";

#[test]
fn a_value_outlives_its_call_until_it_is_taken() {
    let engine = engine();
    let fake = Arc::new(Fake::default());
    let answer = |run| {
        let bundle = load(&engine, &guest(run));
        assert!(bundle.uses_local());
        let local = Some(Arc::clone(&fake) as Arc<dyn LocalAccess>);
        engine.run(&CallRequest { local, ..request(&bundle) }).outcome.unwrap()
    };
    assert_eq!(
        [GETS, PUTS, PUTS, GETS, TAKES, GETS].map(answer),
        [raw(b""), raw(b""), raw(b"one"), raw(b"one"), raw(b"one"), raw(b""),]
    );
}

#[test]
fn a_value_that_is_too_large_is_refused_in_words() {
    let engine = engine();
    let bundle = load(&engine, &guest(REFUSED));
    let local = Some(Arc::new(Fake::default()) as Arc<dyn LocalAccess>);
    let said = engine.run(&CallRequest { local, ..request(&bundle) }).outcome.unwrap();
    assert_eq!(said, raw(b"\0it is too large"));
}

#[test]
fn where_nothing_is_kept_a_guest_is_told_so() {
    let said = run(&guest(REFUSED)).outcome.unwrap().bytes;
    assert!(said.starts_with(b"\x01nothing is kept here"), "{said:?}");
    assert_eq!(run(&guest(GETS)).outcome.unwrap(), raw(b""));
    assert!(!load(&engine(), &Guest::default().build()).uses_local());
}

#[test]
fn an_actor_has_what_each_call_brings() {
    let engine = engine();
    let bundle = load(&engine, &guest(PUTS));
    let local = || Some(Arc::new(Fake::default()) as Arc<dyn LocalAccess>);
    let (report, actor) = engine.create(&CallRequest { local: local(), ..request(&bundle) });
    assert_eq!(report.outcome.unwrap(), raw(b""));
    let again = CallRequest { local: local(), ..request(&bundle) };
    let (report, actor) = engine.run_in(actor.unwrap(), &again);
    assert_eq!(report.outcome.unwrap(), raw(b""));
    // Without one it is not that of the call before.
    let (report, _) = engine.run_in(actor.unwrap(), &request(&bundle));
    assert_eq!(report.outcome.unwrap_err().kind, trap(TrapKind::Unreachable));
}
