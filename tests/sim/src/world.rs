//! Everything together: the real scheduler, workers around real agents, clients, one agenda.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, FromWorker, Outcome, ToClient, ToWorker};
use grid_proto::{ClientId, Key, WorkerId};
use grid_scheduler::{Action, Config, Event as Input, Now, Scheduler};

use crate::agenda::{Agenda, ClientEvent, Event, LinkId, WorkerEvent};
use crate::client::{SimClient, Standing};
use crate::faults::Faults;
use crate::history::History;
use crate::network::{Network, Peer};
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::strike::PROBE;
use crate::task::{self, BUNDLE};
use crate::worker::{Context, Request, SimWorker};

/// A worker that was silent that long is lost.
const WORKER_TTL_US: u64 = 3_000_000;
const HEARTBEAT_US: u64 = 1_000_000;
const TIMER_US: u64 = 250_000;

/// One stream of randomness for each part, so that a change in one leaves the others as they are.
pub(crate) struct Streams {
    pub(crate) network: Rng,
    pub(crate) compute: Rng,
    pub(crate) faults: Rng,
    pub(crate) clients: Rng,
}

/// A grid in simulation.
pub(crate) struct World {
    pub(crate) agenda: Agenda,
    pub(crate) machine: Scheduler,
    pub(crate) network: Network,
    pub(crate) workers: Vec<SimWorker>,
    pub(crate) clients: Vec<SimClient>,
    pub(crate) oracle: Oracle,
    pub(crate) faults: Faults,
    pub(crate) streams: Streams,
    pub(crate) history: History,
    /// Taken from the machine, to be carried out after the next placement round.
    pub(crate) actions: Vec<Action>,
    flush_planned: bool,
    /// Clients may name the bundle.
    pub(crate) deployed: bool,
    /// Ends of attempts that the machine counted, for comparison with its counters.
    pub(crate) ends_counted: u64,
    pub(crate) steps: u64,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut setup = Rng::stream(seed, 1);
        let faults = Faults::draw(&mut setup);
        let config = Config {
            worker_ttl_us: WORKER_TTL_US,
            turn_calls_max: setup.pick(&[1, 3, 20, 2_048]),
            lookahead_us: setup.pick(&[0, 5_000]),
            quarantine_strikes: 0,
            seed,
            ..Config::default()
        };
        let mut machine = Scheduler::new(config);
        let restored = setup.chance(50);
        if restored {
            let (hash, description) = (BUNDLE, task::description());
            let restored = Input::BundleRestored { hash, size_bytes: 1, description };
            machine.handle(Now::default(), restored);
        }
        let places = 0..usize::try_from(setup.range(1, 7)).expect("a small number");
        let slots = |setup: &mut Rng| usize::try_from(setup.range(1, 5)).expect("a small number");
        let workers = places.map(|place| SimWorker::new(place, slots(&mut setup))).collect();
        let (cancels, forces) = (setup.chance(60), setup.chance(40));
        let (turns, salts) = (setup.pick(&[3, 10, 30]), setup.pick(&[1, 3, 10]));
        let client =
            |setup: &mut Rng| SimClient::new(setup.range(1, turns), salts, cancels, forces);
        let clients = (0..setup.range(1, 5)).map(|_| client(&mut setup)).collect();
        Self {
            agenda: Agenda::default(),
            machine,
            network: Network::default(),
            workers,
            clients,
            oracle: Oracle::default(),
            faults,
            streams: Streams {
                network: Rng::stream(seed, 2),
                compute: Rng::stream(seed, 3),
                faults: Rng::stream(seed, 4),
                clients: Rng::stream(seed, 5),
            },
            history: History::default(),
            actions: Vec::new(),
            flush_planned: false,
            deployed: restored,
            ends_counted: 0,
            steps: 0,
            trace: trace.then(Vec::new),
        }
    }

    /// The next event happens. `false` when there is none.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        let Some(event) = self.agenda.pop() else {
            return Ok(false);
        };
        self.steps += 1;
        if self.trace.is_some() && !matches!(event, Event::Timer) {
            self.log(&format!("{event:?}"));
        }
        self.on_event(event)?;
        self.machine.check().map_err(|broken| format!("scheduler: {broken}"))?;
        Ok(true)
    }

    pub(crate) fn log(&mut self, line: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10} {line}", self.agenda.now));
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::ClientOpened(link) => self.tell(Input::ClientConnected(ClientId(link))),
            Event::FromClient(link, batch) => self.on_from_client(link, batch),
            Event::FromWorker(link, batch) => self.on_from_worker(link, batch)?,
            Event::ToClient(link, batch) => self.on_to_client(link, batch)?,
            Event::ToWorker(link, batch) => self.on_to_worker(link, batch)?,
            Event::LostByScheduler(link) => self.on_lost_by_scheduler(link),
            Event::LostByPeer(link) => self.on_lost_by_peer(link)?,
            Event::Flush => {
                self.flush_planned = false;
                self.flush();
            }
            Event::Timer => self.on_timer(),
            Event::Worker(place, process, event) => {
                if self.workers[place].process == process {
                    self.on_worker_event(place, event)?;
                } else if let WorkerEvent::Asked { by, process, from, keys } = event {
                    // Whoever asked notices that the connection is over.
                    let fetched = WorkerEvent::Fetched { from, found: Vec::new(), failed: keys };
                    self.agenda.after(0, Event::Worker(by, process, fetched));
                }
            }
            Event::Client(place, event) => self.on_client_event(place, event),
            Event::Fault => self.strike()?,
            Event::Quiet => self.faults.quiet = true,
        }
        Ok(())
    }

    // ---- the scheduler's host -------------------------------------------------------------

    fn now(&self) -> Now {
        Now(self.agenda.now)
    }

    pub(crate) fn tell(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
        self.plan_flush();
    }

    /// The host takes several batches before it looks at what the machine wants.
    fn plan_flush(&mut self) {
        if !self.flush_planned {
            self.flush_planned = true;
            let delay = self.streams.network.pick(&[0, 0, 10, 300]);
            self.agenda.after(delay, Event::Flush);
        }
    }

    fn flush(&mut self) {
        let now = self.now();
        self.machine.flush(now);
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.plan_flush();
        }
        self.take_actions();
        let mut to_clients = BTreeMap::<LinkId, Vec<ToClient>>::new();
        let mut to_workers = BTreeMap::<LinkId, Vec<ToWorker>>::new();
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::ToClient(PROBE, _) => {}
                Action::ToClient(id, message) => to_clients.entry(id.0).or_default().push(message),
                Action::ToWorker(id, message) => {
                    if let ToWorker::Run(assignments) = &message {
                        for run in assignments {
                            self.oracle.on_run(id, run.key, run.attempt);
                        }
                    }
                    to_workers.entry(id.0).or_default().push(message);
                }
                Action::CloseWorker(id, _) => {
                    self.oracle.on_worker_lost(id);
                    // What is on its way to the scheduler still arrives, and is stale.
                    let network = &mut self.streams.network;
                    let at = self.network.down(id.0, self.agenda.now, network);
                    self.agenda.at(at, Event::LostByPeer(id.0));
                    self.agenda.at(at + network.range(0, 5_000), Event::LostByScheduler(id.0));
                }
                Action::BundleAccepted(..) => self.deployed = true,
                Action::BundleRejected(_) => {}
            }
        }
        for (link, batch) in to_clients {
            let at = self.network.down(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::ToClient(link, batch));
        }
        for (link, batch) in to_workers {
            let at = self.network.down(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::ToWorker(link, batch));
        }
    }

    pub(crate) fn take_actions(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            if self.trace.is_some() {
                self.log(&format!("    {action:?}"));
            }
            self.actions.push(action);
        }
    }

    fn on_timer(&mut self) {
        let now = self.now();
        if self.machine.poll_timeout().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
            self.plan_flush();
        }
        self.agenda.after(TIMER_US, Event::Timer);
    }

    fn on_from_client(&mut self, link: LinkId, batch: Vec<FromClient>) {
        if self.is_over(link) {
            return;
        }
        for message in batch {
            self.tell(Input::Client(ClientId(link), message));
        }
    }

    fn on_from_worker(&mut self, link: LinkId, batch: Vec<FromWorker>) -> Result<(), String> {
        if self.is_over(link) {
            return Ok(());
        }
        let id = WorkerId(link);
        for message in batch {
            self.history.on_from_worker(id, &message);
            let ends =
                matches!(message, FromWorker::Finished { .. } | FromWorker::MissingInputs { .. });
            let percent = self.faults.twice_percent;
            if ends && self.faults.strikes(percent, &mut self.streams.faults) {
                self.tell_of_worker(id, message.clone());
                self.again(id, message)?;
            } else {
                self.tell_of_worker(id, message);
            }
        }
        Ok(())
    }

    pub(crate) fn tell_of_worker(&mut self, id: WorkerId, message: FromWorker) {
        let ended = match &message {
            FromWorker::Finished { key, attempt, outcome, .. } => {
                Some((*key, *attempt, matches!(outcome, Outcome::Failed(_))))
            }
            _ => None,
        };
        let stale = self.machine.status().stale_messages;
        match message {
            FromWorker::Register(registration) => {
                self.oracle.on_worker(id, &registration.name);
                self.tell(Input::WorkerConnected(id, registration));
            }
            message => self.tell(Input::Worker(id, message)),
        }
        if let Some((key, attempt, failed)) = ended
            && self.machine.status().stale_messages == stale
        {
            self.ends_counted += 1;
            if failed {
                self.oracle.on_failed_attempt(key, attempt);
            }
        }
    }

    fn is_over(&mut self, link: LinkId) -> bool {
        let link = self.network.link(link);
        link.cut || link.lost_by_scheduler
    }

    fn on_lost_by_scheduler(&mut self, link: LinkId) {
        let state = self.network.link(link);
        if std::mem::replace(&mut state.lost_by_scheduler, true) {
            return;
        }
        match state.peer {
            Peer::Worker(_) => {
                self.oracle.on_worker_lost(WorkerId(link));
                self.tell(Input::WorkerGone(WorkerId(link)));
            }
            Peer::Client(_) => self.tell(Input::ClientGone(ClientId(link))),
        }
    }

    // ---- workers --------------------------------------------------------------------------

    fn on_to_worker(&mut self, link: LinkId, batch: Vec<ToWorker>) -> Result<(), String> {
        let state = self.network.link(link);
        let Peer::Worker(place) = state.peer else { return Ok(()) };
        if state.cut || state.lost_by_peer || self.workers[place].link != Some(link) {
            return Ok(());
        }
        for message in &batch {
            self.history.on_to_worker(WorkerId(link), message);
        }
        let percent = self.faults.twice_percent;
        if self.faults.strikes(percent, &mut self.streams.faults) {
            let mut twice = batch.clone();
            twice.retain(|message| matches!(message, ToWorker::Run(_) | ToWorker::Cancel(_)));
            self.workers[place].on_messages(batch);
            self.workers[place].on_messages(twice);
        } else {
            self.workers[place].on_messages(batch);
        }
        self.worker_turn(place)
    }

    fn on_worker_event(&mut self, place: usize, event: WorkerEvent) -> Result<(), String> {
        match event {
            WorkerEvent::Start => {
                self.start_worker(place);
                return Ok(());
            }
            WorkerEvent::Connect => {
                self.connect_worker(place);
                return Ok(());
            }
            WorkerEvent::Asked { by, process, from, keys } => {
                self.answer_peer(place, by, process, from, keys);
                return Ok(());
            }
            _ => {}
        }
        let worker = &mut self.workers[place];
        if !worker.alive {
            return Ok(());
        }
        if worker.link.is_none() {
            // Its loop is busy with connecting.
            worker.deferred.push(event);
            return Ok(());
        }
        if matches!(event, WorkerEvent::Heartbeat) {
            let process = self.workers[place].process;
            let next = Event::Worker(place, process, WorkerEvent::Heartbeat);
            self.agenda.after(HEARTBEAT_US, next);
        }
        let mut context =
            context(&mut self.agenda, &mut self.oracle, &self.faults, &mut self.streams.compute);
        self.workers[place].on_event(event, &mut context);
        if self.workers[place].take_death() {
            self.kill(place, false);
            return Ok(());
        }
        self.worker_turn(place)
    }

    pub(crate) fn worker_turn(&mut self, place: usize) -> Result<(), String> {
        let mut context =
            context(&mut self.agenda, &mut self.oracle, &self.faults, &mut self.streams.compute);
        let (batch, requests) = self.workers[place].turn(&mut context);
        let worker = &mut self.workers[place];
        worker.check().map_err(|broken| format!("agent of {}: {broken}", worker.name))?;
        if let Some(link) = self.workers[place].link
            && !batch.is_empty()
        {
            let at = self.network.up(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::FromWorker(link, batch));
        }
        for request in requests {
            self.ask_peer(place, request);
        }
        Ok(())
    }

    fn start_worker(&mut self, place: usize) {
        if self.workers[place].alive {
            return;
        }
        let worker = &self.workers[place];
        let name = match self.streams.faults.chance(60) {
            true => worker.name.clone(),
            false => format!("w{place}-{}", worker.process),
        };
        self.workers[place].start(name);
        let process = self.workers[place].process;
        self.agenda.after(HEARTBEAT_US, Event::Worker(place, process, WorkerEvent::Heartbeat));
        self.connect_worker(place);
    }

    fn connect_worker(&mut self, place: usize) {
        if !self.workers[place].alive || self.workers[place].link.is_some() {
            return;
        }
        let network = &mut self.streams.network;
        let slow = network.chance(self.faults.slow_link_percent);
        let link = self.network.open(Peer::Worker(place), slow, network);
        self.workers[place].link = Some(link);
        let registration = self.workers[place].registration();
        let at = self.network.up(link, self.agenda.now, network);
        self.agenda.at(at, Event::FromWorker(link, vec![registration]));
        let process = self.workers[place].process;
        for event in std::mem::take(&mut self.workers[place].deferred) {
            self.agenda.after(0, Event::Worker(place, process, event));
        }
    }

    /// The process ends. `quietly`: nobody tells the scheduler.
    pub(crate) fn kill(&mut self, place: usize, quietly: bool) {
        self.workers[place].alive = false;
        if let Some(link) = self.workers[place].link.take() {
            self.cut(link, quietly);
        }
        let process = self.workers[place].process;
        let restart = Event::Worker(place, process, WorkerEvent::Start);
        self.agenda.after(self.streams.faults.range(1_000, 400_000), restart);
    }

    /// A connection ends with what is in flight.
    pub(crate) fn cut(&mut self, link: LinkId, quietly: bool) {
        self.network.link(link).cut = true;
        let faults = &mut self.streams.faults;
        self.agenda.after(faults.range(0, 200_000), Event::LostByPeer(link));
        let noticed = if quietly { 5_000_000 } else { faults.range(0, 200_000) };
        self.agenda.after(noticed, Event::LostByScheduler(link));
    }

    fn ask_peer(&mut self, by: usize, request: Request) {
        let Request { from, address, keys } = request;
        let process = self.workers[by].process;
        let place = |address: &str| {
            let found = self.workers.iter().position(|worker| worker.address() == address);
            found.filter(|place| self.workers[*place].alive)
        };
        let faults = &mut self.streams.faults;
        let lost = self.faults.strikes(self.faults.fetch_fail_percent, faults);
        let delay = self.streams.network.range(20, 2_000);
        let event = match address.as_deref().and_then(place).filter(|_| !lost) {
            Some(place) => {
                let asked = WorkerEvent::Asked { by, process, from, keys };
                Event::Worker(place, self.workers[place].process, asked)
            }
            None => {
                let fetched = WorkerEvent::Fetched { from, found: Vec::new(), failed: keys };
                Event::Worker(by, process, fetched)
            }
        };
        self.agenda.after(delay, event);
    }

    fn answer_peer(
        &mut self,
        place: usize,
        by: usize,
        process: u32,
        from: WorkerId,
        keys: Vec<Key>,
    ) {
        let faults = &mut self.streams.faults;
        let mut found = Vec::new();
        let mut failed = Vec::new();
        for key in keys {
            let lost = self.faults.strikes(self.faults.fetch_fail_percent / 4, faults);
            match self.workers[place].store.get(&key) {
                Some(meta) if !lost && self.workers[place].alive => found.push((key, *meta)),
                _ => failed.push(key),
            }
        }
        let bytes: u64 = found.iter().map(|(_, meta)| meta.size).sum();
        let delay = self.streams.network.range(20, 2_000) + bytes / 500;
        let fetched = WorkerEvent::Fetched { from, found, failed };
        self.agenda.after(delay, Event::Worker(by, process, fetched));
    }

    fn on_lost_by_peer(&mut self, link: LinkId) -> Result<(), String> {
        let state = self.network.link(link);
        if std::mem::replace(&mut state.lost_by_peer, true) {
            return Ok(());
        }
        let delay = self.streams.faults.range(50, 100_000);
        match state.peer {
            Peer::Worker(place) if self.workers[place].link == Some(link) => {
                if !self.workers[place].welcomed {
                    // Refused: the process ends and its supervisor starts another.
                    self.workers[place].link = None;
                    self.kill(place, false);
                    return Ok(());
                }
                self.workers[place].on_disconnected();
                let process = self.workers[place].process;
                self.agenda.after(delay, Event::Worker(place, process, WorkerEvent::Connect));
                self.worker_turn(place)
            }
            Peer::Client(place) if self.clients[place].link == Some(link) => {
                self.clients[place].on_lost();
                self.agenda.after(delay, Event::Client(place, ClientEvent::Connect));
                Ok(())
            }
            Peer::Worker(_) | Peer::Client(_) => Ok(()),
        }
    }

    // ---- clients --------------------------------------------------------------------------

    fn on_client_event(&mut self, place: usize, event: ClientEvent) {
        match event {
            ClientEvent::Connect => {
                let network = &mut self.streams.network;
                let slow = network.chance(self.faults.slow_link_percent);
                let link = self.network.open(Peer::Client(place), slow, network);
                self.clients[place].link = Some(link);
                let at = self.network.up(link, self.agenda.now, network);
                self.agenda.at(at, Event::ClientOpened(link));
            }
            ClientEvent::Turn => {
                if self.clients[place].link.is_none() || self.faults.quiet || !self.deployed {
                    return;
                }
                let poison = self.faults.poison_percent;
                let clients = &mut self.streams.clients;
                let batch = self.clients[place].turn(&mut self.oracle, poison, clients);
                for message in batch {
                    self.send_from_client(place, message);
                }
            }
            ClientEvent::Read(key) => self.read(place, key),
        }
    }

    pub(crate) fn send_from_client(&mut self, place: usize, message: FromClient) {
        if let Some(link) = self.clients[place].link {
            let at = self.network.up(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::FromClient(link, vec![message]));
        }
    }

    fn on_to_client(&mut self, link: LinkId, batch: Vec<ToClient>) -> Result<(), String> {
        let state = self.network.link(link);
        let Peer::Client(place) = state.peer else { return Ok(()) };
        if state.cut || state.lost_by_peer || self.clients[place].link != Some(link) {
            return Ok(());
        }
        for message in batch {
            let read = self.clients[place].on_message(message, &self.oracle);
            if let Some(key) = read.map_err(|broken| format!("client {place}: {broken}"))? {
                let delay = self.streams.network.range(20, 5_000);
                self.agenda.after(delay, Event::Client(place, ClientEvent::Read(key)));
            }
        }
        let dropped = std::mem::take(&mut self.clients[place].dropped);
        if !dropped.is_empty() {
            self.send_from_client(place, FromClient::Release(dropped));
        }
        Ok(())
    }

    /// A client reads a result from a holder, or asks where it is by now.
    fn read(&mut self, place: usize, key: Key) {
        let Some(Standing::Elsewhere(meta, holders)) = self.clients[place].futures.get(&key) else {
            return;
        };
        let (meta, holders) = (*meta, holders.clone());
        let faults = &mut self.streams.faults;
        let found = holders.iter().any(|holder| {
            let lost = self.faults.strikes(self.faults.fetch_fail_percent, faults);
            let at = self.workers.iter().find(|worker| worker.address() == holder.address);
            at.is_some_and(|at| !lost && at.alive && at.store.get(&key) == Some(&meta))
        });
        let standing = if found { Standing::Here } else { Standing::Pending };
        self.clients[place].futures.insert(key, standing);
        if !found {
            let failed = holders.iter().map(|holder| (key, holder.worker)).collect();
            self.send_from_client(place, FromClient::Locate { keys: vec![key], failed });
        }
    }
}

fn context<'a>(
    agenda: &'a mut Agenda,
    oracle: &'a mut Oracle,
    faults: &'a Faults,
    rng: &'a mut Rng,
) -> Context<'a> {
    Context { agenda, oracle, faults, rng }
}
