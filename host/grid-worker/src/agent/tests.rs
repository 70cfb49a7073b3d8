mod copies;
mod memory;

use super::*;
use grid_proto::message::FromClient;
use grid_proto::{Codec, ObjectMeta};

const BUNDLE: BundleHash = BundleHash([5; 32]);
const OWN: WorkerId = WorkerId(1);
const PEER: WorkerId = WorkerId(2);

fn key(n: u8) -> Key {
    Key([n; 32])
}

/// An agent with one slot that knows a task and has its bundle.
fn agent() -> Agent {
    let mut agent = Agent::new(1, 4);
    let task = TaskDefinition {
        resident: false,
        lazy: Vec::new(),
        scratch_bytes: 0,
        id: TaskId(0),
        bundle: BUNDLE,
        bundle_name: "b".to_owned(),
        index: 0,
        name: "t".to_owned(),
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    agent.on_message(ToWorker::Welcome(OWN));
    agent.on_message(ToWorker::Define(vec![task]));
    agent.on_bundle(BUNDLE, Ok(()));
    agent
}

fn run(agent: &mut Agent, call: u8, attempt: u32, inputs: &[(u8, &[WorkerId])]) -> Vec<Action> {
    let assignment = Assignment {
        key: key(call),
        attempt: Attempt(attempt),
        task: TaskId(0),
        priority: Priority {
            user: 0,
            submission: 0,
            position: u32::from(call),
            nesting: 0,
            child: 0,
        },
        args: inputs.iter().map(|(input, _)| Arg::Key(key(*input))).collect(),
        inputs: inputs.iter().map(|(input, from)| (key(*input), from.to_vec())).collect(),
        limits: TaskLimits::default(),
        instance: Instance::Fresh,
        client: None,
    };
    agent.on_message(ToWorker::Run(vec![assignment]));
    settle(agent)
}

fn settle(agent: &mut Agent) -> Vec<Action> {
    agent.flush();
    agent.check().unwrap();
    std::iter::from_fn(|| agent.poll_action()).collect()
}

/// The object of this key, that a peer or a client had.
fn copy(object: u8) -> (Key, Version) {
    (key(object), Version(object.into()))
}

fn done(agent: &mut Agent, call: u8, attempt: u32) -> (bool, Vec<Action>) {
    let meta = ObjectMeta { codec: Codec::Raw, size: 1, hash: [call; 32] };
    let outcome = Outcome::Memory { meta, inline: None };
    let spent = Spent { wall_us: 50_000, ..Spent::default() };
    let kept = agent.on_executed(key(call), Attempt(attempt), outcome, spent);
    (kept, settle(agent))
}

fn executed(actions: &[Action]) -> Vec<(Key, Attempt)> {
    let execution = |action: &Action| match action {
        Action::Execute(execution) => Some((execution.key, execution.attempt)),
        _ => None,
    };
    actions.iter().filter_map(execution).collect()
}

fn missing(call: u8, attempt: u32, missing: &[(u8, WorkerId)]) -> Action {
    let missing = missing.iter().map(|(input, from)| (key(*input), *from)).collect();
    Action::Send(FromWorker::MissingInputs { key: key(call), attempt: Attempt(attempt), missing })
}

#[test]
fn an_assignment_that_comes_twice_runs_once() {
    let mut agent = agent();
    assert_eq!(executed(&run(&mut agent, 1, 0, &[])), [(key(1), Attempt(0))]);
    assert!(run(&mut agent, 1, 0, &[]).is_empty());
    assert!(done(&mut agent, 1, 0).0);
    assert_eq!(run(&mut agent, 1, 0, &[]), [missing(1, 0, &[])], "its result is here");
}

#[test]
fn an_older_attempt_does_not_replace_a_newer() {
    let mut agent = agent();
    run(&mut agent, 1, 3, &[]);
    assert_eq!(run(&mut agent, 1, 2, &[]), [missing(1, 2, &[])]);
    assert!(done(&mut agent, 1, 3).0, "the newer one goes on");
}

#[test]
fn a_number_that_a_stopped_call_still_uses_is_declined() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    agent.on_disconnected();
    assert_eq!(settle(&mut agent), [Action::Stop(key(1), Attempt(0))]);
    let mut fresh = self::agent();
    agent.tasks.append(&mut fresh.tasks);
    assert_eq!(run(&mut agent, 1, 0, &[]), [missing(1, 0, &[])]);
    assert!(!done(&mut agent, 1, 0).0);
    assert_eq!(executed(&run(&mut agent, 1, 1, &[])), [(key(1), Attempt(1))]);
}

#[test]
fn a_result_that_is_computed_anew_is_dropped_first() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    done(&mut agent, 1, 0);
    let actions = run(&mut agent, 1, 1, &[]);
    assert_eq!(actions[0], Action::Drop(key(1)));
    assert_eq!(executed(&actions), [(key(1), Attempt(1))]);
}

#[test]
fn a_copy_that_comes_twice_stays() {
    let mut agent = agent();
    let fetch = |actions: &[Action]| matches!(actions, [Action::Fetch { from: PEER, .. }]);
    assert!(fetch(&run(&mut agent, 2, 0, &[(1, &[PEER])])));
    // The call is cancelled with its request under way, and another one wants the same.
    agent.on_message(ToWorker::Cancel(vec![(key(2), Attempt(0))]));
    assert!(run(&mut agent, 3, 0, &[(1, &[WorkerId(3)])]).len() == 1);
    agent.on_fetched(PEER, &[copy(1)], &[]);
    assert_eq!(executed(&settle(&mut agent)), [(key(3), Attempt(0))]);
    agent.on_fetched(WorkerId(3), &[copy(1)], &[]);
    assert!(settle(&mut agent).is_empty(), "no drop of what is held");
}

#[test]
fn an_input_that_an_earlier_attempt_waited_for_does_not_start_the_later_one_again() {
    let mut agent = agent();
    run(&mut agent, 2, 0, &[(1, &[PEER])]);
    run(&mut agent, 1, 0, &[]);
    done(&mut agent, 1, 0);
    assert_eq!(executed(&run(&mut agent, 2, 1, &[(1, &[PEER])])), [(key(2), Attempt(1))]);
    agent.on_fetched(PEER, &[copy(1)], &[]);
    assert!(executed(&settle(&mut agent)).is_empty());
}

#[test]
fn a_copy_of_what_is_computed_here_goes_when_that_ends_without_a_result() {
    let mut agent = agent();
    run(&mut agent, 2, 0, &[(1, &[PEER])]);
    run(&mut agent, 1, 4, &[]);
    agent.on_fetched(PEER, &[copy(1)], &[]);
    assert_eq!(settle(&mut agent), [Action::Send(FromWorker::Holds(vec![copy(1)]))]);
    agent.on_message(ToWorker::Cancel(vec![(key(1), Attempt(4))]));
    assert!(settle(&mut agent).contains(&Action::Drop(key(1))));
    // Nor does it stay when the call asks to run elsewhere.
    let mut agent = self::agent();
    run(&mut agent, 1, 4, &[]);
    run(&mut agent, 2, 0, &[(1, &[PEER])]);
    agent.on_fetched(PEER, &[copy(1)], &[]);
    settle(&mut agent);
    assert!(!agent.on_executed(key(1), Attempt(4), Outcome::Reschedule, Spent::default()));
    assert!(settle(&mut agent).contains(&Action::Drop(key(1))));
}

#[test]
fn an_input_that_was_freed_meanwhile_is_missed_and_not_run_into() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    done(&mut agent, 1, 0);
    run(&mut agent, 9, 0, &[]);
    assert!(run(&mut agent, 2, 0, &[(1, &[])]).is_empty(), "the slot is busy");
    agent.on_message(ToWorker::Free { keys: vec![key(1)], heard: 0 });
    assert_eq!(settle(&mut agent), [Action::Drop(key(1))]);
    let (_, actions) = done(&mut agent, 9, 0);
    assert!(actions.contains(&missing(2, 0, &[(1, OWN)])), "{actions:?}");
    assert!(executed(&actions).is_empty());
}

#[test]
fn what_it_has_said_again_that_it_holds_stays_until_the_scheduler_has_heard_that() {
    let mut agent = agent();
    let free = |heard| ToWorker::Free { keys: vec![key(1)], heard };
    let brought = [(key(1), Version(7))];
    agent.on_brought(&brought);
    agent.on_brought(&brought);
    assert_eq!(settle(&mut agent).len(), 2, "it is told each time");
    // Decided between the two.
    agent.on_message(free(1));
    assert_eq!(settle(&mut agent), []);
    agent.on_message(ToWorker::Acquire(vec![(key(1), Vec::new())]));
    agent.on_message(free(2));
    assert_eq!(agent.held().count(), 1);
    settle(&mut agent);
    agent.on_message(free(3));
    assert_eq!(settle(&mut agent), [Action::Drop(key(1))]);
    // A new connection, in which it has told of it all at first.
    agent.on_brought(&brought);
    agent.on_disconnected();
    settle(&mut agent);
    agent.on_message(free(0));
    assert_eq!(settle(&mut agent), [Action::Drop(key(1))]);
}

#[test]
fn what_it_is_asked_to_confirm_and_does_not_hold_is_missing() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    done(&mut agent, 1, 0);
    agent.on_message(ToWorker::Confirm(vec![key(1)]));
    assert!(settle(&mut agent).is_empty());
    agent.on_message(ToWorker::Confirm(vec![key(1), key(2)]));
    assert_eq!(settle(&mut agent), [Action::Send(FromWorker::Missing(vec![key(2)]))]);
}

#[test]
fn one_holder_after_the_other_is_asked_and_then_the_scheduler() {
    let mut agent = agent();
    run(&mut agent, 2, 0, &[(1, &[PEER, WorkerId(3)])]);
    agent.on_fetched(PEER, &[], &[key(1)]);
    let actions = settle(&mut agent);
    assert!(matches!(&actions[..], [Action::Fetch { from: WorkerId(3), .. }]), "{actions:?}");
    agent.on_fetched(WorkerId(3), &[], &[key(1)]);
    assert_eq!(settle(&mut agent), [missing(2, 0, &[(1, PEER), (1, WorkerId(3))])]);
}

#[test]
fn an_input_comes_from_another_holder_as_soon_as_one_is_gone() {
    let other = WorkerId(3);
    let address = |id: WorkerId| Holder { worker: id, address: format!("w{}:1", id.0) };
    let mut agent = agent();
    agent.on_message(ToWorker::Peers(vec![address(PEER), address(other)]));
    let fetch = |from: WorkerId, input: u8| {
        let address = Some(address(from).address);
        Action::Fetch { from, address, keys: vec![key(input)] }
    };
    assert_eq!(run(&mut agent, 1, 0, &[(7, &[PEER, other])]), [fetch(PEER, 7)]);
    assert_eq!(run(&mut agent, 2, 0, &[(8, &[PEER])]), [], "one request to a peer at a time");
    agent.on_message(ToWorker::PeersGone(vec![PEER]));
    let hang_up = Action::HangUp { address: "w2:1".to_owned() };
    assert_eq!(settle(&mut agent), [hang_up, missing(2, 0, &[(8, PEER)]), fetch(other, 7)]);
    // The answer of whom nobody asks any more.
    agent.on_fetched(PEER, &[], &[key(7)]);
    assert_eq!(settle(&mut agent), []);
    agent.on_fetched(other, &[copy(7)], &[]);
    assert_eq!(executed(&settle(&mut agent)), [(key(1), Attempt(0))]);
}

fn nested(agent: &mut Agent, call: u8, depth: i16) -> Vec<Action> {
    let assignment = Assignment {
        key: key(call),
        attempt: Attempt(0),
        task: TaskId(0),
        priority: Priority {
            user: 0,
            submission: 0,
            position: u32::from(call),
            nesting: -depth,
            child: 0,
        },
        args: Vec::new(),
        inputs: Vec::new(),
        limits: TaskLimits::default(),
        instance: Instance::Fresh,
        client: None,
    };
    agent.on_message(ToWorker::Run(vec![assignment]));
    settle(agent)
}

fn waits(agent: &mut Agent, call: u8, waits: bool) -> Vec<Action> {
    agent.on_waits(key(call), Attempt(0), waits);
    settle(agent)
}

#[test]
fn a_call_that_waits_gives_its_slot_to_the_next() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    assert!(executed(&run(&mut agent, 2, 0, &[])).is_empty());
    let actions = waits(&mut agent, 1, true);
    assert_eq!(executed(&actions), [(key(2), Attempt(0))]);
    let told = FromWorker::Waits { key: key(1), attempt: Attempt(0), waits: true };
    assert!(actions.contains(&Action::Send(told)));
    waits(&mut agent, 1, false);
    assert!(executed(&run(&mut agent, 3, 0, &[])).is_empty(), "both compute on one slot");
    done(&mut agent, 1, 0);
    assert_eq!(executed(&done(&mut agent, 2, 0).1), [(key(3), Attempt(0))]);
}

#[test]
fn once_many_wait_only_what_they_may_wait_for_is_let_go() {
    let mut agent = agent();
    for call in 1..=3 {
        run(&mut agent, call, 0, &[]);
        waits(&mut agent, call, true);
    }
    // Three of at most four wait.
    assert!(executed(&run(&mut agent, 4, 0, &[])).is_empty(), "it would wait as well");
    assert_eq!(executed(&nested(&mut agent, 9, 1)), [(key(9), Attempt(0))]);
    assert!(executed(&done(&mut agent, 9, 0).1).is_empty());
    agent.on_tick();
    assert_eq!(executed(&settle(&mut agent)), [(key(4), Attempt(0))], "they may wait for it");
    assert!(executed(&run(&mut agent, 5, 0, &[])).is_empty());
    done(&mut agent, 4, 0);
    done(&mut agent, 1, 0);
    assert_eq!(executed(&waits(&mut agent, 2, false)), [], "it takes the slot itself");
}

#[test]
fn what_a_call_says_goes_on_while_its_attempt_runs() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    let say = |agent: &mut Agent, attempt| {
        agent.on_said(key(1), Attempt(attempt), FromClient::Release(vec![key(2)]));
        settle(agent).len()
    };
    let news = || Box::new(ToClient::Accepted(grid_proto::RequestId(1)));
    let tell = |agent: &mut Agent, attempt| {
        let (key, attempt) = (key(1), Attempt(attempt));
        agent.on_message(ToWorker::ToTask { key, attempt, message: news() });
        settle(agent)
    };
    assert_eq!((say(&mut agent, 0), say(&mut agent, 1)), (1, 0));
    assert_eq!(tell(&mut agent, 0), [Action::Tell(key(1), Attempt(0), news())]);
    assert!(tell(&mut agent, 1).is_empty());
    agent.on_message(ToWorker::Cancel(vec![(key(1), Attempt(0))]));
    settle(&mut agent);
    assert_eq!(say(&mut agent, 0), 0);
    assert!(tell(&mut agent, 0).is_empty());
}

#[test]
fn without_its_scheduler_nothing_waits_on() {
    let mut agent = agent();
    run(&mut agent, 1, 0, &[]);
    waits(&mut agent, 1, true);
    agent.on_disconnected();
    assert_eq!(settle(&mut agent), [Action::Stop(key(1), Attempt(0))]);
    assert_eq!(agent.in_hand(), []);
    agent.on_executed(key(1), Attempt(0), Outcome::Reschedule, Spent::default());
    assert!(settle(&mut agent).is_empty(), "nobody asked for it");
}

fn kept(agent: &mut Agent, call: u8) {
    let assignment = Assignment { instance: Instance::Kept, ..assignment(call) };
    agent.on_message(ToWorker::Run(vec![assignment]));
    assert_eq!(executed(&settle(agent)), [(key(call), Attempt(0))]);
    assert!(done(agent, call, 0).0);
}

fn method(agent: &mut Agent, call: u8, actor: u8) -> Vec<Action> {
    let assignment = Assignment { instance: Instance::Of(key(actor)), ..assignment(call) };
    agent.on_message(ToWorker::Run(vec![assignment]));
    settle(agent)
}

fn assignment(call: u8) -> Assignment {
    Assignment {
        key: key(call),
        attempt: Attempt(0),
        task: TaskId(0),
        priority: Priority {
            user: 0,
            submission: 0,
            position: u32::from(call),
            nesting: 0,
            child: 0,
        },
        args: Vec::new(),
        inputs: Vec::new(),
        limits: TaskLimits::default(),
        instance: Instance::Fresh,
        client: None,
    }
}

#[test]
fn a_method_waits_until_a_cancelled_one_has_left_its_actor() {
    let mut agent = Agent::new(2, 4);
    agent.on_message(ToWorker::Welcome(OWN));
    let task = self::agent().tasks[&TaskId(0)].as_ref().clone();
    agent.on_message(ToWorker::Define(vec![task]));
    agent.on_bundle(BUNDLE, Ok(()));
    kept(&mut agent, 1);
    assert_eq!(executed(&method(&mut agent, 2, 1)), [(key(2), Attempt(0))]);
    agent.on_message(ToWorker::Cancel(vec![(key(2), Attempt(0))]));
    assert_eq!(settle(&mut agent), [Action::Stop(key(2), Attempt(0))]);
    assert_eq!(method(&mut agent, 3, 1), []);
    // It had not begun, and leaves the actor as it was.
    let (kept, actions) = done(&mut agent, 2, 0);
    assert_eq!((kept, executed(&actions)), (false, vec![(key(3), Attempt(0))]));
}

#[test]
fn that_an_actor_is_lost_is_told_before_the_end_of_its_method() {
    let mut agent = agent();
    kept(&mut agent, 1);
    method(&mut agent, 2, 1);
    agent.on_actor_lost(key(1), "a trap".to_owned());
    let failure = Failure::new(FailureKind::Deadline { limit_ms: 1 }, "too long");
    let outcome = Outcome::Failed(failure);
    agent.on_executed(key(2), Attempt(0), outcome.clone(), Spent::default());
    let finished =
        FromWorker::Finished { key: key(2), attempt: Attempt(0), outcome, spent: Spent::default() };
    let lost = FromWorker::ActorLost { key: key(1), why: "a trap".to_owned() };
    let told = [Action::Send(lost), Action::Drop(key(1)), Action::Send(finished)];
    assert_eq!(settle(&mut agent), told);
    // What was on its way meanwhile finds nothing.
    let missing = FromWorker::MissingInputs {
        key: key(3),
        attempt: Attempt(0),
        missing: vec![(key(1), OWN)],
    };
    assert_eq!(method(&mut agent, 3, 1), [Action::Send(missing)]);
}
