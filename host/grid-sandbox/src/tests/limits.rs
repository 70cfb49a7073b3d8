//! Every limit holds and has a failure of its own.

use std::thread;
use std::time::{Duration, Instant};

use grid_proto::LimitBounds;

use super::guest::Guest;
use super::*;

/// Grows its memory page by page until that fails, then gives up as Rust does.
const BOMB: &str = "(loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    unreachable";

#[test]
fn a_memory_bomb_is_out_of_memory() {
    let report = run(&Guest::doing(BOMB));
    let failure = report.outcome.unwrap_err();
    let limit_bytes = limits().memory_bytes_max;
    let asked_bytes = limit_bytes + (64 << 10);
    assert_eq!(failure.kind, FailureKind::OutOfMemory { limit_bytes, asked_bytes });
    assert_eq!(failure.spent.peak_memory_bytes, limit_bytes);
    assert_eq!(failure.spent, report.spent);
}

#[test]
fn a_refused_growth_that_the_guest_survives_is_no_failure() {
    let guest = Guest::doing(
        "(drop (memory.grow (i32.const 1000))) (call $ok (i32.const 0) (i32.const 0))",
    );
    assert!(run(&guest).outcome.is_ok());
}

#[test]
fn a_panic_after_a_refused_growth_stays_a_panic() {
    let guest = Guest {
        run: "(drop (memory.grow (i32.const 1000)))
              (call $panicked (i32.const 528) (i32.const 13) (i32.const 512) (i32.const 0)
                  (i32.const 0) (i32.const 0))
              unreachable",
        items: r#"(import "grid:task/diagnostics@0.1.0" "panicked"
            (func $panicked (param i32 i32 i32 i32 i32 i32)))"#,
        ..Guest::default()
    };
    let failure = failure(&guest.build());
    assert_eq!(failure.kind, trap(TrapKind::Panic));
    assert_eq!(failure.message, "panicked: it went wrong");
}

#[test]
fn starting_with_too_much_memory_is_out_of_memory() {
    let guest = Guest { pages: 100, ..Guest::default() }.build();
    let (limit_bytes, asked_bytes) = (limits().memory_bytes_max, 100 << 16);
    assert_eq!(failure(&guest).kind, FailureKind::OutOfMemory { limit_bytes, asked_bytes });
}

#[test]
fn tables_count_as_memory() {
    let guest = Guest {
        run: "(loop $more
                  (br_if $more
                      (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1))))
              unreachable",
        items: "(table 1 10000 funcref)",
        ..Guest::default()
    };
    let engine = engine();
    let bundle = load(&engine, &guest.build());
    let limits = Limits { memory_bytes_max: (2 << 16) + 50_000, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::OutOfMemory { .. }), "{failure}");
    assert_eq!(failure.spent.peak_memory_bytes, (2 << 16) + 6001 * 8);
}

#[test]
fn arguments_that_do_not_fit_are_out_of_memory() {
    let engine = engine();
    let bundle = load(&engine, &Guest::default().build());
    let large = vec![0; 8 << 20];
    let arguments = [argument(&large)];
    let failure =
        engine.run(&CallRequest { arguments: &arguments, ..request(&bundle) }).outcome.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::OutOfMemory { .. }), "{failure}");
}

#[test]
fn a_large_argument_arrives() {
    let guest = Guest::doing("(call $ok (i32.const 0) (i32.const 0))");
    let engine = engine();
    let bundle = load(&engine, &guest);
    let large = vec![0; 200 << 20];
    let limits = Limits { memory_bytes_max: 1 << 30, ..limits() };
    let arguments = [argument(&large)];
    let report = engine.run(&CallRequest { arguments: &arguments, limits, ..request(&bundle) });
    report.outcome.unwrap();
}

const LOOP: &str = "(loop $again (br $again)) unreachable";

#[test]
fn an_endless_loop_meets_its_deadline() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing(LOOP));
    let limits = Limits { wall_ms_max: 30, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline { limit_ms: 30 });
    assert!(!failure.trace.is_empty());
    assert!(failure.spent.wall_us >= 30_000);
}

#[test]
fn a_start_function_that_loops_meets_the_deadline() {
    let guest = Guest {
        items: "(start $forever) (func $forever (loop $again (br $again)))",
        ..Guest::default()
    };
    let limits = Limits { wall_ms_max: 10, ..limits() };
    let bounds = LimitBounds { default: limits, ceiling: limits };
    let engine = Engine::new(EngineConfig { bounds, ..EngineConfig::default() }).unwrap();
    let bundle = load(&engine, &guest.build());
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline { limit_ms: 10 });
    assert!(engine.describe(&bundle).unwrap_err().to_string().contains("deadline"));
}

const SLEEP: Guest = Guest {
    // A year in nanoseconds.
    run: "(call $block (call $sleep (i64.const 31536000000000000))) unreachable",
    items: r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration"
            (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#,
    pages: 2,
    tasks: &["only"],
};

#[test]
fn a_guest_that_sleeps_for_a_year_meets_its_deadline() {
    let engine = engine();
    let bundle = load(&engine, &SLEEP.build());
    let limits = Limits { wall_ms_max: 20, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Deadline { limit_ms: 20 });
}

#[test]
fn a_short_sleep_ends() {
    let guest = Guest {
        run: "(call $block (call $sleep (i64.const 1000000)))
              (call $ok (i32.const 0) (i32.const 0))",
        ..SLEEP
    };
    run(&guest.build()).outcome.unwrap();
}

#[test]
fn cancelling_stops_a_loop_and_a_sleeper() {
    let engine = engine();
    for guest in [Guest::doing(LOOP), SLEEP.build()] {
        let bundle = load(&engine, &guest);
        let cancel = CancelToken::new();
        let running = thread::spawn({
            let (engine, cancel) = (engine.clone(), cancel.clone());
            move || engine.run(&CallRequest { cancel, ..request(&bundle) })
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while engine.ticker().running_calls() == 0 {
            assert!(Instant::now() < deadline, "the call does not start");
            thread::yield_now();
        }
        cancel.cancel();
        let report = running.join().unwrap();
        assert_eq!(report.outcome.unwrap_err().kind, FailureKind::Cancelled);
        assert!(report.spent.wall_us < 5_000_000);
    }
}

#[test]
fn a_cancelled_call_does_not_begin() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing("unreachable"));
    let request = request(&bundle);
    request.cancel.cancel();
    let failure = engine.run(&request).outcome.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Cancelled);
    assert_eq!(failure.spent.peak_memory_bytes, 0);
}

#[test]
fn a_result_over_its_limit_is_told_with_its_size() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing("(call $ok (i32.const 0) (i32.const 100000))"));
    let limits = Limits { result_bytes_max: 99_999, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    let kind = FailureKind::ResultTooLarge { limit_bytes: 99_999, size_bytes: 100_000 };
    assert_eq!(failure.kind, kind);
    let limits = Limits { result_bytes_max: 100_000, ..limits };
    assert!(engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.is_ok());
}

#[test]
fn a_result_far_over_its_limit_is_not_copied() {
    let guest = Guest {
        run: "(call $ok (i32.const 0) (i32.const 0x1000000))",
        pages: 256,
        ..Guest::default()
    };
    let engine = engine();
    let bundle = load(&engine, &guest.build());
    let limits = Limits { result_bytes_max: 10, memory_bytes_max: 1 << 30, ..limits() };
    let failure = engine.run(&CallRequest { limits, ..request(&bundle) }).outcome.unwrap_err();
    assert!(
        matches!(failure.kind, FailureKind::ResultTooLarge { limit_bytes: 10, .. }),
        "{failure}"
    );
}

#[test]
fn more_calls_than_slots_wait_for_each_other() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing("(call $ok (i32.const 528) (i32.const 2))"));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(b"it"));
                }
            });
        }
    });
}

#[test]
fn the_ticker_sleeps_when_nothing_runs() {
    let engine = engine();
    let bundle = load(&engine, &Guest::default().build());
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !engine.ticker().is_asleep() {
            assert!(Instant::now() < deadline, "the ticker stays awake");
            thread::yield_now();
        }
        assert!(engine.run(&request(&bundle)).outcome.is_ok());
    }
}
