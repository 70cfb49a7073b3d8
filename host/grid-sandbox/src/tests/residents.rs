//! Instances that stay for calls like the one that made them.

use std::time::Duration;

use super::guest::Guest;
use super::*;
use crate::{EngineConfig, Resident};

/// Counts its calls in memory at 800 and gives the byte; traps at the fourth.
const COUNTS: &str =
    "(i32.store8 (i32.const 800) (i32.add (i32.load8_u (i32.const 800)) (i32.const 1)))
    (if (i32.eq (i32.load8_u (i32.const 800)) (i32.const 4)) (then unreachable))
    (call $ok (i32.const 800) (i32.const 1))";

fn with(config: EngineConfig) -> (Engine, Arc<Bundle>) {
    let engine = Engine::new(EngineConfig { slots: 1, waiting_max: 0, ..config }).unwrap();
    let bundle = load(&engine, &Guest::doing(COUNTS));
    (engine, bundle)
}

/// Runs a call that has this result; gives what stays.
fn gives(ran: (CallReport, Option<Resident>), count: u8) -> Option<Resident> {
    assert_eq!(ran.0.outcome.unwrap(), raw(&[count]));
    ran.1
}

#[test]
fn an_instance_stays_until_it_traps() {
    let (engine, bundle) = with(EngineConfig::default());
    let request = request(&bundle);
    let mut resident = gives(engine.run_resident(&request), 1).unwrap();
    for count in [2, 3] {
        resident = gives(engine.run_again(resident, &request), count).unwrap();
    }
    let (report, left) = engine.run_again(resident, &request);
    assert_eq!(report.outcome.unwrap_err().kind, trap(TrapKind::Unreachable));
    assert!(left.is_none());
    assert_eq!(engine.memory_bytes(), 0, "nothing of it is left");
}

#[test]
fn uses_are_bounded_and_so_is_age() {
    let (engine, bundle) = with(EngineConfig { resident_uses_max: 2, ..EngineConfig::default() });
    let resident = gives(engine.run_resident(&request(&bundle)), 1).unwrap();
    assert!(!engine.is_spent(&resident));
    assert!(gives(engine.run_again(resident, &request(&bundle)), 2).is_none());
    let config = EngineConfig { resident_age_max: Duration::ZERO, ..EngineConfig::default() };
    let (engine, bundle) = with(config);
    assert!(gives(engine.run_resident(&request(&bundle)), 1).is_none());
    let config =
        EngineConfig { resident_age_max: Duration::from_millis(200), ..EngineConfig::default() };
    let (engine, bundle) = with(config);
    let resident = gives(engine.run_resident(&request(&bundle)), 1).unwrap();
    while !engine.is_spent(&resident) {
        std::thread::yield_now();
    }
    assert!(gives(engine.run_again(resident, &request(&bundle)), 2).is_none());
}

#[test]
fn a_limit_on_memory_belongs_to_the_call() {
    let (engine, bundle) = with(EngineConfig::default());
    let resident = gives(engine.run_resident(&request(&bundle)), 1).unwrap();
    let less = Limits { memory_bytes_max: 1 << 20, ..limits() };
    let other = CallRequest { limits: less, ..request(&bundle) };
    let resident = gives(engine.run_again(resident, &other), 1).unwrap();
    // The time that a call may take is no matter of the instance.
    let longer = CallRequest { limits: Limits { wall_ms_max: 9_000, ..less }, ..request(&bundle) };
    assert!(gives(engine.run_again(resident, &longer), 2).is_some());
}

#[test]
fn so_many_stay_and_they_take_no_place_of_calls() {
    let (engine, bundle) = with(EngineConfig { residents_max: 2, ..EngineConfig::default() });
    let both = [(); 2].map(|()| gives(engine.run_resident(&request(&bundle)), 1).unwrap());
    assert!(gives(engine.run_resident(&request(&bundle)), 1).is_none());
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(&[1]));
    let [one, two] = both;
    drop(one);
    assert!(gives(engine.run_resident(&request(&bundle)), 1).is_some());
    assert!(gives(engine.run_again(two, &request(&bundle)), 2).is_some());
    let (engine, bundle) = with(EngineConfig { residents_max: 0, ..EngineConfig::default() });
    assert!(gives(engine.run_resident(&request(&bundle)), 1).is_none());
}

#[test]
fn what_was_cancelled_or_ran_too_long_leaves_nothing() {
    let (engine, bundle) = with(EngineConfig::default());
    let resident = gives(engine.run_resident(&request(&bundle)), 1).unwrap();
    let cancelled = request(&bundle);
    cancelled.cancel.cancel();
    let (report, left) = engine.run_again(resident, &cancelled);
    assert_eq!(report.outcome.unwrap_err().kind, FailureKind::Cancelled);
    assert!(left.is_none());
    const LOOPS: &str = "(loop $more (br $more)) unreachable";
    let bundle = load(&engine, &Guest::doing(LOOPS));
    let short = Limits { wall_ms_max: 50, ..limits() };
    let (report, left) = engine.run_resident(&CallRequest { limits: short, ..request(&bundle) });
    assert_eq!(report.outcome.unwrap_err().kind, FailureKind::Deadline { limit_ms: 50 });
    assert!(left.is_none());
}
