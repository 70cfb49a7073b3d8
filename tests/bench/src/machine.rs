//! The pure machine, on one thread, with workers that take no time: what scheduling itself costs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use grid_proto::message::{
    FromClient, FromWorker, Outcome, Registration, Submission, ToClient, ToWorker,
};
use grid_proto::{
    Arg, Attempt, BundleDescription, BundleHash, CallOptions, CallSpec, ClientId, Codec, Key,
    ObjectMeta, Parameter, RequestId, Spent, TaskDescription, TaskLimits, TaskRef, WorkerId,
};
use grid_scheduler::{Action, Config, Event, Now, Scheduler};

use crate::{median, report};

const BUNDLE: BundleHash = BundleHash([1; 32]);
pub(crate) const CLIENT: ClientId = ClientId(1);
/// As the client library cuts submissions.
const PIECE: usize = 500;
/// Ends that the host hands over between two rounds of placement.
const BATCH: usize = 256;
const ROUNDS: usize = 3;

pub(crate) fn run() {
    // First: what earlier runs have freed would not count.
    held();
    let rate = |graph: fn(u32) -> Graph, calls: u32, workers: u32| {
        let rates = (0..ROUNDS).map(|_| Drive::new(workers).life(&graph(calls)).rate()).collect();
        median(rates)
    };
    let wide = rate(Graph::wide, 200_000, 10);
    report("machine, wide graph", &format!("{wide:.0} calls/s"), "at least 400,000 calls/s");
    let pairs = rate(Graph::pairs, 200_000, 10);
    report("machine, two inputs each", &format!("{pairs:.0} calls/s"), "at least 250,000 calls/s");
    let ratio = rate(Graph::wide, 10_000, 10) / rate(Graph::wide, 1_000_000, 10);
    report("machine, cost at 1,000,000 calls over 10,000", &format!("{ratio:.2}"), "at most 1.3");
    let ratio = rate(Graph::pairs, 10_000, 10) / rate(Graph::pairs, 1_000_000, 10);
    report("machine, the same with two inputs", &format!("{ratio:.2}"), "at most 1.3");
    let ratio = wide / rate(Graph::wide, 200_000, 1_000);
    report("machine, cost at 1,000 workers over 10", &format!("{ratio:.2}"), "at most 1.5");
    let ratio = pairs / rate(Graph::pairs, 200_000, 1_000);
    report("machine, the same with two inputs", &format!("{ratio:.2}"), "at most 1.5");
    turns();
    order();
}

/// Memory of a million calls that wait.
fn held() {
    const CALLS: u32 = 1_000_000;
    let mut kept = Vec::new();
    for (name, graph) in [("no inputs", Graph::wide(CALLS)), ("two inputs", Graph::pairs(CALLS))] {
        let mut drive = Drive::new(0);
        let before = resident_bytes();
        drive.submit(&graph);
        let bytes = resident_bytes().saturating_sub(before) as f64 / f64::from(CALLS);
        report(
            &format!("machine, a call held, {name}"),
            &format!("{bytes:.0} bytes"),
            "at most 400",
        );
        kept.push(drive);
    }
}

/// The longest time for which somebody else's message has to wait while a million calls are
/// submitted and started, and while their client leaves.
fn turns() {
    for (name, graph) in [("no inputs", Graph::wide(1_000_000)), ("two", Graph::pairs(1_000_000))] {
        let mut drive = Drive::new(10);
        drive.submit(&graph);
        let submit = std::mem::take(&mut drive.turn_max);
        let started = Instant::now();
        drive.tell(Event::ClientGone(CLIENT));
        drive.turn_max = started.elapsed();
        drive.settle();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let (submit, gone) = (milliseconds(submit), milliseconds(drive.turn_max));
        let measured = format!("{submit:.1} ms, client gone {gone:.1} ms");
        let what = format!("machine, longest turn of a million calls, {name}");
        report(&what, &measured, "under 20 ms");
    }
}

/// The static order of a graph, as a client computes it when it submits.
fn order() {
    const CALLS: u32 = 100_000;
    let graph = Graph::pairs(CALLS);
    let took = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        let mut order = grid_proto::order::Graph::new();
        for number in 0..CALLS {
            let inputs = graph.inputs[number as usize];
            order.push(inputs.into_iter().filter(|_| number >= 1_000));
        }
        assert_eq!(order.order().len(), CALLS as usize);
        started.elapsed().as_secs_f64()
    });
    let took = median(took.collect());
    report("order of 100,000 calls, two inputs each", &format!("{took:.3} s"), "under 1 s");
}

/// Calls by the numbers of their inputs.
pub(crate) struct Graph {
    inputs: Vec<[u32; 2]>,
    inputs_each: usize,
    wanted: std::ops::Range<u32>,
}

impl Graph {
    pub(crate) fn wide(calls: u32) -> Self {
        Self { inputs: vec![[0; 2]; calls as usize], inputs_each: 0, wanted: 0..calls }
    }

    /// The first is read by all others.
    pub(crate) fn star(calls: u32) -> Self {
        Self { inputs: vec![[0; 2]; calls as usize], inputs_each: 1, wanted: 0..calls }
    }

    pub(crate) fn tasks() -> Vec<TaskRef> {
        let task = |task: &str| TaskRef { bundle: BUNDLE, task: task.to_owned() };
        ["none", "one", "two"].map(task).to_vec()
    }

    /// Layers of a thousand; each call reads two of the layer before.
    fn pairs(calls: u32) -> Self {
        const WIDTH: u32 = 1_000;
        let inputs = |n: u32| {
            let layer = n / WIDTH * WIDTH;
            let one = |step: u32| layer.wrapping_sub(WIDTH) + (n.wrapping_mul(step) + 1) % WIDTH;
            [one(7), one(13)]
        };
        let inputs = (0..calls).map(inputs).collect();
        Self { inputs, inputs_each: 2, wanted: calls - WIDTH..calls }
    }

    pub(crate) fn spec(&self, number: u32) -> CallSpec {
        let inputs = match self.inputs_each {
            1 if number > 0 => &[0][..],
            2 if number >= 1_000 => &self.inputs[number as usize][..],
            _ => &[][..],
        };
        CallSpec {
            key: key(number),
            task: inputs.len() as u32,
            args: inputs.iter().map(|input| Arg::Key(key(*input))).collect(),
            options: CallOptions::default(),
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.inputs.len()).unwrap_or(u32::MAX)
    }
}

/// A machine, and workers and a client that answer at once.
pub(crate) struct Drive {
    machine: Scheduler,
    now: u64,
    pub(crate) running: VecDeque<(WorkerId, Key, Attempt)>,
    ready: Vec<Key>,
    pub(crate) acquired: Vec<(WorkerId, Key)>,
    pub(crate) turn_max: Duration,
}

struct Life {
    calls: u32,
    took: Duration,
}

impl Life {
    fn rate(&self) -> f64 {
        f64::from(self.calls) / self.took.as_secs_f64()
    }
}

impl Drive {
    pub(crate) fn new(workers: u32) -> Self {
        let mut machine = Scheduler::new(Config::default());
        machine.handle(
            Now(1),
            Event::BundleRestored { hash: BUNDLE, size_bytes: 1, description: description() },
        );
        machine.handle(Now(1), Event::ClientConnected(CLIENT));
        let mut drive = Self {
            machine,
            now: 1,
            running: VecDeque::new(),
            ready: Vec::new(),
            acquired: Vec::new(),
            turn_max: Duration::ZERO,
        };
        for worker in 0..workers {
            drive.tell(Event::WorkerConnected(WorkerId(worker), registration(worker)));
        }
        drive
    }

    /// From its submission to the release of the last result.
    fn life(&mut self, graph: &Graph) -> Life {
        let pieces: Vec<_> = pieces(graph).collect();
        let started = Instant::now();
        for piece in pieces {
            self.tell(Event::Client(CLIENT, FromClient::Submit(piece)));
            self.turn();
        }
        let mut ended = 0;
        loop {
            for _ in 0..BATCH {
                let Some((worker, key, attempt)) = self.running.pop_front() else { break };
                let outcome = Outcome::Memory { meta: meta(), inline: None };
                let spent = Spent { wall_us: 100, ..Spent::default() };
                self.tell(Event::Worker(
                    worker,
                    FromWorker::Finished { key, attempt, outcome, spent },
                ));
                ended += 1;
            }
            if !self.ready.is_empty() {
                let keys = std::mem::take(&mut self.ready);
                self.tell(Event::Client(CLIENT, FromClient::Release(keys)));
            }
            self.turn();
            if self.running.is_empty() && ended >= graph.len() && self.ready.is_empty() {
                break;
            }
        }
        self.settle();
        let life = Life { calls: graph.len(), took: started.elapsed() };
        assert_eq!(self.machine.status().calls.values().sum::<u64>(), 0, "all is forgotten");
        life
    }

    pub(crate) fn submit(&mut self, graph: &Graph) {
        for piece in pieces(graph) {
            let started = Instant::now();
            self.tell(Event::Client(CLIENT, FromClient::Submit(piece)));
            self.turn_max = self.turn_max.max(started.elapsed());
        }
        self.settle();
    }

    pub(crate) fn settle(&mut self) {
        while self.machine.poll_timeout().is_some_and(|at| at.0 <= self.now) {
            let started = Instant::now();
            self.turn();
            self.turn_max = self.turn_max.max(started.elapsed());
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.now += 1;
        self.machine.handle(Now(self.now), event);
    }

    pub(crate) fn turn(&mut self) {
        self.machine.flush(Now(self.now));
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::ToWorker(worker, ToWorker::Run(assignments)) => {
                    let begun = assignments.into_iter().map(|run| (worker, run.key, run.attempt));
                    self.running.extend(begun);
                }
                Action::ToWorker(worker, ToWorker::Acquire(copies)) => {
                    self.acquired.extend(copies.into_iter().map(|(key, _)| (worker, key)));
                }
                Action::ToClient(_, ToClient::Ready { key, .. }) => self.ready.push(key),
                _ => {}
            }
        }
    }
}

/// Made one after the other: their own memory is not the machine's.
fn pieces(graph: &Graph) -> impl Iterator<Item = Submission> {
    let step = u32::try_from(PIECE).unwrap_or(u32::MAX);
    (0..graph.len()).step_by(PIECE).map(move |first| {
        let numbers = first..graph.len().min(first + step);
        let wanted = numbers.clone().filter(|number| graph.wanted.contains(number)).map(key);
        Submission {
            request: RequestId(1),
            tasks: if first == 0 { Graph::tasks() } else { Vec::new() },
            wanted: wanted.collect(),
            more: numbers.end < graph.len(),
            calls: numbers.map(|number| graph.spec(number)).collect(),
            ..Submission::default()
        }
    })
}

/// Calls that are all wanted, in pieces.
pub(crate) fn submit_pieces(drive: &mut Drive, calls: impl Iterator<Item = CallSpec>) {
    let mut calls = calls.peekable();
    let mut tasks = Graph::tasks();
    while calls.peek().is_some() {
        let piece: Vec<_> = calls.by_ref().take(PIECE).collect();
        let submission = Submission {
            request: RequestId(1),
            tasks: std::mem::take(&mut tasks),
            wanted: piece.iter().map(|spec| spec.key).collect(),
            more: calls.peek().is_some(),
            calls: piece,
            ..Submission::default()
        };
        drive.tell(Event::Client(CLIENT, FromClient::Submit(submission)));
    }
    drive.settle();
}

pub(crate) fn meta() -> ObjectMeta {
    ObjectMeta { codec: Codec::Raw, size: 8, hash: [0; 32] }
}

/// Spread like hashes.
pub(crate) fn key(number: u32) -> Key {
    let mut key = [0; 32];
    let mut state = u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in key.chunks_exact_mut(8) {
        state ^= state >> 31;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        part.copy_from_slice(&state.to_le_bytes());
    }
    Key(key)
}

pub(crate) fn registration(worker: u32) -> Registration {
    Registration {
        name: format!("w{worker}"),
        address: format!("w{worker}:1"),
        host: format!("h{worker}"),
        labels: Vec::new(),
        resources: Vec::new(),
        memory_bytes: 1 << 34,
        object_bytes: 1 << 34,
        pid: worker,
        slots: 4,
        holds: Vec::new(),
        in_hand: Vec::new(),
    }
}

fn description() -> BundleDescription {
    let task = |name: &str, count: usize| TaskDescription {
        name: name.to_owned(),
        doc: String::new(),
        parameters: (0..count)
            .map(|n| Parameter { name: format!("p{n}"), shape: "Blob".to_owned(), lazy: false })
            .collect(),
        output: "Blob".to_owned(),
        pure: true,
        resident: false,
        retries: 0,
        scratch_bytes: 0,
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    BundleDescription {
        name: "bench".to_owned(),
        version: "1".to_owned(),
        sdk: "bench@1".to_owned(),
        tasks: vec![task("none", 0), task("one", 1), task("two", 2)],
        imports: Vec::new(),
    }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}
