//! One run: a time of faults, then quiet in which all that is wanted must end, then farewell, after
//! which nothing may be left.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grid_proto::message::{Answer, FromClient, Query};

use crate::agenda::{ClientEvent, Event, WorkerEvent};
use crate::client::Standing;
use crate::world::World;

/// How long faults strike and clients ask for more.
const FAULTS_US: u64 = 1_000_000;
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
    let mut world = World::new(seed, trace);
    let result = catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    });
    let summary = Summary {
        seed,
        steps: world.steps,
        time_us: world.agenda.now,
        ends: world.ends_counted,
        stale_messages: world.machine.status().stale_messages,
        trace: world.trace.take().unwrap_or_default(),
    };
    match result {
        Ok(()) => Ok(summary),
        Err(what) => Err(Box::new(Broken { what, summary })),
    }
}

impl World {
    fn live(&mut self) -> Result<(), String> {
        self.plan();
        while !self.faults.quiet {
            self.step()?;
        }
        let until = self.agenda.now + QUIET_US;
        while self.agenda.work() > 0 || !self.is_settled() {
            if self.agenda.now > until {
                return Err(self.stuck());
            }
            self.step()?;
        }
        self.compare_states()?;
        self.say_farewell();
        while self.agenda.work() > 0 {
            if self.agenda.now > until + QUIET_US {
                return Err("work goes on though nobody wants anything".to_owned());
            }
            self.step()?;
        }
        self.check_empty()?;
        self.check_counters()
    }

    fn plan(&mut self) {
        for place in 0..self.workers.len() {
            let at = self.streams.faults.range(0, 50_000);
            self.agenda.at(at, Event::Worker(place, 0, WorkerEvent::Start));
        }
        for place in 0..self.clients.len() {
            let clients = &mut self.streams.clients;
            self.agenda.at(clients.range(0, 20_000), Event::Client(place, ClientEvent::Connect));
            for _ in 0..self.clients[place].turns_left {
                let at = clients.range(20_000, FAULTS_US * 8 / 10);
                self.agenda.at(at, Event::Client(place, ClientEvent::Turn));
            }
        }
        for _ in 0..self.faults.count {
            let at = self.streams.faults.range(30_000, FAULTS_US);
            self.agenda.at(at, Event::Fault);
        }
        self.agenda.at(FAULTS_US, Event::Quiet);
        self.agenda.at(0, Event::Timer);
        if !self.deployed {
            self.deploy();
        }
    }

    fn is_settled(&self) -> bool {
        self.deployed && self.clients.iter().all(|client| client.unsettled().is_empty())
    }

    fn stuck(&mut self) -> String {
        let mut lines = vec!["these never end:".to_owned()];
        let calls = self.calls();
        for (place, client) in self.clients.iter().enumerate() {
            for key in client.unsettled() {
                let standing = &client.futures[&key];
                let known = calls.iter().find(|call| call.key == key);
                let known = known.map_or("unknown to the scheduler", |call| &call.explanation);
                lines.push(format!(
                    "client {place}: {} is {standing:?}; scheduler: {known}",
                    key.short()
                ));
            }
        }
        lines.push(format!("{} events to come", self.agenda.work()));
        lines.truncate(20);
        lines.join("\n  ")
    }

    /// What clients believe is what the scheduler has.
    fn compare_states(&mut self) -> Result<(), String> {
        let calls = self.calls();
        for client in self.clients.iter().filter(|client| !client.forces) {
            for (key, standing) in &client.futures {
                let state = calls.iter().find(|call| call.key == *key).map(|call| &*call.state);
                let expected = match standing {
                    Standing::Here => "memory",
                    Standing::Failed(_) => "erred",
                    Standing::Pending | Standing::Elsewhere(..) => "",
                };
                if state != Some(expected) {
                    let state = state.unwrap_or("unknown");
                    return Err(format!(
                        "{}: a client was told `{expected}`, it is `{state}`",
                        key.short()
                    ));
                }
            }
        }
        Ok(())
    }

    /// All interest ends: by release, or by leaving.
    fn say_farewell(&mut self) {
        self.log("farewell");
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

    fn check_empty(&mut self) -> Result<(), String> {
        if let Some(call) = self.calls().first() {
            return Err(format!(
                "the scheduler keeps {} ({}), which nobody wants",
                call.key.short(),
                call.state
            ));
        }
        let Some(Answer::Workers(known)) = self.ask(Query::Workers) else {
            return Err("the scheduler does not tell its workers".to_owned());
        };
        if let Some(busy) = known.iter().find(|known| {
            known.in_hand > 0 || known.executing > 0 || known.objects > 0 || known.object_bytes > 0
        }) {
            return Err(format!("the scheduler believes that {} has something", busy.name));
        }
        for worker in &self.workers {
            if !worker.is_idle() {
                return Err(format!(
                    "{} holds {:?} and has {:?} in hand, which nobody wants",
                    worker.name,
                    worker.store.keys().collect::<Vec<_>>(),
                    worker.agent.in_hand()
                ));
            }
            if !worker.alive || worker.link.is_none() {
                return Err(format!("{} is not connected", worker.name));
            }
        }
        match known.len() == self.workers.len() {
            true => Ok(()),
            false => Err(format!("{} workers of {} are known", known.len(), self.workers.len())),
        }
    }

    fn check_counters(&mut self) -> Result<(), String> {
        let Some(Answer::Counts(counts)) = self.ask(Query::Counts) else {
            return Err("the scheduler does not tell its counters".to_owned());
        };
        let mut calls = 0;
        for task in &counts {
            calls += task.calls;
            let failures: u64 = task.failures.values().sum();
            if task.calls != task.successes + failures {
                return Err(format!("{}: its ends do not add up", task.task));
            }
        }
        match calls == self.ends_counted {
            true => Ok(()),
            false => Err(format!("{calls} ends counted of {}", self.ends_counted)),
        }
    }
}
