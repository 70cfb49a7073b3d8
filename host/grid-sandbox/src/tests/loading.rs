//! Files that are no bundles, the compiling child, the cache of native code.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::guest::{Guest, componentize};
use super::*;
use crate::tuning::Space;
use crate::{BundleError, Compiler, EngineConfig};

fn refusal(bytes: &[u8]) -> BundleError {
    engine().load(BundleHash::of(bytes), bytes).unwrap_err()
}

#[test]
fn files_that_are_no_bundles_are_told_apart() {
    assert!(matches!(refusal(b""), BundleError::NotWasm(_)));
    assert!(matches!(refusal(b"#!/bin/sh"), BundleError::NotWasm(_)));
    let module = wat::parse_str("(module)").unwrap();
    assert_eq!(refusal(&module), BundleError::CoreModule);
    let empty = wat::parse_str("(component)").unwrap();
    assert!(refusal(&empty).to_string().contains("does not export `grid:task/tasks@0.1.0`"));
    let other = componentize(r#"(module (func (export "hello")))"#, "other");
    assert!(refusal(&other).to_string().contains("it exports `hello`"));
}

#[test]
fn an_export_of_other_types_is_refused() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "run")) (func (export "describe")))
            (core instance $i (instantiate $m))
            (func $run (canon lift (core func $i "run")))
            (func $describe (canon lift (core func $i "describe")))
            (instance $tasks (export "run" (func $run)) (export "describe" (func $describe)))
            (export "grid:task/tasks@0.1.0" (instance $tasks)))"#,
    );
    let error = refusal(&component.unwrap());
    assert!(matches!(error, BundleError::WrongExports { .. }), "{error}");
    assert!(error.to_string().contains("`describe` has other types"), "{error}");
}

#[test]
fn sockets_are_not_allowed() {
    let guest = Guest {
        run: "(drop (call $network)) unreachable",
        items: r#"(import "wasi:sockets/instance-network@0.2.0" "instance-network"
            (func $network (result i32)))"#,
        ..Guest::default()
    };
    let error = refusal(&guest.build());
    let BundleError::ImportDenied { import, allowed } = error else { panic!("{error}") };
    assert_eq!(import, "wasi:sockets/instance-network@0.2.0");
    assert!(allowed.contains("`wasi:clocks/*@0.2`"), "{allowed}");
}

#[test]
fn every_truncation_is_refused() {
    let guest = Guest::default().build();
    for end in (0..guest.len()).step_by(97) {
        let error = refusal(&guest[..end]);
        assert!(
            matches!(
                error,
                BundleError::NotWasm(_)
                    | BundleError::Invalid(_)
                    | BundleError::WrongExports { .. }
            ),
            "{end}: {error}"
        );
    }
}

#[test]
fn flipped_bytes_never_harm() {
    let engine = engine();
    let guest = Guest::default().build();
    let strict = Limits { wall_ms_max: 200, ..limits() };
    for position in (0..guest.len()).step_by(61) {
        let mut flipped = guest.clone();
        flipped[position] ^= 0x15;
        let hash = BundleHash::of(&flipped);
        // Whatever comes of it, it is an answer.
        if let Ok(bundle) = engine.load(hash, &flipped) {
            let _ = engine.describe(&bundle);
            let _ = engine.run(&CallRequest { limits: strict, ..request(&bundle) });
        }
        engine.forget(hash);
    }
}

#[test]
fn bytes_must_have_their_hash_and_size() {
    let guest = Guest::default().build();
    let error = engine().load(BundleHash([0; 32]), &guest).unwrap_err();
    assert!(matches!(error, BundleError::HashMismatch { .. }), "{error}");
    let config = EngineConfig { bundle_bytes_max: 100, ..EngineConfig::default() };
    let error = Engine::new(config).unwrap().load(BundleHash::of(&guest), &guest).unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { limit_bytes: 100, .. }), "{error}");
}

#[test]
fn a_bundle_that_needs_too_much_memory_is_refused_at_once() {
    let error = refusal(&Guest { pages: 20_000, ..Guest::default() }.build());
    assert!(matches!(error, BundleError::NeedsTooMuch(_)), "{error}");
}

#[test]
fn a_bundle_describes_itself() {
    let engine = engine();
    let guest = Guest {
        tasks: &["one", "two"],
        items: r#"
        (import "grid:task/context@0.1.0" "remaining-ms" (func $remaining (result i64)))"#,
        ..Guest::default()
    };
    let description = engine.describe(&load(&engine, &guest.build())).unwrap();
    assert_eq!(description.label(), "guest@1.0.0");
    assert_eq!(description.sdk, "text@1");
    assert!(description.imports.contains(&"grid:task/context@0.1.0".to_owned()));
    let (number, task) = description.task("two").unwrap();
    assert_eq!((number, task.output.as_str(), task.pure), (1, "Raw", true));
    assert_eq!(task.limits, grid_proto::TaskLimits::default());
}

#[test]
fn descriptions_that_cannot_be_used_are_refused() {
    let engine = engine();
    for (tasks, expected) in [
        (&[][..], "it has no tasks"),
        (&["a", "b", "a"], "two tasks named `a`"),
        (&["a b"], "the task name `a b`"),
    ] {
        let bundle = load(&engine, &Guest { tasks, ..Guest::default() }.build());
        let error = engine.describe(&bundle).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// This test binary as a compiling child: `compiles_for_a_parent` below, with the standard output
/// that the harness uses moved out of the way.
fn child() -> Compiler {
    let exe = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let name = "tests::loading::compiles_for_a_parent";
    let script = format!(
        "GRID_TEST_CHILD=1 exec \"$0\" --exact {name} --nocapture --test-threads 1 3>&1 >/dev/null"
    );
    Compiler::Child { program: "sh".into(), args: vec!["-c".into(), script, exe] }
}

/// Does nothing unless [`child`] started it.
#[test]
fn compiles_for_a_parent() {
    if std::env::var_os("GRID_TEST_CHILD").is_some() {
        let mut output = fs::OpenOptions::new().write(true).open("/proc/self/fd/3").unwrap();
        crate::compile::serve(&mut std::io::stdin().lock(), &mut output).unwrap();
        output.flush().unwrap();
    }
}

fn with_child(change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { slots: 1, compiler: child(), ..EngineConfig::default() };
    change(&mut config);
    Engine::new(config).unwrap()
}

#[test]
fn a_child_compiles() {
    let engine = with_child(|_| {});
    let bundle = load(&engine, &Guest::default().build());
    assert!(engine.run(&request(&bundle)).outcome.is_ok());
}

#[test]
fn a_child_refuses_with_a_reason() {
    let mut guest = Guest::default().build();
    guest.truncate(guest.len() / 2);
    let error = with_child(|_| {}).load(BundleHash::of(&guest), &guest).unwrap_err();
    assert!(matches!(error, BundleError::Invalid(_)), "{error}");
}

#[test]
fn a_child_is_stopped_after_its_time() {
    let engine = with_child(|config| {
        config.compile_timeout = Duration::from_millis(20);
        config.compiler = Compiler::Child { program: "sleep".into(), args: vec!["60".into()] };
    });
    let guest = Guest::default().build();
    let error = engine.load(BundleHash::of(&guest), &guest).unwrap_err();
    assert_eq!(error, BundleError::CompileTimeout { limit_ms: 20 });
}

#[test]
fn a_child_is_limited_in_memory() {
    let engine = with_child(|config| config.compile_memory_bytes_max = 96 << 20);
    // Enough functions that compiling them takes memory.
    let functions = "(func (result i32) (i32.add (i32.const 1) (i32.const 2)))".repeat(200_000);
    let guest = Guest { items: functions.leak(), ..Guest::default() }.build();
    let error = engine.load(BundleHash::of(&guest), &guest).unwrap_err();
    assert_eq!(error, BundleError::CompileMemory { limit_bytes: 96 << 20 });
}

#[test]
fn a_child_that_is_not_there_or_dies_is_told() {
    let guest = Guest::default().build();
    for (program, expected) in [("/nonexistent", "No such file"), ("false", "exit status: 1")] {
        let compiler = Compiler::Child { program: program.into(), args: Vec::new() };
        let engine = with_child(|config| config.compiler = compiler);
        let error = engine.load(BundleHash::of(&guest), &guest).unwrap_err();
        assert!(matches!(error, BundleError::Compiler(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// An engine that cannot compile: what it loads comes from the cache.
fn cached_only(dir: &Path) -> Engine {
    let compiler = Compiler::Child { program: "false".into(), args: Vec::new() };
    let config =
        EngineConfig { slots: 1, cache_dir: Some(dir.into()), compiler, ..EngineConfig::default() };
    Engine::new(config).unwrap()
}

fn caching(dir: &Path) -> Engine {
    let cache_dir = Some(dir.to_owned());
    Engine::new(EngineConfig { slots: 1, cache_dir, ..EngineConfig::default() }).unwrap()
}

#[test]
fn native_code_is_kept_for_the_next_process() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("native");
    let guest = Guest::default().build();
    load(&caching(&dir), &guest);
    let engine = cached_only(&dir);
    let bundle = load(&engine, &guest);
    assert!(engine.run(&request(&bundle)).outcome.is_ok());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn code_of_a_child_and_of_this_process_is_the_same_to_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::default().build();
    load(&with_child(|config| config.cache_dir = Some(dir.path().into())), &guest);
    load(&cached_only(dir.path()), &guest);
}

#[test]
fn native_code_that_was_changed_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let guest = Guest::default().build();
    load(&caching(dir.path()), &guest);
    let path = native_files(dir.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bad in [&flipped, &whole[..whole.len() - 1], &whole[..10], b""] {
        fs::write(&path, bad).unwrap();
        let error = cached_only(dir.path()).load(BundleHash::of(&guest), &guest).unwrap_err();
        assert!(matches!(error, BundleError::Compiler(_)), "{error}");
    }
    // Compiled again and kept again.
    load(&caching(dir.path()), &guest);
    load(&cached_only(dir.path()), &guest);
    // Another machine's key does not open it.
    fs::write(dir.path().join("key"), [9; 32]).unwrap();
    assert!(cached_only(dir.path()).load(BundleHash::of(&guest), &guest).is_err());
}

#[test]
fn the_cache_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let config = EngineConfig {
        slots: 1,
        cache_dir: Some(dir.path().into()),
        cache_bytes_max: 1,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).unwrap();
    for task in ["a", "b", "c"] {
        let tasks: &'static [&'static str] = vec![task].leak();
        load(&engine, &Guest { tasks, ..Guest::default() }.build());
    }
    assert_eq!(native_files(dir.path()).len(), 1);
}

fn native_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|found| found == "native")).collect()
}

#[test]
fn however_many_ask_it_compiles_once() {
    let engine = engine();
    let guest = Guest::default().build();
    let bundles: Vec<_> = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..8).map(|_| scope.spawn(|| load(&engine, &guest))).collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    assert!(bundles.iter().all(|bundle| Arc::ptr_eq(bundle, &bundles[0])));
    let hash = bundles[0].hash();
    assert!(engine.loaded(hash).is_some());
    engine.forget(hash);
    assert!(engine.loaded(hash).is_none());
}

/// What an engine without a pool must still do; also run under a real limit, below.
fn works_without_a_pool(engine: &Engine) {
    assert_eq!(engine.space(), Space::Scarce);
    let cases = [
        ("unreachable", TrapKind::Unreachable),
        ("(i32.load (i32.const 0x7000000))", TrapKind::OutOfBounds),
        ("(call $deeper (i32.const 1))", TrapKind::StackOverflow),
    ];
    for (run, expected) in cases {
        let guest = Guest { run, items: faults::SHADOW_STACK, ..Guest::default() };
        let bundle = load(engine, &guest.build());
        let failure = engine.run(&request(&bundle)).outcome.unwrap_err();
        assert_eq!(failure.kind, trap(expected), "{run}: {failure}");
    }
    let bundle = load(engine, &Guest::doing("(call $ok (i32.const 528) (i32.const 2))"));
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(b"it"));
}

#[test]
fn an_engine_works_without_a_pool() {
    works_without_a_pool(&Engine::with_space(EngineConfig::default(), Space::Scarce).unwrap());
}

/// Does nothing unless the test below started it.
#[test]
fn falls_back_in_a_small_address_space() {
    if std::env::var_os("GRID_TEST_SCARCE").is_some() {
        works_without_a_pool(&engine());
    }
}

#[test]
fn a_limited_address_space_is_enough() {
    let script = "ulimit -v 4000000; GRID_TEST_SCARCE=1 exec \"$0\" \
        --exact tests::loading::falls_back_in_a_small_address_space --test-threads 1";
    let exe = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh").arg("-c").arg(script).arg(exe).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn junk_for_debug_information_costs_the_lines_alone() {
    let guest = Guest {
        run: "unreachable",
        items: r#"(@custom ".debug_info" "\ff\ff\ff\00\05\00junk")
            (@custom ".debug_abbrev" "\01\11\01\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff")
            (@custom ".debug_line" "\10\00\00\00\05\00junkjunkjunkjunk")"#,
        ..Guest::default()
    };
    let engine = engine();
    let bundle = load(&engine, &guest.build());
    let failure = engine.run(&request(&bundle)).outcome.unwrap_err();
    assert_eq!(failure.kind, trap(TrapKind::Unreachable));
    assert!(!failure.trace.is_empty());
}
