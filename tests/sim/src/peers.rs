//! Worker processes and what they ask of each other.

use grid_proto::message::ToWorker;
use grid_proto::{Key, WorkerId};

use crate::agenda::{Agenda, ClientEvent, Event, LinkId, WorkerEvent};
use crate::faults::Faults;
use crate::invariants::named;
use crate::network::Peer;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::worker::{Context, Request, SimWorker};
use crate::world::{HEARTBEAT_US, World};

impl World {
    pub(crate) fn on_to_worker(
        &mut self,
        link: LinkId,
        batch: Vec<ToWorker>,
    ) -> Result<(), String> {
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

    pub(crate) fn on_worker_event(
        &mut self,
        place: usize,
        event: WorkerEvent,
    ) -> Result<(), String> {
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
            WorkerEvent::Brought(upload) if !self.workers[place].alive => {
                self.bring_elsewhere(upload);
                return Ok(());
            }
            WorkerEvent::Brought(upload) if !self.arrives(&upload) => return Ok(()),
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
        if self.pace.of_agents {
            worker.check().map_err(|broken| format!("agent of {}: {broken}", worker.name))?;
        }
        self.live_bytes += worker.store.bytes();
        self.live_bytes -= std::mem::replace(&mut worker.counted_bytes, worker.store.bytes());
        named("pile", self.check_pile())?;
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

    pub(crate) fn start_worker(&mut self, place: usize) {
        if self.workers[place].alive {
            return;
        }
        let worker = &self.workers[place];
        let name = match self.streams.faults.chance(60) {
            true => worker.name.clone(),
            false => format!("w{place}-{}", worker.process),
        };
        self.live_bytes -= self.workers[place].counted_bytes;
        self.workers[place].start(name);
        let process = self.workers[place].process;
        self.agenda.after(HEARTBEAT_US, Event::Worker(place, process, WorkerEvent::Heartbeat));
        self.connect_worker(place);
    }

    pub(crate) fn connect_worker(&mut self, place: usize) {
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

    pub(crate) fn ask_peer(&mut self, by: usize, request: Request) {
        let Request { from, address, keys } = request;
        let process = self.workers[by].process;
        let place = |address: &str| {
            let reached = |place: &usize| {
                self.workers[*place].alive
                    && !self.parted.contains(&(by.min(*place), by.max(*place)))
            };
            place_of(&self.workers, address).filter(reached)
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

    pub(crate) fn answer_peer(
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

    pub(crate) fn on_lost_by_peer(&mut self, link: LinkId) -> Result<(), String> {
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
}

/// The place of the process that listens there.
pub(crate) fn place_of(workers: &[SimWorker], address: &str) -> Option<usize> {
    let place = address.split(':').next()?.parse::<usize>().ok()?;
    workers.get(place).filter(|worker| worker.address() == address).map(|_| place)
}

fn context<'a>(
    agenda: &'a mut Agenda,
    oracle: &'a mut Oracle,
    faults: &'a Faults,
    rng: &'a mut Rng,
) -> Context<'a> {
    Context { agenda, oracle, faults, rng }
}
