//! Instances that stay from one call to the next.

use super::guest::Guest;
use super::*;
use crate::{Actor, EngineConfig};

/// Counts its calls in memory at 800 and gives the byte; traps at the fourth.
const COUNTS: &str =
    "(i32.store8 (i32.const 800) (i32.add (i32.load8_u (i32.const 800)) (i32.const 1)))
    (if (i32.eq (i32.load8_u (i32.const 800)) (i32.const 4)) (then unreachable))
    (call $ok (i32.const 800) (i32.const 1))";

fn create(engine: &Engine, bundle: &Bundle) -> Actor {
    let (report, actor) = engine.create(&request(bundle));
    assert_eq!(report.outcome.unwrap(), raw(&[1]));
    actor.unwrap()
}

#[test]
fn an_actor_keeps_its_memory_until_it_traps() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing(COUNTS));
    let mut actor = create(&engine, &bundle);
    for expected in [2, 3] {
        let (report, left) = engine.run_in(actor, &request(&bundle));
        assert_eq!(report.outcome.unwrap(), raw(&[expected]));
        actor = left.unwrap();
    }
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(&[1]), "others have their own");
    let (report, left) = engine.run_in(actor, &request(&bundle));
    assert_eq!(report.outcome.unwrap_err().kind, trap(TrapKind::Unreachable));
    assert!(left.is_none());
}

#[test]
fn an_actor_may_move_between_threads() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing(COUNTS));
    let actor = create(&engine, &bundle);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| engine.run_in(actor, &request(&bundle)).0.outcome.unwrap());
        assert_eq!(thread.join().unwrap(), raw(&[2]));
    });
}

#[test]
fn a_method_that_was_cancelled_before_it_began_leaves_the_actor() {
    let engine = engine();
    let bundle = load(&engine, &Guest::doing(COUNTS));
    let actor = create(&engine, &bundle);
    let cancelled = request(&bundle);
    cancelled.cancel.cancel();
    let (report, left) = engine.run_in(actor, &cancelled);
    assert_eq!(report.outcome.unwrap_err().kind, FailureKind::Cancelled);
    let (report, _) = engine.run_in(left.unwrap(), &request(&bundle));
    assert_eq!(report.outcome.unwrap(), raw(&[2]));
}

#[test]
fn a_loop_in_an_actor_ends_at_its_limit_and_with_it_the_actor() {
    const LOOPS: &str =
        "(i32.store8 (i32.const 800) (i32.add (i32.load8_u (i32.const 800)) (i32.const 1)))
        (if (i32.gt_u (i32.load8_u (i32.const 800)) (i32.const 1)) (then (loop $more (br $more))))
        (call $ok (i32.const 800) (i32.const 1))";
    let engine = engine();
    let bundle = load(&engine, &Guest::doing(LOOPS));
    let actor = create(&engine, &bundle);
    let short = Limits { wall_ms_max: 50, ..limits() };
    let (report, left) = engine.run_in(actor, &CallRequest { limits: short, ..request(&bundle) });
    assert_eq!(report.outcome.unwrap_err().kind, FailureKind::Deadline { limit_ms: 50 });
    assert!(left.is_none());
}

#[test]
fn actors_are_bounded_and_take_no_place_of_calls() {
    let config =
        EngineConfig { slots: 1, waiting_max: 0, actors_max: 2, ..EngineConfig::default() };
    let engine = Engine::new(config).unwrap();
    let bundle = load(&engine, &Guest::doing(COUNTS));
    let actors = [create(&engine, &bundle), create(&engine, &bundle)];
    let (report, third) = engine.create(&request(&bundle));
    let failure = report.outcome.unwrap_err();
    assert!(failure.message.contains("2 actors live on this worker"), "{failure}");
    assert!(third.is_none());
    assert_eq!(engine.run(&request(&bundle)).outcome.unwrap(), raw(&[1]));
    drop(actors);
    create(&engine, &bundle);
}
