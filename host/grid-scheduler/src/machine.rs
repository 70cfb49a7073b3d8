//! The machine's face: events in, actions out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::{FromClient, FromWorker, Registration, ToClient, ToWorker};
use grid_proto::{ClientId, Failure, FailureKind, Key, Priority, Value, WorkerId};

use crate::bundles::Bundles;
use crate::call::{CallId, State};
use crate::calls::Calls;
use crate::client::Client;
use crate::config::{Config, Now};
use crate::event::{Action, Event};
use crate::fences::Fences;
use crate::outcome::Leaving;
use crate::sessions::Sessions;
use crate::task::Tasks;
use crate::worker::{Worker, Workers};

/// The pure scheduling machine. See the crate's page for how it is driven.
#[derive(Debug)]
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) calls: Calls,
    pub(crate) fences: Fences,
    pub(crate) tasks: Tasks,
    pub(crate) bundles: Bundles,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    /// Running calls that are clients themselves.
    pub(crate) sessions: Sessions,
    pub(crate) workers: Workers,
    /// Calls without inputs: they may run anywhere, and are held back until somebody has room.
    pub(crate) unbound: BTreeSet<(Priority, CallId)>,
    /// Calls with inputs: placed at once, near their data.
    pub(crate) bound: BTreeSet<(Priority, CallId)>,
    /// Calls that asked to run elsewhere and have not been placed since.
    pub(crate) elsewhere: BTreeSet<CallId>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) submissions: u32,
    pub(crate) stale_messages: u64,
    pub(crate) now: Now,
}

impl Scheduler {
    /// An empty grid.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            calls: Calls::new(config.seed),
            config,
            fences: Fences::default(),
            tasks: Tasks::default(),
            bundles: Bundles::default(),
            clients: BTreeMap::new(),
            sessions: Sessions::default(),
            workers: Workers::default(),
            unbound: BTreeSet::new(),
            bound: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            actions: VecDeque::new(),
            submissions: 0,
            stale_messages: 0,
            now: Now::default(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::ClientConnected(id) => {
                self.clients.entry(id).or_default();
            }
            Event::Client(id, message) => self.on_client(id, message),
            Event::ClientGone(id) => self.on_client_gone(id),
            Event::WorkerConnected(id, registration) => self.on_register(id, registration),
            Event::Worker(id, message) => self.on_worker(id, message),
            Event::WorkerGone(id) => self.on_worker_gone(id, Leaving::Died),
            Event::BundleStored { hash, size_bytes } => self.on_bundle_stored(hash, size_bytes),
            Event::BundleRestored { hash, size_bytes, description } => {
                self.bundles.restore(hash, size_bytes, description);
            }
        }
        self.drop_ended_sessions();
    }

    /// One placement round, after a batch of events.
    pub fn flush(&mut self, now: Now) {
        self.now = self.now.max(now);
        self.place();
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let oldest = self.workers.iter().map(|(_, worker)| worker.seen).min()?;
        Some(oldest.after(self.config.worker_ttl_us))
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = self.now.max(now);
        let ttl_us = self.config.worker_ttl_us;
        let silent: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.seen.after(ttl_us) <= now)
            .map(|(id, _)| id)
            .collect();
        for id in silent {
            let reason = format!("silent for {} ms", ttl_us / 1_000);
            self.actions.push_back(Action::CloseWorker(id, reason));
            self.on_worker_gone(id, Leaving::Died);
        }
        self.drop_ended_sessions();
    }

    pub(crate) fn on_client(&mut self, id: ClientId, message: FromClient) {
        if !self.clients.contains_key(&id) {
            return;
        }
        match message {
            FromClient::Submit(submission) => self.on_submit(id, submission),
            FromClient::Retry(_keys) => {}
            FromClient::Release(keys) => self.on_release(id, &keys),
            FromClient::Cancel { keys, force } => self.on_cancel(id, &keys, force),
            FromClient::Locate { keys, failed } => self.on_locate(id, &keys, &failed),
            FromClient::WorkerEnded { name } => self.on_worker_ended(&name),
            FromClient::Query { request, query } => self.on_query(id, request, query),
        }
    }

    fn on_worker_ended(&mut self, name: &str) {
        let ended = self.workers.iter().find(|(_, worker)| worker.name == name);
        if let Some(id) = ended.map(|(id, _)| id) {
            self.actions.push_back(Action::CloseWorker(id, "its process has ended".to_owned()));
            self.on_worker_gone(id, Leaving::Died);
        }
    }

    fn on_worker(&mut self, id: WorkerId, message: FromWorker) {
        let now = self.now;
        let Some(worker) = self.workers.of_mut(id) else {
            self.stale_messages += 1;
            return;
        };
        worker.seen = now;
        match message {
            FromWorker::Register(_) => {}
            FromWorker::Started(attempts) => self.on_started(id, &attempts),
            FromWorker::Finished { key, attempt, outcome, spent } => {
                self.on_finished(id, key, attempt, outcome, spent);
            }
            FromWorker::Output { key, attempt, text } => self.on_output(id, key, attempt, &text),
            FromWorker::MissingInputs { key, attempt, missing } => {
                self.on_missing_inputs(id, key, attempt, &missing);
            }
            FromWorker::Holds(keys) => self.on_holds(id, &keys),
            FromWorker::Inspected { bundle, result } => self.on_inspected(bundle, result),
            FromWorker::FromTask { key, attempt, message } => {
                self.on_from_task(id, key, attempt, *message);
            }
            FromWorker::Waits { key, attempt, waits } => self.on_waits(id, key, attempt, waits),
            FromWorker::Withdrawn { .. } => {}
            FromWorker::Heartbeat { resident_bytes, descriptors } => {
                worker.resident_bytes = resident_bytes;
                worker.descriptors = descriptors;
            }
            FromWorker::Leaving => {
                self.actions.push_back(Action::CloseWorker(id, "it is leaving".to_owned()));
                self.on_worker_gone(id, Leaving::Planned);
            }
        }
    }

    fn on_register(&mut self, id: WorkerId, registration: Registration) {
        let namesake = self.workers.iter().find(|(_, worker)| worker.name == registration.name);
        if let Some((other, known)) = namesake.map(|(id, worker)| (id, worker.pid)) {
            if known != registration.pid {
                let reason = format!(
                    "a worker named `{}` is connected already (pid {known}): choose another `--name`",
                    registration.name
                );
                self.actions.push_back(Action::CloseWorker(id, reason));
                return;
            }
            // The same process on a new connection: the old one is dead, though nobody noticed yet.
            self.actions.push_back(Action::CloseWorker(other, "it connected anew".to_owned()));
            self.on_worker_gone(other, Leaving::Planned);
        }
        self.workers.insert(
            id,
            Worker {
                name: registration.name,
                address: registration.address,
                pid: registration.pid,
                slots: registration.slots,
                in_hand: BTreeSet::new(),
                waiting: BTreeSet::new(),
                load_us: 0,
                executing: 0,
                holds: BTreeSet::new(),
                held_bytes: 0,
                seen: self.now,
                resident_bytes: 0,
                descriptors: 0,
                known_tasks: BTreeSet::new(),
                known_peers: BTreeSet::new(),
                outbox: Vec::new(),
            },
        );
        self.send_worker(id, ToWorker::Welcome(id));
        if !registration.in_hand.is_empty() {
            // Its old number is gone and with it those attempts: they run under new ones.
            self.send_worker(id, ToWorker::Cancel(registration.in_hand));
        }
        let mut unwanted = Vec::new();
        for (key, meta) in registration.holds {
            if !self.adopt_replica(id, key, meta) {
                unwanted.push(key);
            }
        }
        if !unwanted.is_empty() {
            self.send_worker(id, ToWorker::Free(unwanted));
        }
        self.inspect_pending(id);
    }

    pub(crate) fn send_client(&mut self, id: ClientId, message: ToClient) {
        self.actions.extend(self.addressed(id, message));
    }

    pub(crate) fn send_worker(&mut self, id: WorkerId, message: ToWorker) {
        self.actions.push_back(Action::ToWorker(id, message));
    }

    /// Tells everybody who wants a call how it stands, if it has ended.
    pub(crate) fn announce(&mut self, id: CallId, inline: Option<&Value>) {
        let clients = self.calls[id].clients.clone();
        for client in clients {
            self.announce_to(client, id, inline);
        }
    }

    pub(crate) fn announce_to(&mut self, client: ClientId, id: CallId, inline: Option<&Value>) {
        let call = &self.calls[id];
        let message = match &call.state {
            State::Memory { meta, holders } => ToClient::Ready {
                key: call.key,
                meta: *meta,
                holders: self.addresses(holders),
                inline: inline.cloned(),
            },
            State::Erred(failure) => {
                ToClient::Failed { key: call.key, failure: failure.as_ref().clone() }
            }
            State::Released | State::Waiting { .. } | State::Queued | State::Processing { .. } => {
                return;
            }
        };
        self.send_client(client, message);
    }

    pub(crate) fn announce_cancelled(&mut self, client: ClientId, key: Key) {
        let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
        self.send_client(client, ToClient::Failed { key, failure });
    }
}
