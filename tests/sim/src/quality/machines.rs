//! The real machines on the same hosts, without faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::{FromClient, FromWorker, Outcome, Registration, Submission, ToWorker};
use grid_proto::order::Graph;
use grid_proto::{
    Arg, Attempt, BundleDescription, CallOptions, CallSpec, ClientId, Codec, Failure, FailureKind,
    Key, ObjectMeta, Parameter, RequestId, Spent, TaskDescription, TaskLimits, TaskRef, WorkerId,
};
use grid_scheduler::{Action as ToHost, Config, Event as ToMachine, Now, Scheduler};
use grid_worker::agent::{Action, Agent};

use super::shapes::Call;
use super::{LATENCY_US, LINK_BYTES_PER_US};
use crate::task::BUNDLE;

const CLIENT: ClientId = ClientId(1);
/// As `grid-worker`'s driver has it: what runs longer is reported as started.
const STARTED_AFTER_US: u64 = 10_000;
const HEARTBEAT_US: u64 = 500_000;

#[derive(Debug)]
enum Event {
    ToWorker(usize, Vec<ToWorker>),
    FromWorker(usize, Vec<FromWorker>),
    Started(usize, Attempted),
    Ended(usize, Attempted),
    Fetched(usize, WorkerId, Vec<Key>),
    Heartbeat(usize),
    Timer,
}

type Attempted = (Key, Attempt);

struct Host {
    agent: Agent,
    queue: VecDeque<Attempted>,
    running: Option<Attempted>,
    holds: BTreeSet<Key>,
    link_free: u64,
    fetched: (u64, u64),
}

struct World<'a> {
    work: &'a [Call],
    /// Calls by their keys.
    numbers: BTreeMap<Key, usize>,
    scheduler: Scheduler,
    hosts: Vec<Host>,
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    left: BTreeSet<Key>,
}

pub(super) fn makespan(work: &[Call], hosts: usize) -> u64 {
    let mut world = World::new(work, hosts);
    world.submit();
    let started = world.now;
    while !world.left.is_empty() {
        world.step();
    }
    world.now - started
}

impl<'a> World<'a> {
    fn new(work: &'a [Call], hosts: usize) -> Self {
        let host = |_| Host {
            agent: Agent::new(1, 16),
            queue: VecDeque::new(),
            running: None,
            holds: BTreeSet::new(),
            link_free: 0,
            fetched: (0, 0),
        };
        let numbers: BTreeMap<_, _> = (0..work.len()).map(|call| (key(call), call)).collect();
        let mut world = World {
            left: numbers.keys().copied().collect(),
            work,
            numbers,
            scheduler: Scheduler::new(Config::default()),
            hosts: (0..hosts).map(host).collect(),
            now: 1,
            events: BTreeMap::new(),
            sequence: 0,
        };
        let description = description(work);
        let restored = ToMachine::BundleRestored { hash: BUNDLE, size_bytes: 1, description };
        world.tell(vec![restored, ToMachine::ClientConnected(CLIENT)]);
        for place in 0..hosts {
            let connected = ToMachine::WorkerConnected(worker(place), registration(place));
            world.tell(vec![connected]);
            world.after(HEARTBEAT_US, Event::Heartbeat(place));
        }
        // All of them are there before the work comes.
        while world.now <= 2 * LATENCY_US {
            world.step();
        }
        world
    }

    /// In pieces and in order, as the client library does it.
    fn submit(&mut self) {
        let mut graph = Graph::new();
        for call in self.work {
            graph.push(call.inputs.iter().map(|input| place(*input)));
        }
        let (mut tasks, mut calls) = (Vec::new(), Vec::new());
        for number in graph.order() {
            let call = &self.work[number as usize];
            let task = TaskRef { bundle: BUNDLE, task: task_name(call) };
            let known = tasks.iter().position(|known| *known == task);
            let position = known.unwrap_or_else(|| {
                tasks.push(task);
                tasks.len() - 1
            });
            calls.push(CallSpec {
                key: key(number as usize),
                task: place(position),
                args: call.inputs.iter().map(|input| Arg::Key(key(*input))).collect(),
                options: CallOptions::default(),
            });
        }
        let is_read: BTreeSet<_> = self.work.iter().flat_map(|call| &call.inputs).collect();
        let ends = (0..self.work.len()).filter(|call| !is_read.contains(call));
        let wanted = ends.map(key).collect();
        let request = RequestId(1);
        let whole = Submission { request, tasks, calls, wanted, ..Submission::default() };
        let pieces = whole.into_pieces().into_iter();
        self.tell(
            pieces.map(|piece| ToMachine::Client(CLIENT, FromClient::Submit(piece))).collect(),
        );
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn step(&mut self) {
        let ((at, _), event) = self.events.pop_first().expect("something is left to do");
        self.now = at;
        match event {
            Event::ToWorker(place, batch) => {
                for message in batch {
                    self.hosts[place].agent.on_message(message);
                }
                self.turn(place);
            }
            Event::FromWorker(place, batch) => {
                for message in &batch {
                    if let FromWorker::Finished { key, outcome: Outcome::Memory { .. }, .. } =
                        message
                    {
                        self.left.remove(key);
                    }
                }
                let tell = |message| ToMachine::Worker(worker(place), message);
                self.tell(batch.into_iter().map(tell).collect());
            }
            Event::Started(place, attempted) => {
                if self.hosts[place].running == Some(attempted) {
                    self.send(place, vec![FromWorker::Started(vec![attempted])]);
                }
            }
            Event::Ended(place, attempted) => {
                if self.hosts[place].running == Some(attempted) {
                    self.hosts[place].running = None;
                    self.executed(place, attempted, true);
                    self.turn(place);
                }
            }
            Event::Fetched(place, from, keys) => {
                self.hosts[place].holds.extend(&keys);
                let got: Vec<_> = keys.iter().map(|key| (*key, self.meta(key).version())).collect();
                self.hosts[place].agent.on_fetched(from, &got, &[]);
                self.turn(place);
            }
            Event::Heartbeat(place) => {
                self.hosts[place].agent.on_tick();
                let (fetched_bytes, fetching_us) = std::mem::take(&mut self.hosts[place].fetched);
                let (resident_bytes, descriptors) = (1, 1);
                let beat = FromWorker::Heartbeat {
                    resident_bytes,
                    descriptors,
                    fetched_bytes,
                    fetching_us,
                    memory: grid_proto::report::MemoryUse::default(),
                };
                self.send(place, vec![beat]);
                self.after(HEARTBEAT_US, Event::Heartbeat(place));
                self.turn(place);
            }
            Event::Timer => {
                self.scheduler.handle_timeout(Now(self.now));
                self.tell(Vec::new());
            }
        }
    }

    /// The scheduler's turn.
    fn tell(&mut self, events: Vec<ToMachine>) {
        for event in events {
            self.scheduler.handle(Now(self.now), event);
        }
        self.scheduler.flush(Now(self.now));
        let mut batches = BTreeMap::<usize, Vec<_>>::new();
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                ToHost::ToWorker(worker, message) => {
                    batches.entry(worker.0 as usize).or_default().push(message);
                }
                ToHost::CloseWorker(_, why) => panic!("a worker is turned away: {why}"),
                _ => {}
            }
        }
        for (place, batch) in batches {
            self.after(LATENCY_US, Event::ToWorker(place, batch));
        }
        // Work is left over: it goes on at once.
        if self.scheduler.poll_timeout().is_some_and(|at| at.0 <= self.now) {
            self.after(0, Event::Timer);
        }
    }

    fn send(&mut self, place: usize, batch: Vec<FromWorker>) {
        self.after(LATENCY_US, Event::FromWorker(place, batch));
    }

    /// The driver's loop body of one worker.
    fn turn(&mut self, place: usize) {
        let mut batch = Vec::new();
        self.hosts[place].agent.flush();
        while let Some(action) = self.hosts[place].agent.poll_action() {
            match action {
                Action::Send(message) => batch.push(message),
                Action::Execute(execution) => {
                    let attempted = (execution.key, execution.attempt);
                    self.hosts[place].queue.push_back(attempted);
                }
                Action::Stop(key, attempt) => {
                    let host = &mut self.hosts[place];
                    host.queue.retain(|other| *other != (key, attempt));
                    host.running = host.running.filter(|other| *other != (key, attempt));
                    self.executed(place, (key, attempt), false);
                }
                Action::Fetch { from, keys, .. } => self.fetch(place, from, keys),
                Action::Drop(key) => drop(self.hosts[place].holds.remove(&key)),
                Action::Load(bundle) => self.hosts[place].agent.on_bundle(bundle, Ok(())),
                Action::Inspect(_) | Action::Tell(..) | Action::HangUp { .. } => {}
            }
            self.fill_slot(place);
            self.hosts[place].agent.flush();
        }
        if !batch.is_empty() {
            self.send(place, batch);
        }
    }

    fn fill_slot(&mut self, place: usize) {
        if self.hosts[place].running.is_some() {
            return;
        }
        if let Some(attempted) = self.hosts[place].queue.pop_front() {
            self.hosts[place].running = Some(attempted);
            let duration_us = self.work[self.numbers[&attempted.0]].duration_us;
            self.after(duration_us, Event::Ended(place, attempted));
            if duration_us > STARTED_AFTER_US {
                self.after(STARTED_AFTER_US, Event::Started(place, attempted));
            }
        }
    }

    fn meta(&self, key: &Key) -> ObjectMeta {
        let size = self.work[self.numbers[key]].bytes;
        ObjectMeta { codec: Codec::Raw, size, hash: key.0 }
    }

    fn executed(&mut self, place: usize, (key, attempt): Attempted, done: bool) {
        let call = &self.work[self.numbers[&key]];
        let spent = Spent { wall_us: call.duration_us, ..Spent::default() };
        let outcome = match done {
            true => Outcome::Memory { meta: self.meta(&key), inline: None },
            false => Outcome::Failed(Failure::new(FailureKind::Cancelled, "stopped")),
        };
        if self.hosts[place].agent.on_executed(key, attempt, outcome, spent) {
            self.hosts[place].holds.insert(key);
        }
        self.fill_slot(place);
    }

    fn fetch(&mut self, place: usize, from: WorkerId, keys: Vec<Key>) {
        let has = keys.iter().all(|key| self.hosts[from.0 as usize].holds.contains(key));
        assert!(has, "nothing is lost here, and nothing is freed that is still read");
        let size = |key: &Key| self.work[self.numbers[key]].bytes;
        let bytes: u64 = keys.iter().map(size).sum();
        let host = &mut self.hosts[place];
        let begin = host.link_free.max(self.now + 2 * LATENCY_US);
        host.link_free = begin + bytes / LINK_BYTES_PER_US;
        host.fetched.0 += bytes;
        host.fetched.1 += host.link_free - self.now;
        let delay = host.link_free - self.now;
        self.after(delay, Event::Fetched(place, from, keys));
    }
}

fn worker(place: usize) -> WorkerId {
    WorkerId(self::place(place))
}

fn place(number: usize) -> u32 {
    u32::try_from(number).expect("calls and hosts are not that many")
}

fn key(call: usize) -> Key {
    Key(*blake3::hash(&call.to_le_bytes()).as_bytes())
}

fn task_name(call: &Call) -> String {
    format!("task-{}-{}", call.task, call.inputs.len())
}

fn registration(place: usize) -> Registration {
    Registration {
        name: format!("w{place}"),
        address: format!("w{place}:1"),
        host: format!("h{place}"),
        labels: Vec::new(),
        resources: Vec::new(),
        memory_bytes: 1 << 40,
        object_bytes: 1 << 40,
        pid: worker(place).0,
        slots: 1,
        holds: Vec::new(),
        in_hand: Vec::new(),
    }
}

fn description(work: &[Call]) -> BundleDescription {
    let parameter =
        |n: usize| Parameter { name: format!("p{n}"), shape: "Blob".to_owned(), lazy: false };
    let names: BTreeSet<_> = work.iter().map(|call| (task_name(call), call.inputs.len())).collect();
    let task = |(name, inputs): (String, usize)| TaskDescription {
        name,
        doc: String::new(),
        parameters: (0..inputs).map(parameter).collect(),
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
        name: "quality".to_owned(),
        version: "1".to_owned(),
        sdk: "none".to_owned(),
        tasks: names.into_iter().map(task).collect(),
        imports: Vec::new(),
    }
}
