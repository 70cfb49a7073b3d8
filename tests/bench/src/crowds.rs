//! The longest time for which the machine keeps others waiting when something happens that concerns a
//! million calls at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grid_proto::data::Scattering;
use grid_proto::message::{FromClient, FromWorker, Outcome, Registration, Submission};
use grid_proto::{
    Arg, Attempt, CallSpec, Failure, FailureKind, Key, ObjectMeta, Pins, RequestId, Spent, Version,
    WorkerId,
};
use grid_scheduler::Event;

use crate::machine::{CLIENT, Drive, Graph, key, meta, registration, submit_pieces};
use crate::report;

const CALLS: u32 = 1_000_000;
const WORKERS: u32 = 1_000;
const WORKER: WorkerId = WorkerId(0);
const OTHER: WorkerId = WorkerId(1);

pub(crate) fn run() {
    // Before others, whose memory the allocator gives back in the midst of what comes after them.
    data();
    readers();
    failures();
    held();
    homeless();
    circle();
}

fn told(what: &str, longest: Duration) {
    let measured = format!("{:.2} ms", longest.as_secs_f64() * 1e3);
    report(&format!("machine, longest turn, {what}"), &measured, "under 5 ms");
}

/// The longest of the event and of the turns after it.
fn longest(drive: &mut Drive, event: Event) -> Duration {
    drive.turn_max = Duration::ZERO;
    let started = Instant::now();
    drive.tell(event);
    let took = started.elapsed();
    drive.settle();
    drive.turn_max.max(took)
}

/// One call that all others read.
fn star(workers: u32) -> Drive {
    let mut drive = Drive::new(workers);
    drive.submit(&Graph::star(CALLS));
    drive
}

fn finished(key: Key, attempt: Attempt, outcome: Outcome) -> Event {
    let spent = Spent { wall_us: 100, ..Spent::default() };
    Event::Worker(WORKER, FromWorker::Finished { key, attempt, outcome, spent })
}

fn readers() {
    let mut drive = star(1);
    let Some((_, key, attempt)) = drive.running.pop_front() else { return };
    let ready = finished(key, attempt, Outcome::Memory { meta: meta(), inline: None });
    told("a result that all read is there", longest(&mut drive, ready));
    let joins = Event::WorkerConnected(OTHER, registration(1));
    told("another worker comes", longest(&mut drive, joins));
    // It held the result, and all calls were held back for it.
    told("their worker is gone", longest(&mut drive, Event::WorkerGone(WORKER)));
    let cancel = FromClient::Cancel { keys: vec![key], force: false };
    told("all are cancelled", longest(&mut drive, Event::Client(CLIENT, cancel)));
}

fn failures() {
    let mut drive = star(1);
    let Some((_, key, attempt)) = drive.running.pop_front() else { return };
    let failure = Failure::new(FailureKind::User, "it broke");
    let failed = finished(key, attempt, Outcome::Failed(failure));
    told("a call that all read fails", longest(&mut drive, failed));
    let retry = FromClient::Retry { request: RequestId(2), keys: vec![key] };
    told("all are asked to run again", longest(&mut drive, Event::Client(CLIENT, retry)));
    let cancel = FromClient::Cancel { keys: vec![key], force: true };
    told("all are cancelled by force", longest(&mut drive, Event::Client(CLIENT, cancel)));
}

/// A worker that holds all results is gone, and comes back with them.
fn held() {
    let mut drive = Drive::new(1);
    drive.submit(&Graph::wide(CALLS));
    let mut holds = Vec::new();
    while let Some((_, key, attempt)) = drive.running.pop_front() {
        holds.push((key, meta()));
        drive.tell(finished(key, attempt, Outcome::Memory { meta: meta(), inline: None }));
        if drive.running.is_empty() {
            drive.settle();
            drive.turn();
        }
    }
    told("a worker that held all is gone", longest(&mut drive, Event::WorkerGone(WORKER)));
    let back = Registration { holds, ..registration(1) };
    told("it is back with all", longest(&mut drive, Event::WorkerConnected(OTHER, back)));
}

/// No worker may run them; one comes that may not either, and one that may.
fn homeless() {
    for names in [1, CALLS] {
        let mut drive = Drive::new(0);
        let calls = (0..CALLS).map(|number| {
            let any_of = vec![format!("label {}", number % names)];
            let mut spec = Graph::wide(1).spec(number);
            spec.options.pins = Some(Pins { any_of, prefer: false });
            spec
        });
        submit_pieces(&mut drive, calls);
        let joins = Event::WorkerConnected(WORKER, registration(0));
        let labels = if names == 1 { "one label" } else { "a label each" };
        told(&format!("a worker comes that helps nobody of {labels}"), longest(&mut drive, joins));
        let may = Registration { labels: vec!["label 0".to_owned()], ..registration(1) };
        let joins = Event::WorkerConnected(OTHER, may);
        told(&format!("a worker comes that helps, {labels}"), longest(&mut drive, joins));
    }
}

/// A thousand workers: values are brought to all of them, one of them is copied to all, and what one
/// worker has is spread over all.
fn data() {
    let mut drive = Drive::new(WORKERS);
    let item = |number: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        let meta = ObjectMeta { size: 1_000, hash, ..meta() };
        (Key::of_data(&meta), meta)
    };
    let items: Vec<_> = (0..1_000).map(item).collect();
    let scatter = |items: Vec<_>, to: Vec<String>, number| {
        let request = RequestId(number);
        let failed = Vec::new();
        Event::Client(CLIENT, FromClient::Scatter(Scattering { request, items, to, failed }))
    };
    let took = longest(&mut drive, scatter(items.clone(), Vec::new(), 10));
    told("1,000 values for 1,000 workers", took);
    let name = registration(0).name;
    let keys: Vec<_> = (1_000..2_000).map(item).collect();
    let took = longest(&mut drive, scatter(keys.clone(), vec![name], 11));
    told("1,000 values for one of them", took);
    let versions = keys.iter().chain(&items).map(|(key, meta)| (*key, meta.version())).collect();
    let holds = FromWorker::Holds(keys.iter().map(|(key, meta)| (*key, meta.version())).collect());
    longest(&mut drive, Event::Worker(WORKER, holds));
    let (request, to) = (RequestId(12), Vec::new());
    let all = FromClient::Replicate { request, keys: vec![keys[0].0], copies: u32::MAX, to };
    let begun = longest(&mut drive, Event::Client(CLIENT, all));
    told("a copy for each of 1,000 workers", begun.max(acquire(&mut drive, &versions)));
    let (request, to) = (RequestId(13), Vec::new());
    let spread = FromClient::Rebalance { request, keys: Vec::new(), to };
    let begun = longest(&mut drive, Event::Client(CLIENT, spread));
    told("what one of 1,000 workers has is spread", begun.max(acquire(&mut drive, &versions)));
}

/// All copies that workers shall have arrive, until there are no more; the longest turn.
fn acquire(drive: &mut Drive, versions: &BTreeMap<Key, Version>) -> Duration {
    let mut most = Duration::ZERO;
    loop {
        let Some((worker, key)) = drive.acquired.pop() else { return most };
        let version = versions[&key];
        let holds = FromWorker::Holds(vec![(key, version)]);
        most = most.max(longest(drive, Event::Worker(worker, holds)));
    }
}

/// A call that all others read submits one of its own, and one that reads another.
fn circle() {
    let mut drive = star(1);
    let Some((_, parent, attempt)) = drive.running.pop_front() else { return };
    for (name, args, task) in
        [("no inputs", vec![], 0), ("an input", vec![Arg::Key(key(CALLS + 1))], 1)]
    {
        if task == 1 {
            submit_pieces(&mut drive, std::iter::once(Graph::wide(1).spec(CALLS + 1)));
        }
        let number = CALLS + 2 + task;
        let options = Graph::wide(1).spec(0).options;
        let spec = CallSpec { key: key(number), task, args, options };
        let submission = Submission {
            request: RequestId(3),
            tasks: Graph::tasks(),
            wanted: vec![spec.key],
            calls: vec![spec],
            ..Submission::default()
        };
        let message = Box::new(FromClient::Submit(submission));
        let said = FromWorker::FromTask { key: parent, attempt, message };
        let took = longest(&mut drive, Event::Worker(WORKER, said));
        told(&format!("a call that all wait for submits one with {name}"), took);
    }
}
