//! The driver: one loop that feeds the agent and carries out what it wants.

mod memory;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use grid_net::{
    Backoff, Connection, Endpoint, HostListener, Inbox, Kind, NetError, Outbox, channel,
};
use grid_proto::limits::INLINE_RESULT_BYTES_MAX;
use grid_proto::message::{FromWorker, OUTPUT_TOLD_BYTES_MAX, Outcome, Registration, ToWorker};
use grid_proto::{
    Attempt, BundleDescription, BundleHash, Failure, FailureKind, Instance, Key, Value,
};
use grid_sandbox::{Actor, Bundle, CancelToken, Engine, EngineConfig};
use grid_store::{Object, Store, Written};
use tokio::sync::mpsc;

use crate::agent::{Action, Agent, Execution};
use crate::brought::{Brought, Taking};
use crate::bundles::{self, Loaded};
use crate::config::WorkerConfig;
use crate::error::WorkerError;
use crate::host;
use crate::incoming::{Arrived, Incoming};
use crate::local::{LocalBounds, Locals};
use crate::memory::MemoryWatch;
use crate::peers::{Fetched, Peers};
use crate::process;
use crate::residents::Residents;
use crate::serve::{Serving, serve};
use crate::session::{Said, Session};
use crate::slots::{Done, Slots, Work};

/// Messages to the scheduler that wait to be written; more than that means it is gone.
const OUTBOX_MAX: usize = 1 << 18;
/// Results that slots have finished and the driver has not taken: all that can be dispatched.
const DONE_PER_SLOT_MAX: usize = 64;
/// What attempts say and the driver has not taken; then they wait.
const SAID_MAX: usize = 64;
/// Loads and inspections that wait to be taken.
const ANSWERS_MAX: usize = 1_024;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(100);
/// Objects that turned out to be lost and that the driver has not heard of yet.
const LOST_MAX: usize = 64;
/// Batches of what clients bring and the driver has not kept yet; then they wait.
const BROUGHT_MAX: usize = 16;
/// The same of what comes from peers.
const FETCHED_MAX: usize = 16;
/// Calls that run longer than this are reported as executing.
const STARTED_AFTER: Duration = Duration::from_millis(10);
/// How long the scheduler may take to hear that this worker leaves.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// A worker host.
pub struct Worker {
    config: WorkerConfig,
    endpoint: Endpoint,
    engine: Engine,
    store: Store,
    memory: MemoryWatch,
    locals: Locals,
    residents: Residents,
    incoming: Incoming,
    agent: Agent,
    slots: Slots,
    peers: Peers,
    bundles: BTreeMap<BundleHash, Arc<Bundle>>,
    /// The actors in whose instances nobody is.
    actors: BTreeMap<Key, Actor>,
    cancels: BTreeMap<(Key, Attempt), CancelToken>,
    started: Vec<(Key, Attempt)>,
    /// The connection that there is or was last, to say goodbye.
    scheduler: Option<(Connection, Outbox<FromWorker>)>,
    /// Bytes fetched from peers since the last heartbeat, and microseconds that it took.
    fetched: (u64, u64),
    /// Attempts that may speak to the scheduler.
    sessions: BTreeMap<(Key, Attempt), Arc<Session>>,
    /// What they say.
    said: mpsc::Receiver<Said>,
    line: mpsc::Sender<Said>,
    done: mpsc::Receiver<Done>,
    lost: mpsc::Receiver<Key>,
    loser: mpsc::Sender<Key>,
    /// What comes of requests to peers.
    fetches: mpsc::Receiver<Fetched>,
    fetcher: mpsc::Sender<Fetched>,
    brought: mpsc::Receiver<Brought>,
    keeper: mpsc::Sender<Brought>,
    answers: mpsc::Receiver<Answer>,
    answered: mpsc::Sender<Answer>,
}

/// What a task of the io thread found out.
enum Answer {
    Loaded(BundleHash, Loaded),
    Inspected(BundleHash, Result<BundleDescription, String>),
}

/// A connection to the scheduler.
struct Link {
    connection: Connection,
    outbox: Outbox<FromWorker>,
    inbox: Inbox<ToWorker>,
}

impl Worker {
    /// Makes the engine and starts the slots.
    ///
    /// # Errors
    /// [`WorkerError::Engine`], [`WorkerError::Slot`].
    pub fn new(config: WorkerConfig, endpoint: Endpoint) -> Result<Self, WorkerError> {
        let engine = EngineConfig { slots: config.slots, ..config.engine.clone() };
        let engine = Engine::new(engine)?;
        let (sender, done) = mpsc::channel(config.slots.max(1) * DONE_PER_SLOT_MAX);
        let waiting_max = config.engine.waiting_max;
        let store = Store::open(&config.memory.store());
        let residents = Residents::new(config.engine.residents_max);
        let here = (&engine, &store, &residents);
        let slots = Slots::start((config.slots, waiting_max), here, &config.name, &sender)
            .map_err(WorkerError::Slot)?;
        let incoming = Incoming::new(store.clone(), config.memory.bytes_at(1.0));
        let (line, said) = mpsc::channel(SAID_MAX);
        let (answered, answers) = mpsc::channel(ANSWERS_MAX);
        let (loser, lost) = mpsc::channel(LOST_MAX);
        let (keeper, brought) = mpsc::channel(BROUGHT_MAX);
        let (fetcher, fetches) = mpsc::channel(FETCHED_MAX);
        Ok(Self {
            agent: Agent::new(config.slots, waiting_max),
            peers: Peers::new(endpoint.clone(), incoming.clone()),
            memory: MemoryWatch::new(config.memory.clone()),
            locals: Locals::new(LocalBounds::of_limit(config.memory.limit_bytes)),
            incoming,
            config,
            endpoint,
            engine,
            store,
            residents,
            slots,
            bundles: BTreeMap::new(),
            actors: BTreeMap::new(),
            cancels: BTreeMap::new(),
            started: Vec::new(),
            scheduler: None,
            fetched: (0, 0),
            sessions: BTreeMap::new(),
            said,
            line,
            done,
            lost,
            loser,
            fetches,
            fetcher,
            brought,
            keeper,
            answers,
            answered,
        })
    }

    /// Works for the scheduler until `shutdown` resolves. Comes back by itself when the connection
    /// is lost.
    ///
    /// # Errors
    /// When the scheduler cannot be reached at first, speaks another version or refuses this
    /// worker.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let taking = Taking {
            incoming: self.incoming.clone(),
            bytes_max: self.config.memory.object_bytes_max(),
            keeper: self.keeper.clone(),
        };
        let host = host::listen(&self.endpoint);
        let door = host.as_ref().map(HostListener::door);
        let serving = Serving { store: self.store.clone(), lost: self.loser.clone(), taking, door };
        let on_host = host.map(|host| tokio::spawn(host::serve(host, serving.clone())));
        let serving = tokio::spawn(serve(self.endpoint.clone(), serving));
        let result = tokio::select! {
            result = self.work() => result,
            () = shutdown => {
                self.leave().await;
                Ok(())
            }
        };
        serving.abort();
        if let Some(on_host) = on_host {
            on_host.abort();
        }
        for cancel in self.cancels.values() {
            cancel.cancel();
        }
        result
    }

    /// Has the scheduler run elsewhere what is in hand here, as nobody's fault.
    async fn leave(&self) {
        if let Some((connection, outbox)) = &self.scheduler
            && outbox.push(FromWorker::Leaving).is_ok()
        {
            // It hangs up when it has heard.
            let _ = tokio::time::timeout(GOODBYE_MAX, connection.closed()).await;
        }
    }

    async fn work(&mut self) -> Result<(), WorkerError> {
        self.warn_of_small_limit();
        let mut link = self.connect(self.config.connect_timeout).await?;
        loop {
            self.scheduler = Some((link.connection.clone(), link.outbox.clone()));
            let (welcomed, reason) = self.serve_scheduler(&mut link).await;
            if !welcomed {
                let address = self.config.scheduler.clone();
                return Err(WorkerError::Refused { address, reason });
            }
            tracing::warn!(%reason, "the connection to the scheduler is lost; connecting again");
            self.agent.on_disconnected();
            free(self.residents.on_disconnected());
            self.carry_out(&link);
            let mut backoff =
                Backoff::new(RECONNECT_FIRST, RECONNECT_MAX, std::process::id().into());
            link = loop {
                tokio::time::sleep(backoff.next_wait()).await;
                match self.connect(RECONNECT_MAX).await {
                    Ok(link) => break link,
                    Err(WorkerError::Net(error @ NetError::Version { .. })) => {
                        return Err(error.into());
                    }
                    Err(error) => tracing::debug!(%error, "not yet"),
                }
            };
        }
    }

    async fn connect(&self, timeout: Duration) -> Result<Link, WorkerError> {
        let connection = self.endpoint.connect(&self.config.scheduler, timeout).await?;
        let (send, recv) = connection.open(Kind::Worker).await?;
        let (outbox, inbox) = channel(send, recv, OUTBOX_MAX);
        let registration = Registration {
            name: self.config.name.clone(),
            address: self.endpoint.address(),
            pid: std::process::id(),
            host: self.config.host.clone(),
            labels: self.config.labels.clone(),
            resources: self.config.resources.clone(),
            memory_bytes: self.config.memory.inputs_bytes_max(),
            object_bytes: self.config.memory.object_bytes_max(),
            slots: u32::try_from(self.config.slots).unwrap_or(u32::MAX),
            holds: self.store.metas(),
            in_hand: self.agent.in_hand(),
        };
        outbox.send(FromWorker::Register(registration)).await?;
        Ok(Link { connection, outbox, inbox })
    }

    /// One connection, until it ends. Says whether the scheduler had taken us, and why it ended.
    async fn serve_scheduler(&mut self, link: &mut Link) -> (bool, String) {
        let mut welcomed = false;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut memory = tokio::time::interval(MEMORY_EVERY);
        memory.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(STARTED_AFTER);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut done = Vec::new();
        loop {
            let busy = self.agent.dispatched() > 0;
            tokio::select! {
                batch = link.inbox.recv() => match batch {
                    Ok(Some(batch)) => {
                        welcomed = true;
                        for message in batch {
                            self.agent.on_message(message);
                        }
                    }
                    Ok(None) | Err(_) => return (welcomed, link.connection.closed().await),
                },
                _ = self.done.recv_many(&mut done, 256) => {}
                Some(said) = self.said.recv() => self.on_said(said),
                Some(answer) = self.answers.recv() => self.on_answer(answer, link),
                Some(fetched) = self.fetches.recv() => self.on_fetched(fetched),
                Some(key) = self.lost.recv() => self.agent.on_lost(&[key]),
                Some(brought) = self.brought.recv() => self.on_brought(brought),
                _ = memory.tick() => self.look_at_memory(),
                _ = heartbeat.tick() => self.send_heartbeat(link),
                _ = look.tick(), if busy => {
                    self.report_started(link);
                    self.agent.on_tick();
                }
            }
            if !done.is_empty() {
                self.hear_last_words();
            }
            for done in done.drain(..) {
                self.on_done(done, link);
            }
            self.agent.flush();
            self.carry_out(link);
        }
    }

    fn carry_out(&mut self, link: &Link) {
        while let Some(action) = self.agent.poll_action() {
            match action {
                Action::Send(message) => self.send(link, message),
                Action::Execute(execution) => self.execute(execution),
                Action::Stop(key, attempt) => {
                    if let Some(cancel) = self.cancels.get(&(key, attempt)) {
                        cancel.cancel();
                    }
                }
                Action::Tell(key, attempt, message) => {
                    if let Some(session) = self.sessions.get(&(key, attempt)) {
                        session.on_message(*message);
                    }
                }
                Action::Fetch { from, address, keys } => {
                    let (peers, keeper) = (self.peers.clone(), self.fetcher.clone());
                    tokio::spawn(async move {
                        let fetched = peers.fetch(from, address, keys, Some(keeper.clone())).await;
                        let _ = keeper.send(fetched).await;
                    });
                }
                Action::HangUp { address } => self.peers.hang_up(&address),
                Action::Drop(key) => {
                    self.store.remove(&key);
                    end(self.actors.remove(&key));
                }
                Action::Load(hash) => {
                    let load = bundles::load(link.connection.clone(), self.engine.clone(), hash);
                    self.spawn(async move { Answer::Loaded(hash, load.await) });
                }
                Action::Inspect(hash) => {
                    let inspect =
                        bundles::inspect(link.connection.clone(), self.engine.clone(), hash);
                    self.spawn(async move { Answer::Inspected(hash, inspect.await) });
                }
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = Answer> + Send + 'static) {
        let answered = self.answered.clone();
        tokio::spawn(async move { answered.send(work.await).await });
    }

    fn send_heartbeat(&mut self, link: &Link) {
        let (fetched_bytes, fetching_us) = std::mem::take(&mut self.fetched);
        self.send(
            link,
            FromWorker::Heartbeat {
                resident_bytes: process::resident_bytes(),
                descriptors: process::descriptors(),
                fetched_bytes,
                fetching_us,
                memory: self.memory_use(),
            },
        );
    }

    fn send(&self, link: &Link, message: FromWorker) {
        if let Err(error) = link.outbox.push(message) {
            // The link is over; the loop learns it from the inbox and connects anew.
            link.connection.close(&error.to_string());
        }
    }

    fn execute(&mut self, execution: Execution) {
        let (key, attempt) = (execution.key, execution.attempt);
        let Some(bundle) = self.bundles.get(&execution.task.bundle).cloned() else {
            // Loaded before it is dispatched; the agent waits for that.
            tracing::error!(key = %key, "a call was dispatched without its bundle");
            return;
        };
        let cancel = CancelToken::new();
        self.cancels.insert((key, attempt), cancel.clone());
        let limits = self.config.engine.bounds.resolve(execution.task.limits, execution.limits);
        let session = bundle.uses_grid().then(|| self.open_session(&execution));
        let actor = match execution.instance {
            Instance::Of(actor) => self.actors.remove(&actor),
            Instance::Fresh | Instance::Kept => None,
        };
        let local = bundle.uses_local().then(|| self.locals.of(bundle.hash()));
        self.slots.submit(Work { execution, bundle, limits, cancel, session, local, actor });
    }

    fn on_done(&mut self, done: Done, link: &Link) {
        let Done { key, attempt, outcome, lost, spent, output, instance, actor } = done;
        self.cancels.remove(&(key, attempt));
        self.sessions.remove(&(key, attempt));
        self.started.retain(|started| *started != (key, attempt));
        if let (Instance::Of(of), None) = (instance, &actor) {
            self.agent.on_actor_lost(of, why_lost(&outcome));
        }
        match outcome {
            Err(_) if !lost.is_empty() => {
                self.agent.on_inputs_lost(key, attempt, &lost);
                self.keep_actor(instance, actor, None);
            }
            Ok(written) => {
                let (meta, inline) = (written.meta(), written.object().and_then(inline));
                if !output.is_empty() {
                    let text = end_of(&output).to_owned();
                    self.send(link, FromWorker::Output { key, attempt, text });
                }
                let outcome = Outcome::Memory { meta, inline };
                let keep = self.agent.on_executed(key, attempt, outcome, spent);
                if keep {
                    self.store.insert_written(written);
                }
                self.keep_actor(instance, actor, keep.then_some(key));
            }
            Err(failure) => {
                let outcome = match failure.kind {
                    FailureKind::Rescheduled => Outcome::Reschedule,
                    _ => Outcome::Failed(failure),
                };
                self.agent.on_executed(key, attempt, outcome, spent);
                self.keep_actor(instance, actor, None);
            }
        }
    }

    /// What a call left of an instance stays if it is an actor that somebody wants; `made` is the
    /// call's key if what it made is kept.
    fn keep_actor(&mut self, instance: Instance, actor: Option<Actor>, made: Option<Key>) {
        let key = match instance {
            Instance::Fresh => return,
            Instance::Kept => made,
            Instance::Of(key) => Some(key).filter(|key| self.agent.holds(key)),
        };
        match (key, actor) {
            (Some(key), Some(actor)) => drop(self.actors.insert(key, actor)),
            (_, unwanted) => end(unwanted),
        }
    }

    fn on_answer(&mut self, answer: Answer, link: &Link) {
        match answer {
            Answer::Loaded(hash, Ok(bundle)) => {
                self.bundles.insert(hash, bundle);
                self.agent.on_bundle(hash, Ok(()));
            }
            Answer::Loaded(hash, Err(failure)) => self.agent.on_bundle(hash, Err(failure)),
            Answer::Inspected(bundle, result) => {
                self.send(link, FromWorker::Inspected { bundle, result });
            }
        }
    }

    fn on_fetched(&mut self, fetched: Fetched) {
        let Fetched { from, objects, mut failed, took, more } = fetched;
        self.fetched.0 += objects.iter().map(|(_, arrived)| arrived.meta().size).sum::<u64>();
        self.fetched.1 += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut got = Vec::with_capacity(objects.len());
        for (key, arrived) in objects {
            let version = arrived.meta().version();
            match self.incoming.keep(key, arrived) {
                true => got.push((key, version)),
                false => failed.push(key),
            }
        }
        match more {
            true => self.agent.on_arrived(from, &got, &failed),
            false => self.agent.on_fetched(from, &got, &failed),
        }
    }

    fn on_brought(&mut self, brought: Brought) {
        let Brought { objects, kept } = brought;
        let mut here = Vec::with_capacity(objects.len());
        let mut each = Vec::with_capacity(objects.len());
        for (key, arrived) in objects {
            let version = arrived.meta().version();
            let keeps = self.incoming.keep(key, arrived);
            each.push(keeps);
            if keeps {
                here.push((key, version));
            }
        }
        self.agent.on_brought(&here);
        // Whoever brought it may be gone.
        let _ = kept.send(each);
    }

    fn open_session(&mut self, execution: &Execution) -> Arc<Session> {
        let call = (execution.key, execution.attempt);
        let seats = self.slots.seats();
        let store = self.store.clone();
        let session = Session::new(call, execution.task.bundle, self.line.clone(), seats, store);
        let session = Arc::new(session);
        self.sessions.insert(call, Arc::clone(&session));
        session
    }

    /// What attempts said before they ended comes before their ends: that they took what they were
    /// given, for instance, or others would get it too.
    fn hear_last_words(&mut self) {
        for _ in 0..self.said.len() {
            if let Ok(said) = self.said.try_recv() {
                self.on_said(said);
            }
        }
    }

    fn on_said(&mut self, said: Said) {
        match said {
            Said::Grid(key, attempt, message) => self.agent.on_said(key, attempt, message),
            Said::Waits(key, attempt, waits) => self.agent.on_waits(key, attempt, waits),
            Said::Lost(key) => self.agent.on_lost(&[key]),
            Said::Fetch { from, key, reply } => {
                let peers = self.peers.clone();
                tokio::spawn(async move {
                    let fetched =
                        peers.fetch(from.worker, Some(from.address), vec![key], None).await;
                    let object =
                        fetched.objects.into_iter().next().and_then(|(_, arrived)| match arrived {
                            Arrived::Object(object) => Some(object),
                            // No sandbox could take it as a whole.
                            Arrived::File(_) => None,
                        });
                    // Whoever asked may have been stopped.
                    let _ = reply.send(object);
                });
            }
        }
    }

    /// Tells the scheduler which calls are executing, so that only they are charged should this
    /// process die.
    fn report_started(&mut self, link: &Link) {
        let mut executing = self.slots.executing();
        executing.retain(|attempt| !self.started.contains(attempt));
        if !executing.is_empty() {
            self.started.extend(&executing);
            self.send(link, FromWorker::Started(executing));
        }
    }
}

/// Frees an actor's memory, which may be much, elsewhere.
fn end(actor: Option<Actor>) {
    if let Some(actor) = actor {
        free(actor);
    }
}

/// Frees memory where nobody waits for it.
fn free(memory: impl Send + 'static) {
    tokio::task::spawn_blocking(move || drop(memory));
}

/// Why an actor did not survive one of its methods.
fn why_lost(outcome: &Result<Written, Failure>) -> String {
    match outcome {
        Ok(_) => "its instance could not be kept".to_owned(),
        Err(failure) => {
            let task = failure.site.as_ref().map_or("a method", |site| site.task.as_str());
            format!("`{task}` was stopped in it: {failure}")
        }
    }
}

/// The end of a text, cut where a character begins.
fn end_of(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(OUTPUT_TOLD_BYTES_MAX))..]
}

fn inline(object: &Object) -> Option<Value> {
    let small = object.bytes.len() <= INLINE_RESULT_BYTES_MAX;
    small.then(|| Value { codec: object.meta.codec, bytes: object.bytes.to_vec() })
}
