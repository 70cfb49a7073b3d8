//! What a seed makes of a grid: its size, its bounds, who its clients are and what goes wrong.

use std::collections::BTreeSet;

use grid_scheduler::{Config, Event as Input, Now, Scheduler};

use crate::agenda::Agenda;
use crate::client::SimClient;
use crate::faults::Faults;
use crate::history::History;
use crate::invariants::memory;
use crate::invariants::pile::Pile;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::task::{self, BUNDLE};
use crate::worker::SimWorker;
use crate::world::{FAULTS_US, Pace, Streams, WORKER_TTL_US, World};

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
            copies_kept_us: Rng::stream(seed, 101).pick(&[0, 50_000]),
            seed,
            ..Config::default()
        };
        change(&mut config);
        let traps = config.quarantine_strikes > 0 || trappers.chance(10);
        let mut world = Self::empty(seed, config, faults);
        world.trace = trace.then(Vec::new);
        if setup.chance(50) {
            world.restore_bundle();
        }
        let places = 0..usize::try_from(setup.range(1, 7)).expect("a small number");
        let slots = |setup: &mut Rng| usize::try_from(setup.range(1, 5)).expect("a small number");
        let mut memory = Rng::stream(seed, 80);
        let scarce = memory.chance(40);
        let mut bytes = || if scarce { memory::draw(&mut memory) } else { 1 << 30 };
        world.workers =
            places.map(|place| SimWorker::new(place, slots(&mut setup), bytes())).collect();
        world.draw_clients(seed, &mut setup);
        if Rng::stream(seed, 102).chance(40) {
            world.give(seed, 103, |client| &mut client.bringers);
        }
        if traps {
            world.give(seed, 41, |client| &mut client.trappers);
        }
        if wanderers.chance(30) {
            world.give(seed, 61, |client| &mut client.wanderers);
        }
        if Rng::stream(seed, 185).chance(30) {
            world.give(seed, 186, |client| &mut client.hasty);
        }
        let mut operator = Rng::stream(seed, 90);
        world.operator = operator.chance(40).then_some(operator);
        world
    }

    fn draw_clients(&mut self, seed: u64, setup: &mut Rng) {
        let (cancels, forces) = (setup.chance(60), setup.chance(40));
        let needs = setup.chance(40);
        let (turns, salts) = (setup.pick(&[3, 10, 30]), setup.pick(&[1, 3, 10]));
        let client =
            |setup: &mut Rng| SimClient::new(setup.range(1, turns), salts, needs, cancels, forces);
        self.clients = (0..setup.range(1, 5)).map(|_| client(setup)).collect();
        if Rng::stream(seed, 6).chance(30) {
            self.give(seed, 7, |client| &mut client.actors);
        }
        if Rng::stream(seed, 20).chance(30) {
            self.give(seed, 21, |client| &mut client.sharers);
        }
    }

    /// Each client draws something from a stream of its own, from this one on.
    fn give(&mut self, seed: u64, first: u64, stream: impl Fn(&mut SimClient) -> &mut Option<Rng>) {
        for (number, client) in (first..).zip(&mut self.clients) {
            *stream(client) = Some(Rng::stream(seed, number));
        }
    }

    /// A scheduler without anybody.
    pub(crate) fn empty(seed: u64, config: Config, faults: Faults) -> Self {
        let mut oracle = Oracle::default();
        oracle.invariants.room.exact = config.lookahead_us == 0;
        oracle.invariants.quarantine.strikes_max = config.quarantine_strikes;
        oracle.invariants.elsewhere.asks_max = config.reschedules_max;
        Self {
            agenda: Agenda::default(),
            machine: Scheduler::new(config),
            network: Network::default(),
            workers: Vec::new(),
            clients: Vec::new(),
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
            deployed: false,
            ends_counted: 0,
            steps: 0,
            rounds: 0,
            pace: Pace::default(),
            pile: Pile::default(),
            faults_us: FAULTS_US,
            live_bytes: 0,
            operator: None,
            trace: None,
        }
    }

    /// The scheduler has the bundle from before.
    pub(crate) fn restore_bundle(&mut self) {
        let (hash, description) = (BUNDLE, task::description());
        let restored = Input::BundleRestored { hash, size_bytes: 1, description };
        self.machine.handle(Now::default(), restored);
        self.deployed = true;
    }
}
