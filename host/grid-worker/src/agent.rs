//! The worker's side of scheduling, as a pure machine: which inputs to fetch from where, which call
//! runs next, what to report. The driver feeds it and carries out its actions; the simulator runs
//! thousands of these in one thread.
//!
//! ```text
//!  assigned ──▶ needy (inputs, bundle) ──▶ ready ──▶ dispatched to a slot ──▶ reported
//!                                                        │    ▲
//!                                                        ▼    │
//!                                             waits for calls of its own,
//!                                             or for what is shared
//! ```
//!
//! Invariants ([`Agent::check`]): a call waits only while something it needs is on its way; no
//! more calls are dispatched than slots and their short queues take, not counting those that wait
//! aside; each input is fetched once at a time however many calls wait for it.

mod actors;
mod fetches;
mod held;
mod job;
mod memory;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use grid_proto::message::{
    Assignment, FromWorker, Holder, Outcome, TaskDefinition, ToClient, ToWorker,
};
use grid_proto::{
    Arg, Attempt, BundleHash, ClientId, Failure, FailureKind, Instance, Key, Priority, Spent,
    TaskId, TaskLimits, Version, WorkerId,
};

use actors::Actors;
use fetches::Fetches;
use held::HeldObjects;
use job::{Job, Needs};
use waiting::Waiting;

/// Calls that a slot may have waiting at its door while their task is known to be this short.
const SHORT_US: u64 = 1_000;
/// How many of them: hides the way through the driver without making cancel or order worse than
/// a few milliseconds.
const SHORT_AHEAD_PER_SLOT: usize = 16;

/// Something that the driver shall do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Tell the scheduler.
    Send(FromWorker),
    /// Run a call on a slot.
    Execute(Execution),
    /// Stop an attempt that was dispatched.
    Stop(Key, Attempt),
    /// The scheduler has an answer or news for an attempt that speaks to it.
    Tell(Key, Attempt, Box<ToClient>),
    /// Fetch objects from a peer; answer with [`Agent::on_fetched`].
    Fetch {
        /// The peer.
        from: WorkerId,
        /// Where it listens; `None` if the scheduler never said.
        address: Option<String>,
        /// What to fetch.
        keys: Vec<Key>,
    },
    /// A peer is no longer there: end the connection to it.
    HangUp {
        /// Where it listened.
        address: String,
    },
    /// Drop an object from the store.
    Drop(Key),
    /// Have a bundle ready to run; answer with [`Agent::on_bundle`].
    Load(BundleHash),
    /// Have a bundle checked and report [`FromWorker::Inspected`].
    Inspect(BundleHash),
}

/// A call on its way into a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The call.
    pub key: Key,
    /// The try.
    pub attempt: Attempt,
    /// What to run.
    pub task: Arc<TaskDefinition>,
    /// Its place among the calls that wait for a slot.
    pub priority: Priority,
    /// With what; keys are in the store.
    pub args: Vec<Arg>,
    /// Limits that the caller asks for.
    pub limits: TaskLimits,
    /// In which instance of its bundle; nothing else runs in an actor's meanwhile.
    pub instance: Instance,
    /// For whom it runs, if its task is resident and that is known.
    pub client: Option<ClientId>,
}

/// The pure machine of one worker.
#[derive(Debug)]
pub struct Agent {
    id: WorkerId,
    slots: usize,
    tasks: BTreeMap<TaskId, Arc<TaskDefinition>>,
    /// Moving average of each task's wall time.
    durations_us: BTreeMap<TaskId, u64>,
    peers: BTreeMap<WorkerId, String>,
    jobs: BTreeMap<Key, Job>,
    ready: BTreeSet<(Priority, Key)>,
    /// Attempts that slots have, whether anybody still wants them or not.
    dispatched: BTreeMap<(Key, Attempt), TaskId>,
    /// Those of them that wait aside.
    waiting: Waiting,
    actors: Actors,
    /// What is in the store.
    held: HeldObjects,
    /// `Holds` that were sent, and how many of them to earlier schedulers or in earlier connections.
    told: u64,
    told_before: u64,
    fetches: Fetches,
    /// Calls that wait for a bundle to be ready.
    loading: BTreeMap<BundleHash, BTreeSet<Key>>,
    loaded: BTreeMap<BundleHash, Result<(), Failure>>,
    /// Memory is nearly full: nothing begins but methods of actors.
    paused: bool,
    actions: VecDeque<Action>,
}

impl Agent {
    /// A worker with this many slots and nothing to do. Beside them so many calls may wait, for calls
    /// of their own or for what is shared.
    #[must_use]
    pub fn new(slots: usize, waiting_max: usize) -> Self {
        Self {
            id: WorkerId::default(),
            slots,
            tasks: BTreeMap::new(),
            durations_us: BTreeMap::new(),
            peers: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ready: BTreeSet::new(),
            dispatched: BTreeMap::new(),
            waiting: Waiting::new(waiting_max),
            actors: Actors::default(),
            held: HeldObjects::default(),
            told: 0,
            told_before: 0,
            fetches: Fetches::default(),
            loading: BTreeMap::new(),
            loaded: BTreeMap::new(),
            paused: false,
            actions: VecDeque::new(),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The connection to the scheduler is gone: what was in hand is somebody else's now. Results
    /// stay.
    pub fn on_disconnected(&mut self) {
        for (key, attempt) in self.dispatched.keys() {
            self.actions.push_back(Action::Stop(*key, *attempt));
        }
        self.jobs.clear();
        self.ready.clear();
        self.tasks.clear();
        self.durations_us.clear();
        self.waiting.forget_tasks();
        self.peers.clear();
        self.fetches = Fetches::default();
        self.loading.clear();
        self.told_before = self.told;
    }

    /// Attempts that were in hand.
    #[must_use]
    pub fn in_hand(&self) -> Vec<(Key, Attempt)> {
        self.jobs.iter().map(|(key, job)| (*key, job.attempt)).collect()
    }

    /// The scheduler said something.
    pub fn on_message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Welcome(id) => self.on_welcome(id),
            ToWorker::Define(tasks) => {
                self.tasks.extend(tasks.into_iter().map(|task| (task.id, Arc::new(task))));
            }
            ToWorker::Peers(peers) => {
                let peers = peers.into_iter().map(|Holder { worker, address }| (worker, address));
                self.peers.extend(peers);
            }
            ToWorker::PeersGone(peers) => {
                for peer in peers {
                    self.fetches.peer_gone(peer);
                    if let Some(address) = self.peers.remove(&peer) {
                        self.actions.push_back(Action::HangUp { address });
                    }
                }
            }
            ToWorker::Run(assignments) => {
                for assignment in assignments {
                    self.on_assigned(assignment);
                }
            }
            ToWorker::Cancel(attempts) => {
                for (key, attempt) in attempts {
                    self.on_cancelled(key, attempt);
                }
            }
            ToWorker::Withdraw(attempts) => {
                for (key, attempt) in attempts {
                    self.on_withdrawn(key, attempt);
                }
            }
            ToWorker::ToTask { key, attempt, message } => {
                if self.is_current(key, attempt) {
                    self.actions.push_back(Action::Tell(key, attempt, message));
                }
            }
            ToWorker::Free { keys, heard } => {
                let heard = self.told_before + heard;
                for key in keys {
                    if self.held.was_told_after(&key, heard) {
                        continue;
                    }
                    self.fetches.forget(&key);
                    self.held.remove(&key);
                    self.actions.push_back(Action::Drop(key));
                }
            }
            ToWorker::Acquire(copies) => self.on_acquire(copies),
            ToWorker::Inspect(hash) => self.actions.push_back(Action::Inspect(hash)),
            ToWorker::Confirm(mut keys) => {
                keys.retain(|key| !self.held.contains(key));
                if !keys.is_empty() {
                    self.actions.push_back(Action::Send(FromWorker::Missing(keys)));
                }
            }
        }
    }

    fn on_assigned(&mut self, assignment: Assignment) {
        let Assignment { key, attempt, task, priority, args, inputs, limits, instance, client } =
            assignment;
        let in_hand = self.jobs.get(&key).map(|job| job.attempt);
        if in_hand == Some(attempt) {
            // It came twice.
            return;
        }
        let done = self.held.made(&key);
        if in_hand.max(done) >= Some(attempt) || self.dispatched.contains_key(&(key, attempt)) {
            // Too late; or a scheduler that began anew uses a number anew, with which a slot is not
            // yet done: then it has to choose a higher one.
            self.report_missing(key, attempt, Vec::new());
            return;
        }
        if in_hand.is_some() {
            // What it waited for comes for others, if at all.
            self.forget(key);
            self.fetches.abandon(&key);
        }
        if self.held.remove(&key) {
            // The scheduler does not count on this copy; what it may say about it comes too late.
            self.actions.push_back(Action::Drop(key));
        }
        let Some(definition) = self.tasks.get(&task).cloned() else {
            let failure = Failure::new(FailureKind::BundleInvalid, "the task was never defined");
            self.report(key, attempt, Outcome::Failed(failure), Spent::default());
            return;
        };
        let mut needs = Needs::default();
        for arg in &args {
            let Arg::Key(input) = arg else { continue };
            if !self.held.contains(input) {
                let holders = inputs.iter().find(|(key, _)| key == input);
                let holders = holders.map(|(_, holders)| holders.clone()).unwrap_or_default();
                needs.inputs.insert(*input);
                self.fetches.want(*input, Some((key, priority)), holders, self.id);
            }
        }
        let bundle = definition.bundle;
        match self.loaded.get(&bundle) {
            Some(Ok(())) => {}
            Some(Err(failure)) => {
                let failure = failure.clone();
                self.report(key, attempt, Outcome::Failed(failure), Spent::default());
                return;
            }
            None => {
                needs.bundle = true;
                let waiting = self.loading.entry(bundle).or_insert_with(|| {
                    self.actions.push_back(Action::Load(bundle));
                    BTreeSet::new()
                });
                waiting.insert(key);
            }
        }
        needs.actor = self.actors.is_busy(instance);
        let ready = needs.is_empty();
        let job =
            Job { attempt, task, definition, priority, args, limits, instance, client, needs };
        self.jobs.insert(key, job);
        if ready {
            self.ready.insert((priority, key));
        }
        self.give_back_if_paused(key, attempt);
    }

    /// An older attempt of a call that is assigned anew is over.
    fn forget(&mut self, key: Key) {
        if let Some(old) = self.jobs.remove(&key) {
            self.ready.remove(&(old.priority, key));
            if self.dispatched.contains_key(&(key, old.attempt)) {
                self.actions.push_back(Action::Stop(key, old.attempt));
            }
        }
    }

    fn on_cancelled(&mut self, key: Key, attempt: Attempt) {
        if self.jobs.get(&key).is_some_and(|job| job.attempt == attempt) {
            self.forget(key);
            self.fetches.abandon(&key);
            self.drop_copy(key);
        } else if self.dispatched.contains_key(&(key, attempt)) {
            self.actions.push_back(Action::Stop(key, attempt));
        }
    }

    /// Gives an attempt back that has not begun; one that has goes on.
    fn on_withdrawn(&mut self, key: Key, attempt: Attempt) {
        let waiting = self.jobs.get(&key).is_some_and(|job| job.attempt == attempt)
            && !self.dispatched.contains_key(&(key, attempt));
        if waiting {
            self.forget(key);
            self.fetches.abandon(&key);
            self.drop_copy(key);
            self.actions.push_back(Action::Send(FromWorker::Withdrawn { key, attempt }));
        }
    }

    /// A bundle is ready to run, or never will be.
    pub fn on_bundle(&mut self, bundle: BundleHash, result: Result<(), Failure>) {
        for key in self.loading.remove(&bundle).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&key).filter(|job| job.definition.bundle == bundle)
            else {
                continue;
            };
            job.needs.bundle = false;
            match &result {
                Ok(()) => self.ready_if_complete(key),
                Err(failure) => {
                    let attempt = job.attempt;
                    self.jobs.remove(&key);
                    self.fetches.abandon(&key);
                    self.report(key, attempt, Outcome::Failed(failure.clone()), Spent::default());
                }
            }
        }
        // A failure to fetch the bytes may pass: only what cannot change is remembered.
        let lasting = result
            .as_ref()
            .map_or_else(|failure| failure.kind == FailureKind::BundleInvalid, |()| true);
        if lasting {
            self.loaded.insert(bundle, result);
        }
    }

    /// A peer answered: the objects that are in the store now, and those that it could not give.
    pub fn on_fetched(&mut self, from: WorkerId, got: &[(Key, Version)], failed: &[Key]) {
        self.on_arrived(from, got, failed);
        self.fetches.peer_idle(from);
    }

    /// The same of a part of the answer; the rest is to come.
    pub fn on_arrived(&mut self, from: WorkerId, got: &[(Key, Version)], failed: &[Key]) {
        let mut kept = Vec::new();
        for (key, version) in got {
            let Some(calls) = self.fetches.arrived(key) else {
                // Freed or abandoned on the way; or it came twice, then one copy stays.
                if !self.held.contains(key) {
                    self.actions.push_back(Action::Drop(*key));
                }
                continue;
            };
            self.held.insert_copy(*key, *version);
            kept.push((*key, *version));
            self.complete_inputs(key, calls);
        }
        self.tell_holds(kept);
        for key in failed {
            self.fetches.failed(*key, from);
        }
    }

    /// Calls that waited for this object have it now.
    fn complete_inputs(&mut self, key: &Key, calls: BTreeSet<Key>) {
        for call in calls {
            if let Some(job) = self.jobs.get_mut(&call)
                && job.needs.inputs.remove(key)
            {
                self.ready_if_complete(call);
            }
        }
    }

    fn ready_if_complete(&mut self, key: Key) {
        if let Some(job) = self.jobs.get(&key)
            && job.needs.is_empty()
        {
            self.ready.insert((job.priority, key));
        }
    }

    /// A slot is done with an attempt. Says whether the result shall be kept; the driver stores it
    /// before it sends what this machine says next.
    pub fn on_executed(
        &mut self,
        key: Key,
        attempt: Attempt,
        outcome: Outcome,
        spent: Spent,
    ) -> bool {
        let task = self.dispatched.remove(&(key, attempt));
        self.waiting.ended(key, attempt);
        self.leave_actor(key, attempt);
        if let Some(task) = task {
            let average = self.durations_us.entry(task).or_insert(spent.wall_us);
            *average = (*average * 3 + spent.wall_us) / 4;
        }
        if self.jobs.get(&key).is_none_or(|job| job.attempt != attempt) {
            return false;
        }
        self.jobs.remove(&key);
        let keep = match &outcome {
            Outcome::Memory { meta, .. } => {
                self.held.insert_made(key, attempt, meta.version());
                true
            }
            _ => false,
        };
        self.report(key, attempt, outcome, spent);
        keep
    }

    /// A call ended here without a result. A copy of an earlier result that arrived meanwhile was not
    /// counted by the scheduler, which waited for the call.
    fn drop_copy(&mut self, key: Key) {
        if self.held.is_copy(&key) {
            self.held.remove(&key);
            self.actions.push_back(Action::Drop(key));
        }
    }

    fn report(&mut self, key: Key, attempt: Attempt, outcome: Outcome, spent: Spent) {
        if !matches!(outcome, Outcome::Memory { .. }) {
            self.drop_copy(key);
        }
        let finished = FromWorker::Finished { key, attempt, outcome, spent };
        self.actions.push_back(Action::Send(finished));
    }

    fn report_missing(&mut self, key: Key, attempt: Attempt, missing: Vec<(Key, WorkerId)>) {
        let missing = FromWorker::MissingInputs { key, attempt, missing };
        self.actions.push_back(Action::Send(missing));
    }

    /// After a batch of events: dispatch what may run, fetch what may be fetched, report what
    /// cannot be had.
    pub fn flush(&mut self) {
        let (hopeless, copies) = self.fetches.hopeless();
        if !copies.is_empty() {
            self.actions.push_back(Action::Send(FromWorker::NotAcquired(copies)));
        }
        for (call, missing) in hopeless {
            if let Some(job) = self.jobs.remove(&call) {
                self.fetches.abandon(&call);
                self.drop_copy(call);
                self.report_missing(call, job.attempt, missing);
            }
        }
        for (from, keys) in self.fetches.start() {
            let address = self.peers.get(&from).cloned();
            self.actions.push_back(Action::Fetch { from, address, keys });
        }
        while let Some((priority, key)) = self.waiting.next(&self.ready, &self.jobs) {
            let Some(job) = self.jobs.get_mut(&key) else {
                self.ready.remove(&(priority, key));
                continue;
            };
            let short = self.durations_us.get(&job.task).is_some_and(|average| *average < SHORT_US)
                && !self.waiting.is_known(job.task);
            let ahead = if short { SHORT_AHEAD_PER_SLOT } else { 0 };
            if self.dispatched.len() - self.waiting.len() >= self.slots * (1 + ahead) {
                break;
            }
            self.ready.remove(&(priority, key));
            self.waiting.dispatched();
            if self.actors.is_busy(job.instance) {
                // One that was cancelled has not ended yet.
                job.needs.actor = true;
                continue;
            }
            let freed = freed_inputs(job, &self.held);
            if !freed.is_empty() {
                // Freed while the call waited for something else.
                let attempt = job.attempt;
                self.jobs.remove(&key);
                self.drop_copy(key);
                let missing = freed.into_iter().map(|input| (input, self.id)).collect();
                self.report_missing(key, attempt, missing);
                continue;
            }
            self.dispatched.insert((key, job.attempt), job.task);
            self.actors.enter(job.instance, (key, job.attempt));
            let execution = Execution {
                key,
                attempt: job.attempt,
                task: Arc::clone(&job.definition),
                priority,
                args: std::mem::take(&mut job.args),
                limits: job.limits,
                instance: job.instance,
                client: job.client,
            };
            self.actions.push_back(Action::Execute(execution));
        }
    }

    /// Attempts that slots have at this moment.
    #[must_use]
    pub fn dispatched(&self) -> usize {
        self.dispatched.len()
    }

    /// What is in the store, as this machine told, in no order.
    pub fn held(&self) -> impl Iterator<Item = &Key> {
        self.held.keys()
    }

    /// Verifies every invariant.
    ///
    /// # Errors
    /// The first one that is broken, in words.
    pub fn check(&self) -> Result<(), String> {
        // One that goes on finds its place taken for a moment.
        let bound = self.slots * (1 + SHORT_AHEAD_PER_SLOT) + self.waiting.max();
        if self.dispatched.len() - self.waiting.len() > bound {
            return Err(format!("{} attempts at {} slots", self.dispatched.len(), self.slots));
        }
        for (key, job) in &self.jobs {
            let dispatched = self.dispatched.contains_key(&(*key, job.attempt));
            let ready = self.ready.contains(&(job.priority, *key));
            let places =
                u32::from(dispatched) + u32::from(ready) + u32::from(!job.needs.is_empty());
            if places != 1 {
                return Err(format!("call {} is in {places} places", key.short()));
            }
            for input in &job.needs.inputs {
                if !self.fetches.is_wanted_by(input, key) {
                    return Err(format!("nobody fetches {} for {}", input.short(), key.short()));
                }
            }
            let bundle = job.definition.bundle;
            let loading = self.loading.get(&bundle).is_some_and(|calls| calls.contains(key));
            if job.needs.bundle && !loading {
                return Err(format!("nobody loads the bundle of {}", key.short()));
            }
        }
        Ok(())
    }
}

/// Inputs that are not in the store, and the actor if it is not here.
fn freed_inputs(job: &Job, held: &HeldObjects) -> Vec<Key> {
    let freed = |arg: &Arg| match arg {
        Arg::Key(input) if !held.contains(input) => Some(*input),
        Arg::Key(_) | Arg::Value(_) => None,
    };
    let actor = match job.instance {
        Instance::Of(actor) if !held.contains(&actor) => Some(actor),
        Instance::Of(_) | Instance::Fresh | Instance::Kept => None,
    };
    job.args.iter().filter_map(freed).chain(actor).collect()
}

#[cfg(test)]
mod tests;
