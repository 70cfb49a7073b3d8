//! Objects that clients bring, and copies that the scheduler wants here.

use super::*;

fn acquire(agent: &mut Agent, object: u8, holders: &[WorkerId]) -> Vec<Action> {
    agent.on_message(ToWorker::Acquire(vec![(key(object), holders.to_vec())]));
    settle(agent)
}

fn holds(object: u8) -> Action {
    Action::Send(FromWorker::Holds(vec![copy(object)]))
}

fn not_acquired(object: u8) -> Action {
    Action::Send(FromWorker::NotAcquired(vec![key(object)]))
}

fn fetched(agent: &mut Agent, object: u8) -> Vec<Action> {
    agent.on_fetched(PEER, &[copy(object)], &[]);
    settle(agent)
}

fn fetch(object: u8) -> Action {
    Action::Fetch { from: PEER, address: None, keys: vec![key(object)] }
}

#[test]
fn a_copy_is_fetched_kept_and_told_though_no_call_reads_it() {
    let mut agent = agent();
    assert_eq!(acquire(&mut agent, 9, &[PEER]), [fetch(9)]);
    assert_eq!(fetched(&mut agent, 9), [holds(9)]);
    assert_eq!(acquire(&mut agent, 9, &[PEER]), [holds(9)], "it is here");
    assert_eq!(executed(&run(&mut agent, 1, 0, &[(9, &[])])), [(key(1), Attempt(0))]);
}

#[test]
fn a_copy_and_calls_share_one_fetch_and_a_call_that_leaves_does_not_end_it() {
    let mut agent = agent();
    assert_eq!(run(&mut agent, 1, 0, &[(9, &[PEER])]), [fetch(9)]);
    assert!(acquire(&mut agent, 9, &[PEER]).is_empty(), "it is on its way");
    agent.on_message(ToWorker::Cancel(vec![(key(1), Attempt(0))]));
    assert!(settle(&mut agent).is_empty());
    assert_eq!(fetched(&mut agent, 9), [holds(9)]);
}

#[test]
fn a_copy_that_is_called_off_is_not_kept() {
    let mut agent = agent();
    acquire(&mut agent, 9, &[PEER]);
    agent.on_message(ToWorker::Free { keys: vec![key(9)], heard: 0 });
    assert_eq!(settle(&mut agent), [Action::Drop(key(9))]);
    assert_eq!(fetched(&mut agent, 9), [Action::Drop(key(9))]);
}

#[test]
fn a_copy_that_nobody_gives_is_told() {
    let mut agent = agent();
    acquire(&mut agent, 9, &[PEER, WorkerId(3)]);
    agent.on_fetched(PEER, &[], &[key(9)]);
    let next = Action::Fetch { from: WorkerId(3), address: None, keys: vec![key(9)] };
    assert_eq!(settle(&mut agent), [next]);
    agent.on_fetched(WorkerId(3), &[], &[key(9)]);
    assert_eq!(settle(&mut agent), [not_acquired(9)]);
    agent.on_paused(true);
    settle(&mut agent);
    assert_eq!(acquire(&mut agent, 9, &[PEER]), [not_acquired(9)], "memory is nearly full");
}

#[test]
fn what_a_client_brings_is_told_and_read_by_calls_that_were_fetching_it() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[(9, &[PEER])]);
    agent.on_brought(&[copy(9)]);
    let actions = settle(&mut agent);
    assert!(actions.contains(&holds(9)));
    assert_eq!(executed(&actions), [(key(1), Attempt(0))]);
    assert!(fetched(&mut agent, 9).is_empty(), "one copy stays");
    agent.on_brought(&[]);
    assert!(settle(&mut agent).is_empty());
}

#[test]
fn what_the_first_call_needs_is_fetched_first_and_copies_last() {
    let mut agent = agent();
    assert_eq!(run(&mut agent, 1, 0, &[(20, &[PEER])]), [fetch(20)]);
    // The peer is busy; meanwhile others come.
    assert!(acquire(&mut agent, 30, &[PEER]).is_empty());
    run(&mut agent, 9, 0, &[(31, &[PEER]), (33, &[PEER])]);
    run(&mut agent, 5, 0, &[(32, &[PEER]), (33, &[PEER])]);
    let actions = fetched(&mut agent, 20);
    let keys = actions.iter().find_map(|action| match action {
        Action::Fetch { keys, .. } => Some(keys.clone()),
        _ => None,
    });
    assert_eq!(keys, Some(vec![key(32), key(33), key(31), key(30)]));
}
