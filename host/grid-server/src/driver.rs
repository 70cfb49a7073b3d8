//! The driver: one task that owns the machine.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use grid_net::{Connection, Endpoint, Outbox};
use grid_proto::message::{Answer, FromClient, FromWorker, ToClient, ToWorker};
use grid_proto::report::GridStatus;
use grid_proto::{ClientId, WorkerId};
use grid_scheduler::{Action, Event, Now, Scheduler};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::bundle_files::BundleFiles;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::fault::{self, Guard};
use crate::{process, session};

/// Batches that wait for the driver; sessions beyond that wait with reading.
const INPUTS_MAX: usize = 1_024;
/// Batches that one turn of the loop takes before it looks at the machine's actions.
const TURN_MAX: usize = 64;
/// and how long it goes on with them: whoever waits for an answer waits for the turn's end.
const TURN_TIME_MAX: Duration = Duration::from_millis(2);
/// A turn that others feel.
const LONG_TURN: Duration = Duration::from_millis(10);

/// What sessions tell the driver.
pub(crate) enum Input {
    Client(ClientId, Connection, Outbox<ToClient>),
    /// The permit lets the session send more.
    FromClient(ClientId, Vec<FromClient>, OwnedSemaphorePermit),
    ClientGone(ClientId),
    Worker(WorkerId, Connection, Outbox<ToWorker>),
    FromWorker(WorkerId, Vec<FromWorker>),
    /// and why.
    WorkerGone(WorkerId, String),
    Event(Box<Event>),
}

/// The way to the driver.
#[derive(Clone)]
pub(crate) struct Inputs {
    queue: mpsc::Sender<Input>,
    ids: Arc<AtomicU32>,
}

/// A scheduler.
pub struct Server {
    endpoint: Endpoint,
    machine: Scheduler,
    guard: Guard,
    state_dir: PathBuf,
    files: Arc<BundleFiles>,
    started: Instant,
    clients: BTreeMap<ClientId, Session<ToClient>>,
    workers: BTreeMap<WorkerId, Session<ToWorker>>,
    /// The names of workers whose end the log has not told yet.
    names: BTreeMap<WorkerId, String>,
}

struct Session<T> {
    connection: Connection,
    outbox: Outbox<T>,
}

impl Inputs {
    /// Waits while the driver is behind. After its end, nobody is there to hear.
    pub(crate) async fn send(&self, input: Input) {
        let _ = self.queue.send(input).await;
    }

    /// Numbers connections; no number is given twice.
    pub(crate) fn next_id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl Server {
    /// A scheduler with the bundles of its state directory.
    ///
    /// # Errors
    /// [`ServerError::State`].
    pub fn new(config: ServerConfig, endpoint: Endpoint) -> Result<Self, ServerError> {
        let files = BundleFiles::open(&config.state_dir)?;
        let mut machine = Scheduler::new(config.scheduler);
        for restored in files.restore() {
            let event = Event::BundleRestored {
                hash: restored.hash,
                size_bytes: restored.size_bytes,
                description: restored.description,
            };
            machine.handle(Now::default(), event);
        }
        Ok(Self {
            endpoint,
            machine,
            guard: Guard::default(),
            state_dir: config.state_dir,
            files: Arc::new(files),
            started: Instant::now(),
            clients: BTreeMap::new(),
            workers: BTreeMap::new(),
            names: BTreeMap::new(),
        })
    }

    /// Schedules until `shutdown` resolves, then says goodbye to everybody.
    ///
    /// # Errors
    /// [`ServerError::Fault`] when the machine found a contradiction in its state, or panicked: then
    /// it has handled nothing more, and a dump is written.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (queue, mut inputs) = mpsc::channel(INPUTS_MAX);
        let to_driver = Inputs { queue, ids: Arc::default() };
        let accepting = tokio::spawn(session::accept(
            self.endpoint.clone(),
            Arc::clone(&self.files),
            to_driver,
        ));
        let mut shutdown = std::pin::pin!(shutdown);
        let mut turn = Vec::with_capacity(TURN_MAX);
        let mut left = VecDeque::with_capacity(TURN_MAX);
        let ended = loop {
            let timeout = if left.is_empty() { self.until_timeout() } else { Duration::ZERO };
            tokio::select! {
                _ = inputs.recv_many(&mut turn, TURN_MAX), if left.is_empty() => {}
                () = tokio::time::sleep(timeout) => {
                    let now = self.now();
                    self.step(|machine| machine.handle_timeout(now));
                }
                () = &mut shutdown => break Ok(()),
            }
            left.extend(turn.drain(..));
            if let Err(what) = self.take_turn(&mut left) {
                break Err(fault::report(&self.machine, what, &self.state_dir));
            }
        };
        accepting.abort();
        self.say_goodbye(match ended {
            Ok(()) => "the scheduler is stopping",
            Err(_) => "the scheduler stopped: its own state was wrong; its log names a dump",
        });
        ended
    }

    /// Inputs for a while, one round of the machine, and what it wants done.
    fn take_turn(&mut self, left: &mut VecDeque<Input>) -> Result<(), String> {
        let began = Instant::now();
        while let Some(input) = left.pop_front() {
            self.on_input(input);
            if began.elapsed() > TURN_TIME_MAX {
                break;
            }
        }
        let handled = began.elapsed();
        let now = self.now();
        self.step(|machine| machine.flush(now));
        let flushed = began.elapsed();
        self.guard.check(&self.machine)?;
        self.carry_out();
        let took = began.elapsed();
        if took > LONG_TURN {
            tracing::info!(?handled, ?flushed, ?took, "a long turn: others waited");
        }
        Ok(())
    }

    /// One step of the machine, unless it has found that it is wrong.
    fn step(&mut self, step: impl FnOnce(&mut Scheduler)) {
        self.guard.step(&mut self.machine, step);
    }

    fn say_goodbye(&self, reason: &str) {
        for session in self.clients.values() {
            session.connection.close(reason);
        }
        for session in self.workers.values() {
            session.connection.close(reason);
        }
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn until_timeout(&self) -> Duration {
        const IDLE: Duration = Duration::from_secs(60);
        let timeout = self.machine.poll_timeout();
        timeout.map_or(IDLE, |at| Duration::from_micros(at.0.saturating_sub(self.now().0)))
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        self.step(|machine| machine.handle(now, event));
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Client(id, connection, outbox) => {
                self.clients.insert(id, Session { connection, outbox });
                self.handle(Event::ClientConnected(id));
            }
            Input::FromClient(id, batch, _turn) => {
                for message in batch {
                    self.handle(Event::Client(id, message));
                }
            }
            Input::ClientGone(id) => {
                self.clients.remove(&id);
                self.handle(Event::ClientGone(id));
            }
            Input::Worker(id, connection, outbox) => {
                self.workers.insert(id, Session { connection, outbox });
            }
            Input::FromWorker(id, batch) => {
                for message in batch {
                    let event = match message {
                        FromWorker::Register(registration) => {
                            let name = registration.name.clone();
                            tracing::info!(worker = name, "a worker connected");
                            self.names.insert(id, name);
                            Event::WorkerConnected(id, registration)
                        }
                        message => Event::Worker(id, message),
                    };
                    self.handle(event);
                }
            }
            Input::WorkerGone(id, reason) => {
                self.workers.remove(&id);
                self.warn_of_loss(id, &reason);
                self.handle(Event::WorkerGone(id));
            }
            Input::Event(event) => self.handle(*event),
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::ToClient(id, message) => {
                    let message = self.completed(message);
                    deliver(self.clients.get(&id), message);
                }
                Action::ToWorker(id, message) => {
                    if let Some(why) = deliver(self.workers.get(&id), message) {
                        self.warn_of_loss(id, &why);
                    }
                }
                Action::DismissWorker(id) => {
                    let name = self.names.remove(&id).unwrap_or_default();
                    tracing::info!(worker = name, "a worker left");
                    if let Some(session) = self.workers.get(&id) {
                        session.connection.close("goodbye");
                    }
                }
                Action::CloseWorker(id, reason) => {
                    self.warn_of_loss(id, &reason);
                    if let Some(session) = self.workers.get(&id) {
                        session.connection.close(&reason);
                    }
                }
                Action::BundleAccepted(hash, description) => {
                    if let Err(error) = self.files.accept(hash, &description) {
                        tracing::warn!(%hash, %error, "the bundle will be forgotten at a restart");
                    }
                }
                Action::BundleRejected(hash) => self.files.remove(hash),
            }
        }
    }

    /// One line for each worker that did not leave by itself. A name may hold anything: it is
    /// written as a literal.
    fn warn_of_loss(&mut self, id: WorkerId, reason: &str) {
        if let Some(name) = self.names.remove(&id) {
            tracing::warn!(worker = name, reason, "a worker is lost");
        }
    }

    /// Adds what only the host knows.
    fn completed(&self, message: ToClient) -> ToClient {
        match message {
            ToClient::Answer { request, answer: Answer::Status(status) } => {
                let status = GridStatus {
                    address: self.endpoint.address(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    pid: std::process::id(),
                    uptime_ms: self.now().0 / 1_000,
                    resident_bytes: process::resident_bytes(),
                    ..status
                };
                ToClient::Answer { request, answer: Answer::Status(status) }
            }
            message => message,
        }
    }
}

#[cfg(test)]
mod tests;

/// Says why, if the peer is cut off by that.
fn deliver<T>(session: Option<&Session<T>>, message: T) -> Option<String> {
    let session = session?;
    let error = session.outbox.push(message).err()?.to_string();
    if session.connection.is_closed() {
        return None;
    }
    // Its session ends and tells the machine.
    session.connection.close(&error);
    Some(error)
}
