//! Every way in which a guest can fail arrives under its own name.

use super::guest::Guest;
use super::*;

#[test]
fn a_value_comes_back() {
    let guest = Guest::doing("(call $ok (i32.const 528) (i32.const 13))");
    let report = run(&guest);
    assert_eq!(report.outcome.unwrap(), raw(b"it went wrong"));
    assert_eq!(report.spent.peak_memory_bytes, 2 << 16);
    assert_eq!(report.output, "");
}

#[test]
fn arguments_arrive_with_their_codec() {
    // The second argument's bytes, behind its codec.
    let guest = Guest::doing(
        "(i32.store (i32.const 1024) (i32.const 0))
         (i32.store (i32.const 1028) (i32.load8_u offset=12 (local.get $arguments)))
         (i32.store (i32.const 1032) (i32.load offset=16 (local.get $arguments)))
         (i32.store (i32.const 1036) (i32.load offset=20 (local.get $arguments)))
         (i32.const 1024)",
    );
    let engine = engine();
    let bundle = load(&engine, &guest);
    let arguments = [argument(b"first"), Argument { codec: Codec::Arrow, bytes: b"second" }];
    let report = engine.run(&CallRequest { arguments: &arguments, ..request(&bundle) });
    let expected = Value { codec: Codec::Arrow, bytes: b"second".to_vec() };
    assert_eq!(report.outcome.unwrap(), expected);
}

#[test]
fn every_call_has_a_fresh_instance() {
    let guest = Guest::doing(
        "(i32.store8 (i32.const 2000) (i32.add (i32.load8_u (i32.const 2000)) (i32.const 65)))
         (call $ok (i32.const 2000) (i32.const 1))",
    );
    let engine = engine();
    let bundle = load(&engine, &guest);
    for _ in 0..20 {
        assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(b"A"));
    }
}

#[test]
fn a_user_error_keeps_its_causes() {
    let guest = Guest::doing(
        "(i32.store (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 0))
         (i32.store (i32.const 1032) (i32.const 528))
         (i32.store (i32.const 1036) (i32.const 13))
         (i32.store (i32.const 1040) (i32.const 1100))
         (i32.store (i32.const 1044) (i32.const 1))
         (i32.store (i32.const 1100) (i32.const 512))
         (i32.store (i32.const 1104) (i32.const 7))
         (i32.const 1024)",
    );
    let failure = failure(&guest);
    assert_eq!(failure.kind, FailureKind::User);
    assert_eq!(failure.message, "it went wrong");
    assert_eq!(failure.causes, ["main.rs"]);
    assert!(failure.trace.is_empty());
}

#[test]
fn a_bad_argument_says_which() {
    let guest = Guest::doing(
        "(i32.store (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 1))
         (i32.store (i32.const 1032) (i32.const 2))
         (i32.store (i32.const 1036) (i32.const 512))
         (i32.store (i32.const 1040) (i32.const 4))
         (i32.store (i32.const 1044) (i32.const 528))
         (i32.store (i32.const 1048) (i32.const 13))
         (i32.const 1024)",
    );
    let failure = failure(&guest);
    assert_eq!(failure.kind, FailureKind::BadArgument { index: 2 });
    assert_eq!(failure.message, "argument 2, `main`: it went wrong");
}

#[test]
fn a_wrong_number_of_arguments_says_both_numbers() {
    let guest = Guest::doing(
        "(i32.store (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 2))
         (i32.store (i32.const 1032) (i32.const 5))
         (i32.const 1024)",
    );
    let failure = failure(&guest);
    assert_eq!(failure.kind, FailureKind::BadArgument { index: 0 });
    assert_eq!(failure.message, "`only` takes 5 arguments, not 0");
}

#[test]
fn an_unknown_task_is_the_bundles_fault() {
    let guest = Guest::doing(
        "(i32.store (i32.const 1024) (i32.const 1))
         (i32.store (i32.const 1028) (i32.const 3))
         (i32.const 1024)",
    );
    assert_eq!(failure(&guest).kind, FailureKind::BundleInvalid);
}

const PANICKED: &str = r#"(import "grid:task/diagnostics@0.1.0" "panicked"
    (func $panicked (param i32 i32 i32 i32 i32 i32)))"#;

#[test]
fn a_panic_has_message_and_place() {
    let guest = Guest {
        run: "(call $panicked (i32.const 528) (i32.const 13) (i32.const 512) (i32.const 7)
                  (i32.const 12) (i32.const 34))
              unreachable",
        items: PANICKED,
        ..Guest::default()
    };
    let failure = failure(&guest.build());
    assert_eq!(failure.kind, trap(TrapKind::Panic));
    assert_eq!(failure.message, "panicked at main.rs:12:34: it went wrong");
}

#[test]
fn traps_are_told_apart() {
    let cases = [
        ("unreachable", TrapKind::Unreachable),
        ("(i32.load (i32.const 0x7000000))", TrapKind::OutOfBounds),
        ("(i32.load (i32.const -64))", TrapKind::OutOfBounds),
        ("(i32.div_s (i32.const 1) (local.get $i))", TrapKind::DivideByZero),
        (
            "(i32.div_s (i32.const 0x80000000) (i32.sub (local.get $i) (i32.const 1)))",
            TrapKind::IntegerOverflow,
        ),
        (
            "(i32.trunc_f32_s (f32.div (f32.const 1) (f32.convert_i32_s (local.get $i))))",
            TrapKind::IntegerOverflow,
        ),
    ];
    for (run, expected) in cases {
        let failure = failure(&Guest::doing(run));
        assert_eq!(failure.kind, trap(expected), "{run}: {failure}");
        assert!(!failure.trace.is_empty(), "{run}");
    }
}

#[test]
fn bad_indirect_calls_are_told() {
    for index in ["0", "1", "99"] {
        let run = format!("(call_indirect (type $f) (i32.const {index}))").leak();
        let guest = Guest {
            run,
            items: "(type $f (func (result i32))) (table 2 funcref) (elem (i32.const 1) $other)
                    (func $other (param i64))",
            ..Guest::default()
        };
        let failure = failure(&guest.build());
        assert_eq!(failure.kind, trap(TrapKind::BadIndirectCall), "{index}: {failure}");
    }
}

#[test]
fn deep_recursion_is_a_stack_overflow() {
    let guest = Guest {
        run: "(call $deeper (i32.const 1))",
        items: "(func $deeper (param i32) (result i32)
                    (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (local.get 0)))",
        ..Guest::default()
    };
    let failure = failure(&guest.build());
    assert_eq!(failure.kind, trap(TrapKind::StackOverflow));
    assert_eq!(failure.trace.len(), 20);
    assert_eq!(failure.trace[0].function, "deeper");
}

/// As compiled C and Rust keep their stack: at the lower end of the memory, growing down.
pub(super) const SHADOW_STACK: &str = "(global $stack (mut i32) (i32.const 49152))
    (func $deeper (param i32) (result i32) (local $frame i32)
        (local.set $frame (i32.sub (global.get $stack) (i32.const 48)))
        (global.set $stack (local.get $frame))
        (i32.store offset=8 (local.get $frame) (local.get 0))
        (i32.add
            (call $deeper (i32.add (local.get 0) (i32.const 1)))
            (i32.load offset=8 (local.get $frame))))
    ;; A leaf does not write the stack pointer back.
    (func $leaf (param i32) (result i32) (local $frame i32)
        (local.set $frame (i32.sub (global.get $stack) (i32.const 4096)))
        (i32.store offset=8 (local.get $frame) (local.get 0))
        (i32.load offset=8 (local.get $frame)))";

#[test]
fn a_shadow_stack_overflow_is_a_stack_overflow() {
    for run in [
        "(call $deeper (i32.const 1))",
        "(global.set $stack (i32.const 2048)) (call $leaf (i32.const 1))",
    ] {
        let guest = Guest { run, items: SHADOW_STACK, ..Guest::default() };
        let failure = failure(&guest.build());
        assert_eq!(failure.kind, trap(TrapKind::StackOverflow), "{run}: {failure}");
    }
}

#[test]
fn a_stray_access_of_a_healthy_stack_is_none() {
    for run in ["(i32.load (i32.const -64))", "(i32.load (i32.const 0x7000000))"] {
        let guest = Guest { run, items: SHADOW_STACK, ..Guest::default() };
        assert_eq!(failure(&guest.build()).kind, trap(TrapKind::OutOfBounds), "{run}");
    }
}

#[test]
fn exit_is_told_with_its_code() {
    for (status, code) in [("0", "code 0"), ("1", "code 1")] {
        let guest = Guest {
            run: format!("(call $exit (i32.const {status})) unreachable").leak(),
            items: r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#,
            ..Guest::default()
        };
        let failure = failure(&guest.build());
        assert_eq!(failure.kind, trap(TrapKind::Exit));
        assert!(failure.message.ends_with(code), "{failure}");
    }
}

#[test]
fn a_lie_about_the_result_is_a_fault_of_the_guest() {
    for run in [
        "(i32.const -4)",
        "(i32.const 1025)",
        "(call $ok (i32.const 0x7fffffff) (i32.const 100))",
        "(i32.store (i32.const 1024) (i32.const 77)) (i32.const 1024)",
    ] {
        let failure = failure(&Guest::doing(run));
        assert_eq!(failure.kind, trap(TrapKind::Other), "{run}: {failure}");
    }
}

#[test]
fn ten_thousand_traps_leave_nothing_behind() {
    let engine = engine();
    let guests = [
        Guest::doing("unreachable"),
        Guest::doing("(i32.load (i32.const 0x7000000))"),
        Guest { run: "(call $deeper (i32.const 1))", items: SHADOW_STACK, ..Guest::default() }
            .build(),
        Guest::doing(
            "(drop (memory.grow (i32.const 60))) (i32.div_s (i32.const 1) (local.get $i))",
        ),
    ];
    let bundles = guests.map(|guest| load(&engine, &guest));
    let trap_all = |rounds: usize| {
        for _ in 0..rounds {
            for bundle in &bundles {
                assert!(engine.run(&request(bundle)).outcome.is_err());
            }
        }
    };
    trap_all(250);
    let (descriptors, resident) = (count_descriptors(), resident_bytes());
    trap_all(2500);
    assert_eq!(count_descriptors(), descriptors);
    let grown = resident_bytes().saturating_sub(resident);
    assert!(grown < 8 << 20, "{grown} bytes more after 10,000 traps");
    let good = load(&engine, &Guest::default().build());
    assert!(engine.run(&request(&good)).outcome.is_ok());
}

fn count_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}
