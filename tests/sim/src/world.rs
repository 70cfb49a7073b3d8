//! Everything together: the real scheduler, workers around real agents, clients, one agenda.

use std::collections::BTreeSet;

use grid_proto::ClientId;
use grid_scheduler::{Action, Config, Event as Input, Now, Scheduler};

use crate::agenda::{Agenda, Event, WorkerEvent};
use crate::client::SimClient;
use crate::faults::Faults;
use crate::history::History;
use crate::invariants::memory;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::task::{self, BUNDLE};
use crate::worker::SimWorker;

/// A worker that was silent that long is lost.
const WORKER_TTL_US: u64 = 3_000_000;
pub(crate) const HEARTBEAT_US: u64 = 1_000_000;
pub(crate) const TIMER_US: u64 = 250_000;

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
    pub(crate) flush_planned: bool,
    /// Workers that cannot reach each other, by their places.
    pub(crate) parted: BTreeSet<(usize, usize)>,
    /// Clients may name the bundle.
    pub(crate) deployed: bool,
    /// Ends of attempts that the machine counted, for comparison with its counters.
    pub(crate) ends_counted: u64,
    pub(crate) steps: u64,
    /// Placement rounds.
    pub(crate) rounds: u64,
    /// Where an operator's doings are drawn from, if there is one who changes what workers offer.
    pub(crate) operator: Option<Rng>,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    /// The grid of this seed; `change` sets what the seed does not.
    pub(crate) fn new(seed: u64, trace: bool, change: impl FnOnce(&mut Config)) -> Self {
        let mut setup = Rng::stream(seed, 1);
        let faults = Faults::draw(&mut setup);
        let mut trappers = Rng::stream(seed, 40);
        let mut wanderers = Rng::stream(seed, 60);
        let mut config = Config {
            worker_ttl_us: WORKER_TTL_US,
            turn_calls_max: setup.pick(&[1, 3, 20, 2_048]),
            lookahead_us: setup.pick(&[0, 5_000]),
            quarantine_strikes: match trappers.chance(40) {
                true => trappers.pick(&[1, 3, 6]),
                false => 0,
            },
            reschedules_max: wanderers.pick(&[1, 4]),
            seed,
            ..Config::default()
        };
        change(&mut config);
        let mut oracle = Oracle::default();
        oracle.invariants.room.exact = config.lookahead_us == 0;
        oracle.invariants.quarantine.strikes_max = config.quarantine_strikes;
        oracle.invariants.elsewhere.asks_max = config.reschedules_max;
        let refuses = config.quarantine_strikes > 0;
        let mut machine = Scheduler::new(config);
        let restored = setup.chance(50);
        if restored {
            let (hash, description) = (BUNDLE, task::description());
            let restored = Input::BundleRestored { hash, size_bytes: 1, description };
            machine.handle(Now::default(), restored);
        }
        let places = 0..usize::try_from(setup.range(1, 7)).expect("a small number");
        let slots = |setup: &mut Rng| usize::try_from(setup.range(1, 5)).expect("a small number");
        let mut memory = Rng::stream(seed, 80);
        let scarce = memory.chance(40);
        let mut bytes = || if scarce { memory::draw(&mut memory) } else { 1 << 30 };
        let workers: Vec<_> =
            places.map(|place| SimWorker::new(place, slots(&mut setup), bytes())).collect();
        let (cancels, forces) = (setup.chance(60), setup.chance(40));
        let needs = setup.chance(40);
        let (turns, salts) = (setup.pick(&[3, 10, 30]), setup.pick(&[1, 3, 10]));
        let client =
            |setup: &mut Rng| SimClient::new(setup.range(1, turns), salts, needs, cancels, forces);
        let mut clients: Vec<_> = (0..setup.range(1, 5)).map(|_| client(&mut setup)).collect();
        let mut actors = Rng::stream(seed, 6);
        if actors.chance(30) {
            for (stream, client) in (7..).zip(&mut clients) {
                client.actors = Some(Rng::stream(seed, stream));
            }
        }
        let mut sharers = Rng::stream(seed, 20);
        if sharers.chance(30) {
            for (stream, client) in (21..).zip(&mut clients) {
                client.sharers = Some(Rng::stream(seed, stream));
            }
        }
        if refuses || trappers.chance(10) {
            for (stream, client) in (41..).zip(&mut clients) {
                client.trappers = Some(Rng::stream(seed, stream));
            }
        }
        if wanderers.chance(30) {
            for (stream, client) in (61..).zip(&mut clients) {
                client.wanderers = Some(Rng::stream(seed, stream));
            }
        }
        let mut operator = Rng::stream(seed, 90);
        Self {
            operator: operator.chance(40).then_some(operator),
            agenda: Agenda::default(),
            machine,
            network: Network::default(),
            workers,
            clients,
            oracle,
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
            parted: BTreeSet::new(),
            deployed: restored,
            ends_counted: 0,
            steps: 0,
            rounds: 0,
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
                self.flush()?;
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
            Event::Tune => self.tune(),
            Event::Quiet => {
                self.faults.quiet = true;
                self.parted.clear();
                self.offer_all();
            }
        }
        Ok(())
    }
}
