//! The machine's face: events in, actions out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::{FromClient, FromWorker, Registration, ToClient, ToWorker};
use grid_proto::report::MemoryUse;
use grid_proto::{ClientId, Failure, FailureKind, Key, Priority, Value, WorkerId};

use crate::actors::Actors;
use crate::backlog::Backlog;
use crate::balance::Rounds;
use crate::bundles::Bundles;
use crate::call::{CallId, State};
use crate::calls::Calls;
use crate::cancel::Cancel;
use crate::client::Client;
use crate::config::{Config, Now};
use crate::coordination::Coordination;
use crate::counts::Counts;
use crate::event::{Action, Event};
use crate::fault::Faults;
use crate::fences::Fences;
use crate::homeless::Homeless;
use crate::losses::Losses;
use crate::mutation::Mutation;
use crate::news::News;
use crate::outcome::Leaving;
use crate::placement::Bandwidth;
use crate::plausible;
use crate::rebalance::Rebalances;
use crate::recent::Recent;
use crate::replicas::Replicas;
use crate::retry::Retry;
use crate::sessions::Sessions;
use crate::story::{Cause, Story};
use crate::submit::Starting;
use crate::task::Tasks;
use crate::worker::Worker;
use crate::workers::Workers;

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
    pub(crate) actors: Actors,
    pub(crate) workers: Workers,
    pub(crate) coordination: Coordination,
    /// Calls that may run anywhere and have no reason to run anywhere: held back until somebody
    /// has room.
    pub(crate) unbound: BTreeSet<(Priority, CallId)>,
    /// Calls that asked to run elsewhere and could be given to another worker in the next round.
    pub(crate) elsewhere: BTreeSet<CallId>,
    /// Calls that no connected worker may run.
    pub(crate) homeless: Homeless,
    /// Calls that shall become active, calls that may have to stop or be forgotten, submissions
    /// that shall start, and interest that shall end: each turn does its share.
    pub(crate) to_start: Vec<CallId>,
    pub(crate) to_release: Vec<CallId>,
    pub(crate) starting: VecDeque<Starting>,
    /// What submissions named that have started: let go of when all of it is on its way.
    pub(crate) started: VecDeque<std::vec::IntoIter<CallId>>,
    /// Clients that are gone, and what they wanted: calls still list them.
    pub(crate) departed: VecDeque<(ClientId, BTreeMap<CallId, u64>)>,
    /// What has become of calls and their readers do not know, and what follows from workers that
    /// are gone or have come back.
    pub(crate) news: News,
    pub(crate) lost: Losses,
    pub(crate) replicas: Replicas,
    pub(crate) rebalances: Rebalances,
    /// Requests that are under way.
    pub(crate) cancels: VecDeque<Cancel>,
    pub(crate) retries: VecDeque<Retry>,
    /// Requests to cancel so far: the age of what is submitted now.
    pub(crate) age: u64,
    /// Calls that workers were asked to give back.
    pub(crate) withdrawing: usize,
    pub(crate) rounds: Rounds,
    pub(crate) bandwidth: Bandwidth,
    pub(crate) counts: Counts,
    pub(crate) story: Story,
    pub(crate) recent: Recent,
    pub(crate) faults: Faults,
    /// No worker's silence is too long before that.
    pub(crate) silence_at: Option<Now>,
    pub(crate) actions: VecDeque<Action>,
    /// Workers that may have something to free and were not told so yet.
    freeing: BTreeSet<WorkerId>,
    pub(crate) submissions: u32,
    pub(crate) stale_messages: u64,
    pub(crate) now: Now,
}

impl Scheduler {
    /// An empty grid.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        if config.mutated(Mutation::SaturationIgnored) {
            config.saturation_percent *= 3;
        }
        Self {
            calls: Calls::new(config.seed),
            workers: Workers::new(config.clone()),
            bandwidth: Bandwidth::new(&config),
            story: Story::new(config.story_steps_max),
            config,
            fences: Fences::default(),
            tasks: Tasks::default(),
            bundles: Bundles::default(),
            clients: BTreeMap::new(),
            sessions: Sessions::default(),
            actors: Actors::default(),
            elsewhere: BTreeSet::new(),
            coordination: Coordination::default(),
            unbound: BTreeSet::new(),
            homeless: Homeless::default(),
            to_start: Vec::new(),
            to_release: Vec::new(),
            starting: VecDeque::new(),
            started: VecDeque::new(),
            departed: VecDeque::new(),
            news: News::default(),
            lost: Losses::default(),
            replicas: Replicas::default(),
            rebalances: Rebalances::default(),
            cancels: VecDeque::new(),
            retries: VecDeque::new(),
            age: 0,
            withdrawing: 0,
            rounds: Rounds::default(),
            counts: Counts::default(),
            recent: Recent::default(),
            faults: Faults::default(),
            silence_at: None,
            actions: VecDeque::new(),
            freeing: BTreeSet::new(),
            submissions: 0,
            stale_messages: 0,
            now: Now::default(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, event: Event) {
        if self.faults.found.is_some() {
            return;
        }
        self.now = self.now.max(now);
        self.story.cause = cause(&event);
        self.recent.tell(self.now, self.story.cause, Some(&event));
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

    /// One placement round, after a batch of events, and a share of what they left to do.
    pub fn flush(&mut self, now: Now) {
        if self.faults.found.is_some() {
            return;
        }
        self.now = self.now.max(now);
        self.recent.tell(self.now, Cause::Own("turn"), None);
        self.go_on();
        self.drop_ended_sessions();
        self.story.cause = Cause::Own("placement");
        self.place();
        self.check_some();
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.faults.found.is_some() {
            return None;
        }
        if self.actions.is_empty() {
            while let Some(worker) = self.freeing.pop_first() {
                self.send_frees(worker);
            }
        }
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        if self.has_leftovers() {
            return Some(self.now);
        }
        let copies = self.replicas.timeout();
        [self.silence_at, self.coordination_timeout(), copies].into_iter().flatten().min()
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.faults.found.is_some() {
            return;
        }
        self.recent.tell(now, Cause::Own("time"), None);
        self.now = self.now.max(now);
        if self.silence_at.is_some_and(|at| at <= now) {
            self.story.cause = Cause::Own("time");
            self.drop_silent_workers(now);
        }
        self.on_coordination_timeout();
        self.drop_ended_sessions();
    }

    fn drop_silent_workers(&mut self, now: Now) {
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
        let oldest = self.workers.iter().map(|(_, worker)| worker.seen).min();
        self.silence_at = oldest.map(|oldest| oldest.after(ttl_us));
    }

    pub(crate) fn on_client(&mut self, id: ClientId, message: FromClient) {
        if !self.clients.contains_key(&id) {
            return;
        }
        match message {
            FromClient::Submit(submission) => self.on_submit(id, submission),
            FromClient::Retry { request, keys } => self.on_retry(id, request, &keys),
            FromClient::Coordinate { request, operation } => {
                self.on_coordinate(id, request, operation);
            }
            FromClient::Scatter(scattering) => self.on_scatter(id, scattering),
            FromClient::Replicate { request, keys, copies, to } => {
                self.on_replicate((id, request), keys, copies, to);
            }
            FromClient::Rebalance { request, keys, to } => {
                self.on_rebalance((id, request), &keys, &to);
            }
            FromClient::Took(request) => self.on_took(id, request),
            FromClient::Abandon(request) => self.on_abandon(id, request),
            FromClient::Release(keys) => self.on_release(id, &keys),
            FromClient::Cancel { keys, force } => self.on_cancel(id, &keys, force),
            FromClient::Locate { keys, failed } => self.on_locate(id, &keys, &failed),
            FromClient::WorkerEnded { name, why } => self.on_worker_ended(&name, why),
            FromClient::Query { request, query } => self.on_query(id, request, query),
        }
    }

    fn on_worker_ended(&mut self, name: &str, why: String) {
        let ended = self.workers.iter().find(|(_, worker)| worker.name == name);
        if let Some(id) = ended.map(|(id, _)| id) {
            if let Some(worker) = self.workers.of_mut(id) {
                worker.why_ended.clone_from(&why);
            }
            self.actions.push_back(Action::CloseWorker(id, why));
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
        if let Err(reason) = plausible::check_message(&message) {
            self.actions.push_back(Action::CloseWorker(id, reason));
            return self.on_worker_gone(id, Leaving::Planned);
        }
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
            FromWorker::Holds(copies) => self.on_holds(id, &copies),
            FromWorker::NotAcquired(keys) => self.on_not_acquired(id, &keys),
            FromWorker::Missing(keys) => self.on_missing(id, &keys),
            FromWorker::Inspected { bundle, result } => self.on_inspected(bundle, result),
            FromWorker::FromTask { key, attempt, message } => {
                self.on_from_task(id, key, attempt, *message);
            }
            FromWorker::Waits { key, attempt, waits } => self.on_waits(id, key, attempt, waits),
            FromWorker::Withdrawn { key, attempt } => self.on_withdrawn(id, key, attempt),
            FromWorker::ActorLost { key, why } => self.on_actor_lost(id, key, why),
            FromWorker::Paused(paused) => self.on_paused(id, paused),
            FromWorker::Heartbeat {
                resident_bytes,
                descriptors,
                fetched_bytes,
                fetching_us,
                memory,
            } => {
                worker.resident_bytes = resident_bytes;
                worker.memory = memory;
                worker.descriptors = descriptors;
                self.workers.change(id, |worker| worker.note_overrun(now));
                self.bandwidth.measured(fetched_bytes, fetching_us);
            }
            FromWorker::Leaving => {
                self.actions.push_back(Action::DismissWorker(id));
                self.on_worker_gone(id, Leaving::Planned);
            }
        }
    }

    /// A worker's memory is nearly full, or no longer: what is held back for it may run elsewhere.
    fn on_paused(&mut self, id: WorkerId, paused: bool) {
        self.workers.change(id, |worker| worker.paused = paused);
        match paused {
            true => self.rehouse_all_of(id),
            false => self.look_for_copies(),
        }
    }

    fn on_register(&mut self, id: WorkerId, registration: Registration) {
        if let Err(reason) = plausible::check_registration(&registration) {
            self.actions.push_back(Action::CloseWorker(id, reason));
            return;
        }
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
                why_ended: String::new(),
                slots: registration.slots,
                host: registration.host,
                labels: registration.labels,
                resources: registration.resources.into_iter().collect(),
                taken: BTreeMap::new(),
                arriving: !registration.holds.is_empty(),
                memory_bytes: registration.memory_bytes,
                object_bytes: registration.object_bytes,
                in_hand: BTreeSet::new(),
                waiting: BTreeSet::new(),
                load_us: 0,
                executing: 0,
                moved: self.now,
                overrun_us: 0,
                backlog: Backlog::default(),
                holds: BTreeSet::new(),
                held_bytes: 0,
                holds_heard: 0,
                awaits: BTreeSet::new(),
                credit: 0,
                seen: self.now,
                resident_bytes: 0,
                memory: MemoryUse::default(),
                paused: false,
                descriptors: 0,
                known_tasks: BTreeSet::new(),
                known_peers: BTreeSet::new(),
                outbox: Vec::new(),
                frees: Vec::new(),
            },
        );
        self.send_worker(id, ToWorker::Welcome(id));
        if !registration.in_hand.is_empty() {
            // Its old number is gone and with it those attempts: they run under new ones.
            self.send_worker(id, ToWorker::Cancel(registration.in_hand));
        }
        self.adopt_later(id, registration.holds);
        self.inspect_pending(id);
        let silence_at = self.now.after(self.config.worker_ttl_us);
        self.silence_at = Some(self.silence_at.map_or(silence_at, |at| at.min(silence_at)));
        self.look_for_homeless(id);
        self.look_for_copies();
    }

    pub(crate) fn send_client(&mut self, id: ClientId, message: ToClient) {
        self.actions.extend(self.addressed(id, message));
    }

    pub(crate) fn send_worker(&mut self, id: WorkerId, message: ToWorker) {
        // Calls may name one that is gone, until their turn has come.
        if self.workers.of(id).is_some() {
            // It may bring one of them again.
            self.send_frees(id);
            self.actions.push_back(Action::ToWorker(id, message));
        }
    }

    /// A worker shall free this: it is told with all others, since a client may let go of a million at
    /// once.
    pub(crate) fn send_free(&mut self, id: WorkerId, key: Key) {
        let Some(worker) = self.workers.of_mut(id) else { return };
        if worker.frees.is_empty() {
            self.freeing.insert(id);
        }
        worker.frees.push(key);
    }

    /// Tells a worker what it shall free, and how much was heard of it until then.
    pub(crate) fn send_frees(&mut self, id: WorkerId) {
        let all = self.mutated(Mutation::HoldsCrossed);
        let Some(worker) = self.workers.of_mut(id).filter(|it| !it.frees.is_empty()) else {
            return;
        };
        let heard = if all { u64::MAX / 2 } else { worker.holds_heard };
        let keys = std::mem::take(&mut worker.frees);
        self.actions.push_back(Action::ToWorker(id, ToWorker::Free { keys, heard }));
    }

    /// Tells everybody who wants a call how it stands, if it has ended.
    pub(crate) fn announce(&mut self, id: CallId, inline: Option<&Value>) {
        if self.calls[id].clients.is_empty() {
            return;
        }
        for client in self.calls[id].clients.clone() {
            self.announce_to(client, id, inline);
            if self.mutated(Mutation::OneClientTold) {
                return;
            }
        }
    }

    pub(crate) fn announce_to(&mut self, client: ClientId, id: CallId, inline: Option<&Value>) {
        let call = &self.calls[id];
        let message = match &call.state {
            State::Memory { meta, holders } => {
                let holders = self.addresses(holders);
                if holders.is_empty() {
                    // It is told when it is there again.
                    return;
                }
                ToClient::Ready { key: call.key, meta: *meta, holders, inline: inline.cloned() }
            }
            State::Erred(failure) => {
                ToClient::Failed { key: call.key, failure: failure.as_ref().clone() }
            }
            State::Released
            | State::Arriving(_)
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::Processing(_) => return,
        };
        self.send_client(client, message);
    }

    pub(crate) fn announce_cancelled(&mut self, client: ClientId, key: Key) {
        let failure = Failure::new(FailureKind::Cancelled, "the call was cancelled");
        self.send_client(client, ToClient::Failed { key, failure });
    }
}

fn cause(event: &Event) -> Cause {
    match event {
        Event::ClientConnected(id) => Cause::Client(*id, "connected"),
        Event::Client(id, message) => Cause::of_client(*id, message),
        Event::ClientGone(id) => Cause::Client(*id, "is gone"),
        Event::WorkerConnected(id, _) => Cause::Worker(*id, "connected"),
        Event::Worker(id, message) => Cause::of_worker(*id, message),
        Event::WorkerGone(id) => Cause::Worker(*id, "is gone"),
        Event::BundleStored { .. } | Event::BundleRestored { .. } => Cause::Own("a bundle"),
    }
}
