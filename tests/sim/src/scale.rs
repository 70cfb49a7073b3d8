//! One large run: as many workers and calls as one scheduler is designed for, light faults, then the
//! same quiet and farewell as in every run. The machine is checked each so many steps only.

use std::time::Instant;

use grid_scheduler::Config;

use crate::agenda::{ClientEvent, Event};
use crate::client::SimClient;
use crate::faults::{Fault, Faults};
use crate::rng::Rng;
use crate::run::{Broken, Summary, live};
use crate::worker::SimWorker;
use crate::world::{Pace, WORKER_TTL_US, World};

/// Calls of one submission, about.
const GRAPH_CALLS: u64 = 1_000;
/// A client that is not connected tries again so much later.
const AGAIN_US: u64 = 20_000;

/// How large.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// Worker processes, with one to four slots each.
    pub workers: usize,
    /// Calls that clients submit, about.
    pub calls: u64,
}

/// What a large run looked like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scaled {
    /// The run.
    pub summary: Summary,
    /// Calls that clients submitted.
    pub calls: u64,
    /// Slots of all workers.
    pub slots: u64,
    /// Steps from one check of the machine to the next.
    pub check_every: u64,
    /// How often the machine was checked.
    pub checks: u64,
    /// The most bytes that stores held at a time.
    pub live_bytes_max: u64,
    /// What all results would hold together.
    pub bytes: u64,
    /// Time that it took.
    pub wall_ms: u64,
}

/// Runs a grid of this size.
///
/// # Errors
/// The first invariant, promise or expectation that does not hold.
pub fn run_at_scale(seed: u64, scale: Scale) -> Result<Scaled, Box<Broken>> {
    let started = Instant::now();
    let mut world = World::at_scale(seed, scale);
    let result = live(&mut world);
    let summary = world.summary(seed);
    match result {
        Ok(()) => Ok(Scaled {
            summary,
            calls: world.oracle.recipes.len() as u64,
            slots: world.slots(),
            check_every: world.pace.every,
            checks: world.pace.checks,
            live_bytes_max: world.pile.live_bytes_max,
            bytes: world.oracle.result_bytes(),
            wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }),
        Err(what) => Err(Box::new(Broken { what, summary })),
    }
}

impl World {
    fn at_scale(seed: u64, scale: Scale) -> Self {
        let mut setup = Rng::stream(seed, 100);
        let config = Config { worker_ttl_us: WORKER_TTL_US, seed, ..Config::default() };
        let count = scale.workers as u64 / 10;
        let faults = Faults::light(vec![Fault::Cut, Fault::Pause, Fault::Kill], count);
        let mut world = Self::empty(seed, config, faults);
        world.restore_bundle();
        let mut slots = || usize::try_from(setup.range(1, 5)).expect("a small number");
        world.workers =
            (0..scale.workers).map(|place| SimWorker::new(place, slots(), 1 << 34)).collect();
        // Durations are some 6 ms on average; clients ask for more than there is room for.
        let busy_us = scale.calls * 6_000 / world.slots();
        world.faults_us = busy_us.max(1_000_000);
        let graphs = scale.calls.div_ceil(GRAPH_CALLS);
        let clients = (scale.workers as u64 / 50).clamp(1, graphs);
        let turns = |client: u64| graphs * (client + 1) / clients - graphs * client / clients;
        let client = |number: u64| {
            let mut client = SimClient::new(turns(number), 10, false, false, false);
            client.large = Some(scale.calls / graphs);
            client
        };
        world.clients = (0..clients).map(client).collect();
        world.pace = Pace::slow((scale.calls / 5).max(1_000));
        world
    }

    pub(crate) fn slots(&self) -> u64 {
        self.workers.iter().map(|worker| worker.slots as u64).sum()
    }

    /// The next graph of a client that does nothing else.
    pub(crate) fn large_turn(&mut self, place: usize) {
        if self.clients[place].link.is_none() {
            return self.agenda.after(AGAIN_US, Event::Client(place, ClientEvent::Turn));
        }
        let clients = &mut self.streams.clients;
        for message in self.clients[place].submit_large(&mut self.oracle, clients) {
            self.send_from_client(place, message);
        }
    }
}
