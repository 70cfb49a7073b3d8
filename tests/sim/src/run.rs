//! One run: a time of faults, then quiet in which all that is wanted must end, then farewell, after
//! which nothing may be left.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grid_proto::message::FromClient;

use grid_scheduler::Config;

use crate::agenda::{ClientEvent, Event, WorkerEvent};
use crate::invariants::named;
use crate::world::World;

/// All that is wanted has ended that long after the last fault, or never will: it leaves room for
/// connections that the scheduler believes alive.
const QUIET_US: u64 = 40_000_000;

/// What a run looked like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Which run.
    pub seed: u64,
    /// Events.
    pub steps: u64,
    /// Simulated time.
    pub time_us: u64,
    /// Attempts that ended and were counted.
    pub ends: u64,
    /// Messages that the scheduler dropped because their attempt was over.
    pub stale_messages: u64,
    /// Everything that happened, if it was asked for.
    pub trace: Vec<String>,
}

/// A run that showed a mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// What is wrong.
    pub what: String,
    /// The run until then.
    pub summary: Summary,
}

/// Runs the grid that this seed describes.
///
/// # Errors
/// The first invariant, promise or expectation that does not hold.
pub fn run(seed: u64, trace: bool) -> Result<Summary, Box<Broken>> {
    run_with(seed, trace, |_| ())
}

/// The same with a mistake in the scheduler's machine.
///
/// # Errors
/// What shows the mistake.
#[cfg(feature = "mutations")]
pub fn run_mutated(seed: u64, mutation: grid_scheduler::Mutation) -> Result<Summary, Box<Broken>> {
    run_with(seed, false, |config| config.mutation = Some(mutation))
}

fn run_with(
    seed: u64,
    trace: bool,
    change: impl FnOnce(&mut Config),
) -> Result<Summary, Box<Broken>> {
    let mut world = World::new(seed, trace, change);
    let result = live(&mut world);
    let summary = world.summary(seed);
    match result {
        Ok(()) => Ok(summary),
        Err(what) => Err(Box::new(Broken { what, summary })),
    }
}

/// To its end; a panic is an error like others.
pub(crate) fn live(world: &mut World) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

impl World {
    pub(crate) fn summary(&mut self, seed: u64) -> Summary {
        Summary {
            seed,
            steps: self.steps,
            time_us: self.agenda.now,
            ends: self.ends_counted,
            stale_messages: self.machine.stale_messages(),
            trace: self.trace.take().unwrap_or_default(),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.plan();
        while !self.faults.quiet {
            self.step()?;
        }
        let until = self.agenda.now + QUIET_US;
        while self.agenda.work() > 0 || !self.is_settled() {
            if self.agenda.now > until {
                return named("endings", Err(self.stuck()));
            }
            self.step()?;
        }
        named("beliefs", self.compare_states())?;
        named("holdings", self.compare_holdings())?;
        named("copies", self.check_copies())?;
        let until = self.agenda.now + QUIET_US;
        self.say_farewell();
        while self.agenda.work() > 0 {
            if self.agenda.now > until + QUIET_US {
                let broken = "work goes on though nobody wants anything".to_owned();
                return named("leftovers", Err(broken));
            }
            self.step()?;
        }
        named("leftovers", self.check_empty())?;
        named("counters", self.check_counters())
    }

    fn plan(&mut self) {
        for place in 0..self.workers.len() {
            let at = self.streams.faults.range(0, 50_000);
            self.agenda.at(at, Event::Worker(place, 0, WorkerEvent::Start));
        }
        for place in 0..self.clients.len() {
            let (clients, until) = (&mut self.streams.clients, self.faults_us * 8 / 10);
            self.agenda.at(clients.range(0, 20_000), Event::Client(place, ClientEvent::Connect));
            for _ in 0..self.clients[place].turns_left {
                let at = clients.range(20_000, until);
                self.agenda.at(at, Event::Client(place, ClientEvent::Turn));
            }
        }
        for _ in 0..self.faults.count {
            let at = self.streams.faults.range(30_000, self.faults_us);
            self.agenda.at(at, Event::Fault);
        }
        if let Some(operator) = &mut self.operator {
            for _ in 0..operator.range(1, 20) {
                self.agenda.at(operator.range(50_000, self.faults_us), Event::Tune);
            }
        }
        self.agenda.at(self.faults_us, Event::Quiet);
        self.agenda.at(0, Event::Timer);
        if !self.deployed {
            self.deploy();
        }
    }

    /// All futures have ended, and all calls: what was lost after somebody read it is computed again,
    /// and may wait at a queue until the machine's own time has come.
    fn is_settled(&self) -> bool {
        let calls = self.machine.status().calls;
        let ended = |(state, count): (&String, &u64)| {
            *count == 0 || matches!(state.as_str(), "released" | "memory" | "erred")
        };
        self.deployed
            && self.clients.iter().all(|client| client.unsettled().is_empty())
            && calls.iter().all(ended)
    }

    /// All interest ends: by release, or by leaving.
    fn say_farewell(&mut self) {
        self.log("farewell");
        self.unpublish_all();
        for place in 0..self.clients.len() {
            let Some(link) = self.clients[place].link else { continue };
            let futures = std::mem::take(&mut self.clients[place].futures);
            if self.streams.clients.chance(50) {
                let release = FromClient::Release(futures.into_keys().collect());
                self.send_from_client(place, release);
            } else {
                self.clients[place].link = None;
                self.agenda.after(10, Event::LostByScheduler(link));
            }
        }
    }
}
