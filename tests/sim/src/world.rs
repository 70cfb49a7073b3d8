//! Everything together: the real scheduler, workers around real agents, clients, one agenda.

use std::collections::BTreeSet;

use grid_proto::ClientId;
use grid_scheduler::{Action, Event as Input, Scheduler};

use crate::agenda::{Agenda, Event, WorkerEvent};
use crate::client::SimClient;
use crate::faults::Faults;
use crate::history::History;
use crate::invariants::pile::Pile;
use crate::network::Network;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::worker::SimWorker;

/// A worker that was silent that long is lost.
pub(crate) const WORKER_TTL_US: u64 = 3_000_000;
pub(crate) const HEARTBEAT_US: u64 = 1_000_000;
pub(crate) const TIMER_US: u64 = 250_000;

/// How long faults strike and clients ask for more.
pub(crate) const FAULTS_US: u64 = 1_000_000;

/// What is verified how often.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Steps from one check of the scheduler's machine to the next.
    pub(crate) every: u64,
    next: u64,
    pub(crate) checks: u64,
    /// Agents are checked after each turn, and all calls are looked at now and then.
    pub(crate) of_agents: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: 1, next: 0, checks: 0, of_agents: true }
    }
}

impl Pace {
    pub(crate) fn slow(every: u64) -> Self {
        Self { every, of_agents: false, ..Self::default() }
    }

    fn is_due(&self, steps: u64) -> bool {
        steps >= self.next
    }

    fn checked(&mut self, steps: u64) {
        self.next = steps + self.every;
        self.checks += 1;
    }
}

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
    pub(crate) pace: Pace,
    pub(crate) pile: Pile,
    /// How long faults strike and clients ask for more.
    pub(crate) faults_us: u64,
    /// Bytes in all stores together.
    pub(crate) live_bytes: u64,
    /// Where an operator's doings are drawn from, if there is one who changes what workers offer.
    pub(crate) operator: Option<Rng>,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
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
        if self.pace.is_due(self.steps) && !self.is_walking() {
            self.pace.checked(self.steps);
            self.machine.check().map_err(|broken| format!("scheduler: {broken}"))?;
        }
        Ok(true)
    }

    /// A large run is checked where nothing is left to do from the turns before: `check` looks through
    /// all of that for every call.
    fn is_walking(&self) -> bool {
        let now = self.now();
        self.pace.every > 1 && self.machine.poll_timeout().is_some_and(|at| at <= now)
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
                } else if let WorkerEvent::Brought(upload) = event {
                    self.bring_elsewhere(upload);
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
