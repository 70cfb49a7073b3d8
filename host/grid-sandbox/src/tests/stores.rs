//! What a guest says to stores outside, and how it waits for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use grid_proto::outside::{
    Answer, ObjectEntry, ObjectListing, ObjectStores, ObjectWriter, OpenObject, StoreAccess,
    StoreError, StoreErrorKind,
};

use super::guest::Guest;
use super::*;

/// Stores that hold `hello` under every URL; reading at byte 7 takes for ever.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Seen>);

/// The bundle's name, and what the task asks for.
type Asked = (String, Vec<String>, Vec<String>);

#[derive(Debug, Default)]
struct Seen {
    calls: Mutex<Vec<Asked>>,
    written: Mutex<Vec<u8>>,
    reads_for_ever: AtomicUsize,
    writers: AtomicUsize,
    given_up: AtomicUsize,
}

impl ObjectStores for Fake {
    fn for_call(&self, bundle: &str, reads: &[String], writes: &[String]) -> Arc<dyn StoreAccess> {
        self.0.calls.lock().unwrap().push((bundle.to_owned(), reads.to_vec(), writes.to_vec()));
        Arc::new(self.clone())
    }
}

fn now<T: Send + 'static>(answer: Result<T, StoreError>) -> Answer<'static, T> {
    Box::pin(async { answer })
}

impl StoreAccess for Fake {
    fn open(&self, url: String) -> Answer<'_, Arc<dyn OpenObject>> {
        let entry = ObjectEntry { url, size: 5, modified_ms: 7 };
        now(Ok(Arc::new(Found(self.clone(), entry))))
    }

    fn list(&self, _: String) -> Answer<'_, Box<dyn ObjectListing>> {
        now(Ok(Box::new(Nothing)))
    }

    fn put(&self, url: String, _: Vec<u8>, if_absent: bool) -> Answer<'_, ()> {
        let error = StoreError::new(StoreErrorKind::Exists, &url, "it is there").at(9);
        now(if if_absent { Err(error) } else { Ok(()) })
    }

    fn create(&self, _: String, _: bool) -> Answer<'_, Box<dyn ObjectWriter>> {
        self.0.writers.fetch_add(1, Ordering::Relaxed);
        now(Ok(Box::new(Writing(self.clone()))))
    }
}

struct Found(Fake, ObjectEntry);

impl OpenObject for Found {
    fn entry(&self) -> &ObjectEntry {
        &self.1
    }

    fn read(&self, offset: u64, _: u32) -> Answer<'static, Vec<u8>> {
        match offset {
            7 => {
                self.0.0.reads_for_ever.fetch_add(1, Ordering::Relaxed);
                Box::pin(std::future::pending())
            }
            _ => now(Ok(b"hello".to_vec())),
        }
    }
}

struct Nothing;

impl ObjectListing for Nothing {
    fn next(&mut self) -> Answer<'_, Vec<ObjectEntry>> {
        now(Ok(Vec::new()))
    }
}

struct Writing(Fake);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.0.given_up.fetch_add(1, Ordering::Relaxed);
    }
}

impl ObjectWriter for Writing {
    fn write(&mut self, bytes: Vec<u8>) -> Answer<'_, ()> {
        self.0.0.written.lock().unwrap().extend(bytes);
        now(Ok(()))
    }

    fn finish(&mut self) -> Answer<'_, ()> {
        now(Ok(()))
    }
}

const STORE: &str = r#"(import "grid:task/store@0.1.0" "open" (func $open (param i32 i32 i32)))
    (import "grid:task/store@0.1.0" "[method]object.read"
        (func $read (param i32 i64 i32 i32)))
    (import "grid:task/store@0.1.0" "[resource-drop]object" (func $drop_object (param i32)))
    (import "grid:task/store@0.1.0" "list" (func $list (param i32 i32 i32)))
    (import "grid:task/store@0.1.0" "[resource-drop]listing" (func $drop_listing (param i32)))
    (import "grid:task/store@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32 i32)))
    (import "grid:task/store@0.1.0" "create" (func $create (param i32 i32 i32 i32)))
    (import "grid:task/store@0.1.0" "[method]writer.write"
        (func $write (param i32 i32 i32 i32)))
    (data (i32.const 600) "s3://b/k")"#;

fn guest(run: &'static str) -> Guest {
    Guest { run, items: STORE, ..Guest::default() }
}

/// An engine whose bundles may use the fake.
fn with_stores() -> (Engine, Fake) {
    let fake = Fake::default();
    let stores = Some(Arc::new(fake.clone()) as Arc<dyn ObjectStores>);
    let config = EngineConfig { slots: 2, stores, ..EngineConfig::default() };
    (Engine::new(config).unwrap(), fake)
}

/// Opens, and leaves the handle in memory at 712.
const OPENS: &str = "(call $open (i32.const 600) (i32.const 8) (i32.const 704))
    (if (i32.load8_u (i32.const 704)) (then unreachable))";

#[test]
fn an_object_is_opened_and_read() {
    let (engine, fake) = with_stores();
    let run = format!(
        "{OPENS}
        (call $read (i32.load (i32.const 712)) (i64.const 0) (i32.const 9) (i32.const 800))
        (if (i32.load8_u (i32.const 800)) (then unreachable))
        (call $drop_object (i32.load (i32.const 712)))
        (call $ok (i32.load (i32.const 808)) (i32.load (i32.const 812)))"
    );
    let bundle = load(&engine, &guest(run.leak()).build());
    let (reads, writes) = (["s3://b/".to_owned()], ["file:///out".to_owned()]);
    let request = CallRequest { reads: &reads, writes: &writes, ..request(&bundle) };
    assert_eq!(engine.run(&request).outcome.unwrap(), raw(b"hello"));
    let seen = ("guest".to_owned(), reads.to_vec(), writes.to_vec());
    assert_eq!(*fake.0.calls.lock().unwrap(), [seen]);
}

#[test]
fn an_error_says_what_and_where() {
    let (engine, _) = with_stores();
    // Kind 4 is `exists`; the offset is there, and the text follows.
    let guest = guest(
        "(call $put (i32.const 600) (i32.const 8) (i32.const 600) (i32.const 1) (i32.const 1)
                (i32.const 704))
        (if (i32.ne (i32.load8_u (i32.const 704)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 712)) (i32.const 4)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 728)) (i32.const 1)) (then unreachable))
        (if (i64.ne (i64.load (i32.const 736)) (i64.const 9)) (then unreachable))
        (call $ok (i32.load (i32.const 744)) (i32.load (i32.const 748)))",
    );
    let bundle = load(&engine, &guest.build());
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(b"it is there"));
}

#[test]
fn without_stores_a_guest_is_told_so() {
    let told = guest(
        "(call $open (i32.const 600) (i32.const 8) (i32.const 704))
        (if (i32.ne (i32.load8_u (i32.const 704)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 712)) (i32.const 5)) (then unreachable))
        (call $ok (i32.load (i32.const 744)) (i32.load (i32.const 748)))",
    );
    let said = run(&told.build()).outcome.unwrap().bytes;
    assert!(String::from_utf8(said).unwrap().starts_with("there are no stores here"));
}

#[test]
fn a_bundle_that_uses_no_store_is_not_shown_any() {
    let (engine, fake) = with_stores();
    let bundle = load(&engine, &Guest::default().build());
    engine.run(&request(&bundle)).outcome.unwrap();
    assert!(fake.0.calls.lock().unwrap().is_empty());
}

#[test]
fn no_wait_for_a_store_outlives_the_call() {
    let (engine, fake) = with_stores();
    let run = format!(
        "{OPENS}
        (call $read (i32.load (i32.const 712)) (i64.const 7) (i32.const 9) (i32.const 800))
        unreachable"
    );
    let bundle = load(&engine, &guest(run.leak()).build());
    let limits = Limits { wall_ms_max: 50, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline { limit_ms: 50 });
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let request = CallRequest { cancel: cancel.clone(), ..request(&bundle) };
        let running = scope.spawn(|| engine.run(&{ request }).outcome.unwrap_err());
        while fake.0.reads_for_ever.load(Ordering::Relaxed) < 2 {
            std::thread::yield_now();
        }
        cancel.cancel();
        assert_eq!(running.join().unwrap().kind, FailureKind::Cancelled);
    });
}

#[test]
fn what_is_begun_is_bounded_and_dropped() {
    let (engine, fake) = with_stores();
    // Answers with the number of listings that it could begin before one was refused as 6,
    // `over-limit`; then lets go of one and begins a writer.
    let guest = guest(
        "(loop $more
            (call $list (i32.const 600) (i32.const 8) (i32.const 704))
            (if (i32.eqz (i32.load8_u (i32.const 704)))
                (then
                    (i32.store (i32.const 900) (i32.load (i32.const 712)))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $more))))
        (if (i32.ne (i32.load8_u (i32.const 712)) (i32.const 6)) (then unreachable))
        (call $drop_listing (i32.load (i32.const 900)))
        (call $create (i32.const 600) (i32.const 8) (i32.const 0) (i32.const 704))
        (if (i32.load8_u (i32.const 704)) (then unreachable))
        (call $write (i32.load (i32.const 712)) (i32.const 600) (i32.const 8) (i32.const 800))
        (if (i32.load8_u (i32.const 800)) (then unreachable))
        (i32.store8 (i32.const 950) (local.get $i))
        (call $ok (i32.const 950) (i32.const 1))",
    );
    let bundle = load(&engine, &guest.build());
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(&[8]));
    assert_eq!(*fake.0.written.lock().unwrap(), b"s3://b/k");
    // It never let go of its writer: that ended with the call.
    let (writers, given_up) = (&fake.0.writers, &fake.0.given_up);
    assert_eq!((writers.load(Ordering::Relaxed), given_up.load(Ordering::Relaxed)), (1, 1));
}

#[test]
fn objects_are_bounded() {
    let (engine, _) = with_stores();
    let run = format!("(loop $more {OPENS} (br $more)) unreachable");
    let bundle = load(&engine, &guest(run.leak()).build());
    let failure = engine.run(&request(&bundle)).outcome.unwrap_err();
    assert_eq!(failure.kind, trap(TrapKind::Other));
}
