//! Memory that is nearly full, and objects that are lost.

use super::*;

fn withdrawn(call: u8, attempt: u32) -> Action {
    Action::Send(FromWorker::Withdrawn { key: key(call), attempt: Attempt(attempt) })
}

fn paused(paused: bool) -> Action {
    Action::Send(FromWorker::Paused(paused))
}

#[test]
fn what_has_not_begun_goes_back_and_what_runs_goes_on() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    run(&mut agent, 2, 0, &[]);
    run(&mut agent, 3, 0, &[(9, &[PEER])]);
    agent.on_paused(true);
    assert_eq!(settle(&mut agent), [paused(true), withdrawn(2, 0), withdrawn(3, 0)]);
    agent.on_paused(true);
    assert!(settle(&mut agent).is_empty(), "it is said once");
    assert_eq!(run(&mut agent, 4, 0, &[]), [withdrawn(4, 0)], "it was on its way");
    assert_eq!(run(&mut agent, 5, 0, &[(9, &[PEER])]), [withdrawn(5, 0)], "and nothing is fetched");
    assert!(done(&mut agent, 1, 0).0);
    agent.on_paused(false);
    assert_eq!(settle(&mut agent), [paused(false)]);
    assert_eq!(executed(&run(&mut agent, 4, 1, &[])), [(key(4), Attempt(1))]);
}

#[test]
fn methods_of_actors_run_all_the_same() {
    let mut agent = agent();
    let assignment = |call, instance| Assignment {
        key: key(call),
        attempt: Attempt(0),
        task: TaskId(0),
        priority: Priority { user: 0, submission: 0, position: 0, nesting: 0, child: 0 },
        args: Vec::new(),
        inputs: Vec::new(),
        limits: TaskLimits::default(),
        instance,
        client: None,
    };
    agent.on_message(ToWorker::Run(vec![assignment(1, Instance::Kept)]));
    settle(&mut agent);
    done(&mut agent, 1, 0);
    agent.on_paused(true);
    settle(&mut agent);
    agent.on_message(ToWorker::Run(vec![assignment(2, Instance::Of(key(1)))]));
    assert_eq!(executed(&settle(&mut agent)), [(key(2), Attempt(0))]);
}

#[test]
fn another_scheduler_is_told_too() {
    let mut agent = agent();
    agent.on_paused(true);
    settle(&mut agent);
    agent.on_disconnected();
    settle(&mut agent);
    agent.on_message(ToWorker::Welcome(OWN));
    assert_eq!(settle(&mut agent), [paused(true)]);
}

#[test]
fn a_lost_object_is_told_once_and_the_call_that_wanted_it_starts_over() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    done(&mut agent, 1, 0);
    assert_eq!(executed(&run(&mut agent, 2, 0, &[(1, &[])])), [(key(2), Attempt(0))]);
    agent.on_inputs_lost(key(2), Attempt(0), &[key(1)]);
    let told = Action::Send(FromWorker::Missing(vec![key(1)]));
    let expected = [Action::Drop(key(1)), told, missing(2, 0, &[(1, OWN)])];
    assert_eq!(settle(&mut agent), expected);
    agent.on_lost(&[key(1)]);
    assert!(settle(&mut agent).is_empty());
}
