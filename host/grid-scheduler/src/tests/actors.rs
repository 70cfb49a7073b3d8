//! Actors: where their methods run, in which order, and what becomes of them with their actor.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{FromWorker, ToWorker};
use grid_proto::{
    Attempt, CallOptions, CallSpec, ClientId, FailureKind, Instance, Key, Pins, WorkerId,
};

use super::grid::{ANN, BOB, Grid, Out, call, key, typed, with_retries};
use crate::{Action, Event};

fn kept(number: u64) -> CallSpec {
    let options = CallOptions { instance: Instance::Kept, ..CallOptions::default() };
    CallSpec { options, ..call(number, &[]) }
}

fn method(number: u64, actor: u64, inputs: &[u64]) -> CallSpec {
    let options = CallOptions { instance: Instance::Of(key(actor)), ..CallOptions::default() };
    CallSpec { options, ..call(number, inputs) }
}

/// Two workers of two slots; Ann and Bob hold an actor, call 1, that is on the first of them.
fn with_actor() -> Grid {
    let mut grid = Grid::new();
    grid.worker(1, 2);
    let out = grid.submit(ANN, &[kept(1)], &[key(1)]);
    assert_eq!(out.runs()[0].1.instance, Instance::Kept);
    grid.worker(2, 2);
    grid.finish(1, 1, 0, 8);
    grid.submit(BOB, &[], &[key(1)]);
    grid
}

#[test]
fn methods_go_to_their_actor_one_at_a_time_and_in_order() {
    let mut grid = with_actor();
    let out = grid.submit(ANN, &[method(10, 1, &[]), method(11, 1, &[])], &[key(10), key(11)]);
    assert_eq!(out.placed(), [(1, 10, 0)]);
    let run = out.runs()[0].1;
    assert_eq!((run.instance, run.args.len(), run.inputs.len()), (Instance::Of(key(1)), 0, 0));
    assert_eq!(grid.submit(BOB, &[method(20, 1, &[])], &[key(20)]).placed(), []);
    assert_eq!(grid.finish(1, 10, 0, 1).placed(), [(1, 11, 0)]);
    assert_eq!(grid.finish(1, 11, 0, 1).placed(), [(1, 20, 0)]);
    assert_eq!(grid.finish(1, 20, 0, 1).ready(BOB), [20]);
}

#[test]
fn a_method_that_waits_for_an_input_holds_up_its_callers_methods_only() {
    let mut grid = with_actor();
    let input = grid.submit(ANN, &[call(5, &[])], &[key(5)]).placed();
    let methods = [method(10, 1, &[5]), method(11, 1, &[])];
    assert_eq!(grid.submit(ANN, &methods, &[key(10), key(11)]).placed(), []);
    let explained = grid.calls().into_iter().find(|call| call.key == key(11)).unwrap();
    assert!(explained.explanation.contains("1 methods are older"), "{}", explained.explanation);
    assert_eq!(grid.submit(BOB, &[method(20, 1, &[])], &[key(20)]).placed(), [(1, 20, 0)]);
    assert_eq!(grid.finish(1, 20, 0, 1).placed(), []);
    assert_eq!(grid.finish(input[0].0, 5, 0, 1).placed(), [(1, 10, 0)]);
    assert_eq!(grid.finish(1, 10, 0, 1).placed(), [(1, 11, 0)]);
}

#[test]
fn a_method_that_fails_or_is_let_go_of_makes_way() {
    let mut grid = with_actor();
    let methods = [10, 11, 12].map(|number| method(number, 1, &[]));
    grid.submit(ANN, &methods, &[key(10), key(11), key(12)]);
    grid.say(ANN, grid_proto::message::FromClient::Release(vec![key(11)]));
    let out = grid.fail(1, 10, 0, FailureKind::User);
    assert_eq!(out.failed(ANN)[0].1.kind, FailureKind::User);
    assert_eq!(out.placed(), [(1, 12, 0)]);
    assert_eq!(grid.state(1), "memory");
}

#[test]
fn with_its_worker_an_actor_and_all_its_methods_are_lost() {
    let mut grid = with_actor();
    let methods = [10, 11].map(|number| with_retries(method(number, 1, &[]), 3));
    let reader = call(30, &[11]);
    grid.submit(ANN, &[&methods[..], &[reader]].concat(), &[key(10), key(11), key(30)]);
    let out = grid.tell(Event::WorkerGone(WorkerId(1)));
    let failed = out.failed(ANN);
    assert_eq!(failed.len(), 4, "{failed:?}");
    assert!(failed.iter().all(|(_, failure)| failure.kind == FailureKind::ActorLost));
    assert!(failed[0].1.message.ends_with("its worker `w1` is gone"), "{}", failed[0].1);
    assert_eq!(out.placed(), [], "nothing of it is computed again");
    let out = grid.submit(BOB, &[method(20, 1, &[])], &[key(20)]);
    assert_eq!(out.failed(BOB)[0].1.kind, FailureKind::ActorLost);
    let again = grid_proto::message::FromClient::Retry {
        request: grid_proto::RequestId(9),
        keys: vec![key(1), key(10)],
    };
    assert_eq!(grid.say(ANN, again).placed(), [], "it would not be what it was");
    // The worker comes back, with its store.
    let out = grid.register(3, "w1", 1, 2, vec![(key(1), super::grid::meta(8))]);
    assert_eq!(out.freed(), [(3, 1)]);
}

#[test]
fn the_method_that_ends_an_actor_says_how_and_the_others_say_so() {
    let mut grid = with_actor();
    let methods = [10, 11].map(|number| with_retries(method(number, 1, &[]), 3));
    grid.submit(ANN, &methods, &[key(10), key(11)]);
    let why = "its method `none` was stopped".to_owned();
    let out = grid.hear(1, FromWorker::ActorLost { key: key(1), why });
    assert_eq!(out.failed(ANN).iter().map(|(call, _)| *call).collect::<Vec<_>>(), [1, 11]);
    assert!(out.failed(BOB)[0].1.message.ends_with("its method `none` was stopped"));
    let out = grid.fail(1, 10, 0, FailureKind::Deadline { limit_ms: 1 });
    assert_eq!(out.failed(ANN)[0].1.kind, FailureKind::Deadline { limit_ms: 1 });
    assert_eq!(out.placed(), []);
    // It comes twice, or from another worker.
    let stale = grid.stale();
    grid.hear(1, FromWorker::ActorLost { key: key(1), why: String::new() });
    assert_eq!(grid.stale(), stale + 1);
}

#[test]
fn an_actor_is_freed_when_nobody_wants_it_and_its_methods_have_ended() {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    let release = |keys: &[u64]| {
        grid_proto::message::FromClient::Release(keys.iter().map(|number| key(*number)).collect())
    };
    grid.say(BOB, release(&[1]));
    assert_eq!(grid.say(ANN, release(&[1])).freed(), []);
    assert_eq!(grid.finish(1, 10, 0, 1).freed(), [(1, 1)]);
    grid.say(ANN, release(&[10]));
    assert_eq!(grid.state(1), "unknown");
}

#[test]
fn an_actor_stays_for_a_method_that_has_not_started() {
    let mut grid = with_actor();
    let release = |number| grid_proto::message::FromClient::Release(vec![key(number)]);
    grid.say(BOB, release(1));
    let submission = grid_proto::message::Submission {
        tasks: super::grid::tasks(),
        calls: vec![method(10, 1, &[])],
        wanted: vec![key(10)],
        ..Default::default()
    };
    // Both before the next turn.
    let submit = grid_proto::message::FromClient::Submit(submission);
    grid.machine.handle(grid.now, Event::Client(ANN, submit));
    let out = grid.say(ANN, release(1));
    assert_eq!((out.freed(), out.placed()), (vec![], vec![(1, 10, 0)]));
    assert_eq!(grid.finish(1, 10, 0, 1).freed(), [(1, 1)]);
    // Somebody who kept the key comes too late: another actor would not be it.
    let out = grid.submit(BOB, &[method(20, 1, &[])], &[key(1), key(20)]);
    assert_eq!((out.placed(), out.failed(BOB).len()), (vec![], 2));
    assert_eq!(out.failed(BOB)[0].1.kind, FailureKind::ActorLost);
}

fn unread(call: u64, attempt: u32, input: u64, from: u32) -> FromWorker {
    let missing = vec![(key(input), WorkerId(from))];
    FromWorker::MissingInputs { key: key(call), attempt: Attempt(attempt), missing }
}

fn asked(out: &Out) -> Vec<(u32, Vec<Key>)> {
    let asked = |action: &Action| match action {
        Action::ToWorker(worker, ToWorker::Confirm(keys)) => Some((worker.0, keys.clone())),
        _ => None,
    };
    out.0.iter().filter_map(asked).collect()
}

/// Call 10, a method, has its result on worker 1; call 11 reads it on worker 2.
fn with_reader(options: CallOptions) -> Grid {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    grid.finish(1, 10, 0, 100);
    let reader = CallSpec { options, ..call(11, &[10]) };
    assert_eq!(grid.submit(ANN, &[reader], &[key(11)]).placed(), [(2, 11, 0)]);
    grid
}

fn on_second() -> CallOptions {
    let pins = Some(Pins { any_of: vec!["w2".to_owned()], prefer: false });
    CallOptions { pins, ..CallOptions::default() }
}

#[test]
fn what_a_method_gave_survives_that_it_could_not_be_read_elsewhere() {
    let preferred = Pins { any_of: vec!["w2".to_owned()], prefer: true };
    let options = CallOptions { pins: Some(preferred), ..CallOptions::default() };
    let mut grid = with_reader(options);
    let out = grid.hear(2, unread(11, 0, 10, 1));
    assert_eq!((out.freed(), out.failed(ANN).len()), (vec![], 0));
    assert_eq!(asked(&out), [(1, vec![key(10)])]);
    assert_eq!(grid.state(10), "memory");
    assert_eq!(out.placed(), [(1, 11, 1)], "the reader runs where it is");
    assert_eq!(grid.finish(1, 11, 1, 1).ready(ANN), [11]);
}

#[test]
fn a_reader_that_may_not_run_where_the_result_is_tries_until_its_holder_is_lost() {
    let mut grid = with_reader(on_second());
    for attempt in 0..100 {
        let out = grid.hear(2, unread(11, attempt, 10, 1));
        assert_eq!((out.placed(), out.freed()), (vec![(2, 11, attempt + 1)], vec![]));
    }
    grid.tell(Event::WorkerGone(WorkerId(1)));
    let out = grid.hear(2, unread(11, 100, 10, 1));
    assert_eq!(out.failed(ANN).iter().map(|(call, _)| *call).collect::<Vec<_>>(), [11]);
}

#[test]
fn what_a_method_gave_is_lost_when_its_holder_says_so() {
    let mut grid = with_reader(on_second());
    grid.hear(2, unread(11, 0, 10, 1));
    let out = grid.hear(1, FromWorker::Missing(vec![key(10)]));
    assert_eq!(out.failed(ANN).iter().map(|(call, _)| *call).collect::<Vec<_>>(), [10]);
    let out = grid.hear(2, unread(11, 1, 10, 1));
    assert_eq!(out.failed(ANN)[0].1.kind, FailureKind::LostData);
}

#[test]
fn what_a_method_gave_is_not_computed_again() {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    grid.finish(1, 10, 0, 100);
    let out = grid.submit(ANN, &[call(11, &[10])], &[key(11)]);
    assert_eq!(out.placed(), [(1, 11, 0)]);
    // Its holder itself says that it is not there.
    let out = grid.hear(1, unread(11, 0, 10, 1));
    assert!(out.failed(ANN).iter().all(|(_, failure)| failure.kind == FailureKind::LostData));
    assert_eq!((out.failed(ANN).len(), out.placed()), (2, vec![]));
    assert_eq!(grid.state(1), "memory");
    // Nor when it was let go of and is asked for again.
    grid.submit(ANN, &[method(20, 1, &[]), call(21, &[20])], &[key(20), key(21)]);
    grid.finish(1, 20, 0, 1);
    grid.finish(1, 21, 0, 1);
    grid.say(ANN, grid_proto::message::FromClient::Release(vec![key(20)]));
    assert_eq!(grid.state(20), "released");
    let out = grid.submit(BOB, &[], &[key(20)]);
    assert_eq!((out.failed(BOB)[0].1.kind.clone(), out.placed()), (FailureKind::LostData, vec![]));
}

#[test]
fn what_is_no_method_is_refused_in_words() {
    let mut grid = with_actor();
    let mut refused = |spec: CallSpec, what: &str| {
        let out = grid.submit(ANN, std::slice::from_ref(&spec), &[spec.key]);
        let refusal = out.refusal().unwrap();
        assert!(refusal.contains(what), "{refusal}");
    };
    refused(method(10, 99, &[]), "is not known to the grid");
    refused(call(10, &[1]), "cannot be an argument: call its methods");
    let mut pinned = method(10, 1, &[]);
    pinned.options.resources = vec![("GPU".to_owned(), grid_proto::Amount(10_000))];
    refused(pinned, "runs where that is");
    refused(CallSpec { options: kept(1).options, ..typed(1, &[1]) }, "taken by another recipe");
    grid.submit(ANN, &[call(5, &[])], &[key(5)]);
    let refusal = grid.submit(ANN, &[method(10, 5, &[])], &[key(10)]).refusal().unwrap();
    assert!(refusal.contains("is no actor"), "{refusal}");
}

#[test]
fn a_method_cannot_ask_to_run_elsewhere() {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    grid.hear(1, FromWorker::ActorLost { key: key(1), why: "it left".to_owned() });
    let finished = FromWorker::Finished {
        key: key(10),
        attempt: Attempt(0),
        outcome: grid_proto::message::Outcome::Reschedule,
        spent: grid_proto::Spent::default(),
    };
    let out = grid.hear(1, finished);
    assert_eq!(out.failed(ANN)[0].1.kind, FailureKind::Rescheduled);
    assert_eq!(out.placed(), []);
}

#[test]
fn a_worker_that_has_no_such_actor_loses_it() {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    let (attempt, missing) = (Attempt(0), vec![(key(1), WorkerId(1))]);
    let out = grid.hear(1, FromWorker::MissingInputs { key: key(10), attempt, missing });
    assert_eq!((out.failed(ANN).len(), out.placed()), (2, vec![]));
    let (_, failure) = out.failed(ANN)[1];
    assert!(failure.message.contains("`w1` no longer has it"), "{failure}");
}

#[test]
fn an_actor_that_was_cancelled_by_force_does_not_come_back() {
    let mut grid = with_actor();
    grid.submit(ANN, &[method(10, 1, &[])], &[key(10)]);
    // A dataset keeps its name.
    let operation =
        grid_proto::coordination::DatasetOperation::Publish { keys: vec![key(1)], replace: false };
    let operation =
        grid_proto::coordination::Operation::Dataset { name: "counter".to_owned(), operation };
    let request = grid_proto::RequestId(7);
    grid.say(BOB, grid_proto::message::FromClient::Coordinate { request, operation });
    let cancel = grid_proto::message::FromClient::Cancel { keys: vec![key(1)], force: true };
    let out = grid.say(ANN, cancel);
    assert_eq!((out.cancelled(), out.freed()), (vec![(1, 10, 0)], vec![(1, 1)]));
    let retry = grid_proto::message::FromClient::Retry { request, keys: vec![key(1)] };
    assert_eq!(grid.say(ANN, retry).placed(), []);
    assert_eq!(grid.submit(ANN, &[kept(1)], &[key(1)]).placed(), []);
    let out = grid.submit(ANN, &[method(11, 1, &[])], &[key(11)]);
    assert_eq!(out.failed(ANN)[0].1.kind, FailureKind::Cancelled);
}

/// An attempt in a worker's hands.
type InHand = (u32, u64, u32, Instance);

/// Everything that may befall actors, in an order that a seed draws.
struct Storm {
    grid: Grid,
    state: u64,
    last: u64,
    in_hand: Vec<InHand>,
    actors: Vec<u64>,
    callers: BTreeMap<u64, ClientId>,
    /// The last method of each caller that each actor was given.
    given: BTreeMap<(Key, ClientId), u64>,
    methods_run: usize,
    /// Actors that were made.
    made: BTreeSet<u64>,
    workers: Vec<u32>,
}

impl Storm {
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) as usize % bound
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What the machine sent: nothing runs twice, beside another in its actor, or too early.
    fn note(&mut self, out: &Out) {
        let cancelled = out.cancelled();
        self.in_hand
            .retain(|(worker, call, attempt, _)| !cancelled.contains(&(*worker, *call, *attempt)));
        for (worker, run) in out.runs() {
            let call = super::grid::number(run.key);
            if let Instance::Of(actor) = run.instance {
                let busy = self.in_hand.iter().any(|(_, _, _, other)| *other == run.instance);
                assert!(!busy, "two methods in one actor");
                let caller = (actor, self.callers[&call]);
                let before = self.given.insert(caller, call);
                assert!(before < Some(call), "{call} after {before:?}");
                self.methods_run += 1;
            }
            assert!(!self.made.contains(&call), "an actor is made again");
            self.in_hand.push((worker, call, run.attempt.0, run.instance));
        }
    }

    fn take(&mut self) -> Option<InHand> {
        let count = self.in_hand.len();
        (count > 0).then(|| {
            let place = self.below(count);
            self.in_hand.swap_remove(place)
        })
    }

    fn submit_method(&mut self, client: ClientId) {
        if self.actors.is_empty() {
            return;
        }
        let place = self.below(self.actors.len());
        let actor = self.actors[place];
        let (input, number) = (self.next(), self.next());
        self.callers.insert(number, client);
        let calls = match self.below(3) {
            0 => vec![call(input, &[]), method(number, actor, &[input])],
            _ => vec![method(number, actor, &[])],
        };
        let out = self.grid.submit(client, &calls, &[key(number)]);
        self.note(&out);
    }

    fn end(&mut self) {
        let Some((worker, call, attempt, instance)) = self.take() else { return };
        let out = match (self.below(6), instance) {
            (0, _) => self.grid.fail(worker, call, attempt, FailureKind::User),
            (1, Instance::Of(actor)) => {
                let lost = FromWorker::ActorLost { key: actor, why: "a trap".to_owned() };
                let out = self.grid.hear(worker, lost);
                self.note(&out);
                self.grid.fail(worker, call, attempt, FailureKind::Deadline { limit_ms: 1 })
            }
            _ => {
                if instance == Instance::Kept {
                    self.made.insert(call);
                }
                self.grid.finish(worker, call, attempt, 10)
            }
        };
        self.note(&out);
    }

    fn replace_worker(&mut self) {
        let place = self.below(self.workers.len());
        let gone = self.workers[place];
        self.in_hand.retain(|(worker, ..)| *worker != gone);
        let out = self.grid.tell(Event::WorkerGone(WorkerId(gone)));
        self.note(&out);
        self.workers[place] = gone + 10;
        let out = self.grid.worker(gone + 10, 2);
        self.note(&out);
    }

    fn step(&mut self) {
        let client = if self.below(2) == 0 { ANN } else { BOB };
        match self.below(20) {
            0..2 => {
                let number = self.next();
                self.actors.push(number);
                let out = self.grid.submit(client, &[kept(number)], &[key(number)]);
                self.note(&out);
            }
            2..9 => self.submit_method(client),
            9..17 => self.end(),
            17 | 18 => {
                let keys = vec![key(1 + self.below(self.last as usize + 1) as u64)];
                let message = match self.below(2) {
                    0 => grid_proto::message::FromClient::Release(keys),
                    _ => grid_proto::message::FromClient::Cancel { keys, force: false },
                };
                let out = self.grid.say(client, message);
                self.note(&out);
            }
            _ => self.replace_worker(),
        }
    }
}

#[test]
fn whatever_happens_methods_run_once_alone_and_in_order() {
    let mut methods_run = 0;
    for seed in 0..60 {
        let mut grid = Grid::new();
        (1..=3).for_each(|id| drop(grid.worker(id, 2)));
        let mut storm = Storm {
            grid,
            state: seed,
            last: 0,
            in_hand: Vec::new(),
            actors: Vec::new(),
            callers: BTreeMap::new(),
            given: BTreeMap::new(),
            methods_run: 0,
            made: BTreeSet::new(),
            workers: vec![1, 2, 3],
        };
        (0..400).for_each(|_| storm.step());
        while !storm.in_hand.is_empty() {
            storm.end();
        }
        let unfinished = storm
            .grid
            .calls()
            .into_iter()
            .filter(|call| ["waiting", "queued", "processing"].contains(&call.state.as_str()));
        assert_eq!(unfinished.count(), 0, "everything ends, seed {seed}");
        let all: Vec<_> = (1..=storm.last).map(key).collect();
        for client in [ANN, BOB] {
            storm.grid.say(client, grid_proto::message::FromClient::Release(all.clone()));
        }
        assert_eq!(storm.grid.calls().len(), 0, "nothing is left, seed {seed}");
        methods_run += storm.methods_run;
    }
    assert!(methods_run > 1_000, "{methods_run}");
}
