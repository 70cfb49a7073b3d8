//! What a guest sees of the world: its output, WASI, itself.

use super::guest::Guest;
use super::*;
use crate::{DirGrant, EngineConfig, plain_text};

const STDOUT: &str = r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
        (func $write (param i32 i32 i32 i32)))
    (import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes"
        (func $zeroes (param i32 i64 i32)))
    (data (i32.const 600) "first line\0a")
    (data (i32.const 620) "\1b[31mred\1b[0m \1b]0;title\07end\0a")"#;

#[test]
fn output_is_captured_without_control_sequences() {
    let guest = Guest {
        run: "(local.set $i (call $stdout))
              (call $write (local.get $i) (i32.const 600) (i32.const 11) (i32.const 700))
              (call $write (local.get $i) (i32.const 620) (i32.const 27) (i32.const 700))
              unreachable",
        items: STDOUT,
        ..Guest::default()
    };
    let report = run(&guest.build());
    assert_eq!(report.output, "first line\nred end\n");
    assert_eq!(report.spent.output_bytes, 38);
    assert_eq!(report.spent.output_dropped_bytes, 0);
    assert_eq!(report.outcome.unwrap_err().last_lines, ["first line", "red end"]);
}

#[test]
fn a_flood_of_output_is_cut_and_counted() {
    let guest = Guest {
        run: "(local $n i32)
              (local.set $i (call $stdout))
              (loop $more
                  (call $write (local.get $i) (i32.const 600) (i32.const 11) (i32.const 700))
                  (local.set $n (i32.add (local.get $n) (i32.const 1)))
                  (br_if $more (i32.lt_u (local.get $n) (i32.const 100000))))
              (call $write (local.get $i) (i32.const 620) (i32.const 27) (i32.const 700))
              (call $ok (i32.const 0) (i32.const 0))",
        items: STDOUT,
        ..Guest::default()
    };
    let report = run(&guest.build());
    report.outcome.unwrap();
    assert_eq!(report.spent.output_bytes, 1_100_027);
    // The first and the last bytes are kept.
    assert_eq!(report.spent.output_dropped_bytes, 1_100_027 - 1024 - 4096);
    assert!(report.output.starts_with("first line\nfirst line\n"));
    assert!(report.output.ends_with("red end\n"));
}

#[test]
fn zeroes_are_counted_and_not_made() {
    let guest = Guest {
        run: "(call $zeroes (call $stdout) (i64.const 0x7fffffffffff) (i32.const 700))
              (call $ok (i32.const 0) (i32.const 0))",
        items: STDOUT,
        ..Guest::default()
    };
    let report = run(&guest.build());
    report.outcome.unwrap();
    assert_eq!(report.spent.output_bytes, 0x7fff_ffff_ffff);
}

#[test]
fn text_is_made_plain() {
    let cases: [(&[u8], &str); 7] = [
        (b"a\x1b[1;31mb\x1b[0mc", "abc"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        (b"a\rb\x08c\0\td\n", "abc\td\n"),
        (b"bad \xff byte", "bad \u{fffd} byte"),
        ("\u{202e}gpj.exe".as_bytes(), "gpj.exe"),
        (b"open \x1b]0;never closed\nnext", "open next"),
        (b"cut \x1b[", "cut "),
    ];
    for (bytes, expected) in cases {
        assert_eq!(plain_text(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn log_lines_are_output() {
    let guest = Guest {
        run: "(call $log (i32.const 2) (i32.const 528) (i32.const 13))
              (call $ok (i32.const 0) (i32.const 0))",
        items: r#"(import "grid:task/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#,
        ..Guest::default()
    };
    assert_eq!(run(&guest.build()).output, "WARN it went wrong\n");
}

#[test]
fn a_call_knows_itself() {
    // Answers with `info.task` and the worker's name, which lie behind each other in memory.
    let guest = Guest {
        run: "(call $current (i32.const 700))
              (call $ok (i32.load (i32.const 708)) (i32.load (i32.const 712)))",
        items: r#"(import "grid:task/context@0.1.0" "current" (func $current (param i32)))"#,
        ..Guest::default()
    };
    assert_eq!(run(&guest.build()).outcome.unwrap(), raw(b"only"));
    let guest = Guest {
        run: "(i64.store (i32.const 700) (call $remaining))
              (call $ok (i32.const 700) (i32.const 8))",
        items: r#"(import "grid:task/context@0.1.0" "remaining-ms" (func $remaining (result i64)))"#,
        ..Guest::default()
    };
    let bytes = run(&guest.build()).outcome.unwrap().bytes;
    let remaining = u64::from_le_bytes(bytes.try_into().unwrap());
    assert!((1..=20_000).contains(&remaining), "{remaining}");
}

#[test]
fn random_bytes_are_bounded() {
    let guest = |bytes: u64| {
        let run = format!(
            "(call $random (i64.const {bytes}) (i32.const 700)) (call $ok (i32.const 0) (i32.const 0))"
        );
        Guest {
            run: run.leak(),
            items: r#"(import "wasi:random/random@0.2.0" "get-random-bytes"
                (func $random (param i64 i32)))"#,
            ..Guest::default()
        }
        .build()
    };
    assert!(run(&guest(1 << 10)).outcome.is_ok());
    assert_eq!(failure(&guest(1 << 40)).kind, trap(TrapKind::Other));
}

#[test]
fn resources_are_bounded() {
    let guest = Guest {
        run: "(loop $more (drop (call $stdout)) (br $more)) unreachable",
        items: STDOUT,
        ..Guest::default()
    };
    assert_eq!(failure(&guest.build()).kind, trap(TrapKind::Other));
}

#[test]
fn an_environment_is_empty() {
    let guest = Guest {
        run: "(call $arguments (i32.const 700))
              (call $ok (i32.const 704) (i32.const 4))",
        items: r#"(import "wasi:cli/environment@0.2.0" "get-arguments"
            (func $arguments (param i32)))"#,
        ..Guest::default()
    };
    assert_eq!(run(&guest.build()).outcome.unwrap(), raw(&[0; 4]));
}

#[test]
fn a_directory_without_a_grant_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let grant = DirGrant {
        bundle: "guest".into(),
        host: dir.path().into(),
        guest: "/data".into(),
        writable: false,
    };
    let config = EngineConfig { slots: 1, grants: vec![grant], ..EngineConfig::default() };
    let engine = Engine::new(config).unwrap();
    let bundle = load(&engine, &Guest::default().build());
    let (data, other) = (["/data".to_owned()], ["/other".to_owned()]);
    let ask = |bundle_name, reads, writes| {
        engine.run(&CallRequest { bundle_name, reads, writes, ..request(&bundle) }).outcome
    };
    ask("guest", &data, &[]).unwrap();
    let refused =
        [ask("guest", &other, &[]), ask("guest", &[], &data), ask("stranger", &data, &[])];
    for outcome in refused {
        let failure = outcome.unwrap_err();
        assert!(matches!(failure.kind, FailureKind::HostDenied { .. }), "{failure}");
    }
    // Granted but gone: the worker's path is not told.
    drop(dir);
    let failure = ask("guest", &data, &[]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::HostDenied { what: "directory `/data`".into() });
    assert!(!failure.message.contains("tmp"), "{failure}");
}

#[test]
fn without_a_grid_a_guest_is_told_so_and_may_ask_to_run_elsewhere() {
    let told = Guest {
        // Waits for no call at all; the error's case is 3, `unavailable`, and its text follows.
        run: "(call $wait (i32.const 600) (i32.const 0) (i32.const 700))
              (if (i32.ne (i32.load8_u (i32.const 700)) (i32.const 1)) (then unreachable))
              (if (i32.ne (i32.load8_u (i32.const 704)) (i32.const 3)) (then unreachable))
              (call $ok (i32.load (i32.const 708)) (i32.load (i32.const 712)))",
        items: r#"(import "grid:task/grid@0.1.0" "wait-all" (func $wait (param i32 i32 i32)))"#,
        ..Guest::default()
    };
    let engine = engine();
    let bundle = load(&engine, &told.build());
    assert!(bundle.uses_grid());
    let said = engine.run(&request(&bundle)).outcome.unwrap();
    assert!(String::from_utf8(said.bytes).unwrap().starts_with("there is no grid here"));
    let elsewhere = Guest {
        run: "(call $reschedule) unreachable",
        items: r#"(import "grid:task/grid@0.1.0" "reschedule" (func $reschedule))"#,
        ..Guest::default()
    };
    assert_eq!(failure(&elsewhere.build()).kind, FailureKind::Rescheduled);
    assert!(!load(&engine, &Guest::default().build()).uses_grid());
}
