//! Where sandboxes run: the one seam. Today a slot is a place for one of this process's threads to
//! compute; whatever else a slot may become takes [`Work`] and gives [`Done`].
//!
//! A call that waits for others gives its slot away: its thread stays parked in it, and
//! another thread takes the slot. When it goes on it takes the next slot that is free, before calls
//! that have not begun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{io, thread};

use grid_proto::{
    Arg, Attempt, Codec, Failure, FailureKind, FailureSite, Instance, Key, Limits, Priority, Spent,
    Value,
};
use grid_sandbox::{
    Actor, Argument, Bundle, CallInfo, CallReport, CallRequest, CancelToken, Engine, GridAccess,
    LocalAccess, ObjectAccess, SCRATCH, ScratchDir,
};
use grid_store::{LoadError, Object, OwnDirectory, Store, Written};
use tokio::sync::{mpsc, oneshot};

use crate::agent::Execution;
use crate::local::BundleLocals;
use crate::objects::{self, Objects};
use crate::residents::{Home, Residents};
use crate::session::Session;

/// Stack of a slot's thread: the wasm stack and the host's frames above it.
const THREAD_STACK_BYTES: usize = 4 << 20;
/// Threads that are kept beyond those that slots need: the next call that waits needs one.
const SPARE_THREADS: usize = 8;

/// A call with all that it needs to run.
pub(crate) struct Work {
    pub(crate) execution: Execution,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) limits: Limits,
    pub(crate) cancel: CancelToken,
    /// Its line to the scheduler, if its bundle uses one.
    pub(crate) session: Option<Arc<Session>>,
    /// What its bundle keeps here, if it may keep something.
    pub(crate) local: Option<Arc<BundleLocals>>,
    /// The actor whose method it is.
    pub(crate) actor: Option<Actor>,
}

/// How it ended.
pub(crate) struct Done {
    pub(crate) key: Key,
    pub(crate) attempt: Attempt,
    pub(crate) outcome: Result<Written, Failure>,
    /// Inputs that could not be read, so that it never began or did not end.
    pub(crate) lost: Vec<Key>,
    pub(crate) spent: Spent,
    /// What it wrote, as people may read it.
    pub(crate) output: String,
    pub(crate) instance: Instance,
    /// The actor that it made, or that has survived it.
    pub(crate) actor: Option<Actor>,
}

/// The slots of one worker.
pub(crate) struct Slots(Seats);

/// What the calls of one worker share.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    work_or_stop: Condvar,
    slots: usize,
    waiting_max: usize,
    engine: Engine,
    store: Store,
    residents: Residents,
    worker: Arc<str>,
    done: mpsc::Sender<Done>,
}

type Call = (Key, Attempt);

#[derive(Default)]
struct Queue {
    work: BTreeMap<(Priority, Key, Attempt), Work>,
    /// Calls that have a slot.
    executing: BTreeSet<Call>,
    /// Calls that gave theirs back.
    waiting: BTreeSet<Call>,
    /// Those of them that want one again.
    resuming: VecDeque<(Call, oneshot::Sender<()>)>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Threads that have not ended.
    alive: usize,
    stopped: bool,
}

impl Slots {
    /// Starts the threads of so many slots; so many calls may wait beside them. `done` must have
    /// room for everything that is dispatched at once.
    pub(crate) fn start(
        (slots, waiting_max): (usize, usize),
        (engine, store, residents): (&Engine, &Store, &Residents),
        worker: &str,
        done: &mpsc::Sender<Done>,
    ) -> io::Result<Self> {
        let seats = Seats(Arc::new(Shared {
            queue: Mutex::default(),
            work_or_stop: Condvar::new(),
            slots,
            waiting_max,
            engine: engine.clone(),
            store: store.clone(),
            residents: residents.clone(),
            worker: worker.into(),
            done: done.clone(),
        }));
        let started = Self(seats.clone());
        let mut queue = seats.lock();
        for _ in 0..slots {
            seats.spawn(&mut queue)?;
        }
        drop(queue);
        Ok(started)
    }

    pub(crate) fn submit(&self, work: Work) {
        let Execution { priority, key, attempt, .. } = work.execution;
        self.0.lock().work.insert((priority, key, attempt), work);
        self.0.0.work_or_stop.notify_one();
    }

    /// What the slots are executing at this moment.
    pub(crate) fn executing(&self) -> Vec<Call> {
        self.0.lock().executing.iter().copied().collect()
    }

    pub(crate) fn seats(&self) -> Seats {
        self.0.clone()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let threads = {
            let mut queue = self.0.lock();
            queue.stopped = true;
            queue.work.clear();
            std::mem::take(&mut queue.threads)
        };
        self.0.0.work_or_stop.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, queue: &mut Queue) -> io::Result<()> {
        queue.threads.retain(|thread| !thread.is_finished());
        let seats = self.clone();
        let builder = thread::Builder::new().name("slot".into()).stack_size(THREAD_STACK_BYTES);
        queue.threads.push(builder.spawn(move || seats.run())?);
        queue.alive += 1;
        Ok(())
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            let call = (work.execution.key, work.execution.attempt);
            // The inputs' last reader may be this call: they go before the next begins.
            let result = execute(&self.0, work);
            self.leave(call);
            if self.0.done.blocking_send(result).is_err() {
                return;
            }
        }
    }

    /// The next work for a thread; `None` when the worker stops, or has threads enough.
    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if queue.stopped {
                return None;
            }
            if queue.executing.len() < self.0.slots
                && let Some(((_, key, attempt), work)) = queue.work.pop_first()
            {
                queue.executing.insert((key, attempt));
                return Some(work);
            }
            if queue.alive > queue.waiting.len() + self.0.slots + SPARE_THREADS {
                queue.alive -= 1;
                return None;
            }
            queue = self.0.work_or_stop.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A call has ended, wherever it was.
    fn leave(&self, call: Call) {
        let mut queue = self.lock();
        queue.executing.remove(&call);
        queue.waiting.remove(&call);
        // What is left of the slot this thread takes itself.
        self.let_go_on(&mut queue);
    }

    /// Gives free slots to calls that waited, before others begin.
    fn let_go_on(&self, queue: &mut Queue) {
        while queue.executing.len() < self.0.slots
            && let Some((call, granted)) = queue.resuming.pop_front()
        {
            // It may have been stopped.
            if granted.send(()).is_ok() && queue.waiting.remove(&call) {
                queue.executing.insert(call);
            }
        }
    }

    /// A call waits from now on and gives its slot to others.
    ///
    /// # Errors
    /// Too many wait already; in words, with what to do.
    pub(crate) fn suspend(&self, call: Call) -> Result<(), String> {
        let mut queue = self.lock();
        let max = self.0.waiting_max;
        if queue.waiting.len() >= max {
            return Err(format!(
                "{max} calls wait for calls of their own or for what is shared on `{}`, which is its \
                 limit: submit less at a time, or raise `--waiting-max` of the worker",
                self.0.worker
            ));
        }
        // Each slot needs a thread that is not parked in a call.
        if queue.alive <= queue.waiting.len() + self.0.slots {
            self.spawn(&mut queue).map_err(|error| {
                format!("no thread can be started to take the slot of a call that waits: {error}")
            })?;
        }
        queue.executing.remove(&call);
        queue.waiting.insert(call);
        self.let_go_on(&mut queue);
        if queue.executing.len() < self.0.slots && !queue.work.is_empty() {
            self.0.work_or_stop.notify_one();
        }
        Ok(())
    }

    /// A call goes on as soon as there is a slot.
    pub(crate) async fn resume(&self, call: Call) {
        let granted = {
            let mut queue = self.lock();
            let (grant, granted) = oneshot::channel();
            queue.resuming.push_back((call, grant));
            self.let_go_on(&mut queue);
            granted
        };
        // Never refused: the queue outlives its calls.
        let _ = granted.await;
    }
}

fn execute(shared: &Shared, mut work: Work) -> Done {
    let actor = work.actor.take();
    let inputs = match load_inputs(shared, &work) {
        Ok(inputs) => inputs,
        Err(lost) => {
            let message = "an input is not in this worker's store";
            let failure = Failure::new(FailureKind::LostData, message);
            return Done { lost, ..Done::without(&work.execution, failure, actor) };
        }
    };
    let directory = match own_directory(shared, &work) {
        Ok(directory) => directory,
        Err(failure) => return Done::without(&work.execution, failure, actor),
    };
    let Execution { key, attempt, task, args, instance, .. } = &work.execution;
    let arguments = arguments(args, &inputs.given, &task.lazy);
    let grid = |session: &Arc<Session>| Arc::clone(session) as Arc<dyn GridAccess>;
    let local = |local: &Arc<BundleLocals>| Arc::clone(local) as Arc<dyn LocalAccess>;
    let objects = |objects: &Arc<Objects>| Arc::clone(objects) as Arc<dyn ObjectAccess>;
    let request = CallRequest {
        bundle: &work.bundle,
        bundle_name: &task.bundle_name,
        task: task.index,
        arguments: &arguments,
        limits: work.limits,
        info: CallInfo {
            key: *key,
            task: task.name.as_str().into(),
            attempt: *attempt,
            worker: Arc::clone(&shared.worker),
        },
        reads: &task.reads,
        writes: &task.writes,
        cancel: work.cancel.clone(),
        grid: work.session.as_ref().map(grid),
        local: work.local.as_ref().map(local),
        objects: inputs.objects.as_ref().map(objects),
        scratch: directory.as_ref().map(|directory| ScratchDir {
            directory: directory.path(),
            bytes_max: task.scratch_bytes.min(work.limits.scratch_bytes_max),
        }),
    };
    let (report, actor) = match (*instance, actor) {
        (Instance::Fresh, _) => (run(shared, &work, &request), None),
        (Instance::Kept, _) => shared.engine.create(&request),
        (Instance::Of(_), Some(actor)) => shared.engine.run_in(actor, &request),
        (Instance::Of(_), None) => {
            let message = "its actor is not on this worker";
            let failure = Failure::new(FailureKind::ActorLost, message);
            return Done::without(&work.execution, failure, None);
        }
    };
    Done {
        key: *key,
        attempt: *attempt,
        lost: inputs.objects.as_ref().map_or_else(Vec::new, |objects| objects.take_lost()),
        spent: report.spent,
        output: report.output,
        instance: *instance,
        actor,
        outcome: outcome(shared, &work.execution, report.outcome, inputs.objects.as_deref()),
    }
}

/// The directory that a call asks for.
fn own_directory(shared: &Shared, work: &Work) -> Result<Option<OwnDirectory>, Failure> {
    let Execution { task, instance, .. } = &work.execution;
    if task.scratch_bytes == 0 {
        return Ok(None);
    }
    let what = format!("directory `{SCRATCH}`");
    let denied = |why: String| {
        let message = format!("the task `{}` wants a directory of its own: {why}", task.name);
        Failure::new(FailureKind::HostDenied { what }, message)
    };
    if *instance != Instance::Fresh {
        return Err(denied("an actor has none, as its instance stays beyond the call".to_owned()));
    }
    if work.limits.scratch_bytes_max == 0 {
        return Err(denied("this worker gives none; see its `--scratch-max`".to_owned()));
    }
    shared.store.own_directory().map(Some).map_err(|error| {
        denied(format!("it cannot be made below the worker's `--local-directory`: {error}"))
    })
}

/// The result as the store takes it: what was written piece by piece, if something was, else what the
/// task's function gave.
fn outcome(
    shared: &Shared,
    execution: &Execution,
    outcome: Result<Value, Failure>,
    objects: Option<&Objects>,
) -> Result<Written, Failure> {
    let Execution { key, attempt, task, .. } = execution;
    match outcome {
        Ok(value) => Ok(objects
            .and_then(Objects::take_written)
            .unwrap_or_else(|| Written::of(*key, Object::new(value, shared.store.gauge())))),
        Err(failure) => Err(Failure {
            site: Some(FailureSite {
                key: *key,
                task: format!("{}:{}", task.bundle_name, task.name),
                worker: shared.worker.to_string(),
                attempt: *attempt,
            }),
            ..failure
        }),
    }
}

/// What the task is given: values that came with the call, and its inputs where they belong; of what it
/// reads piece by piece no bytes.
fn arguments<'a>(args: &'a [Arg], given: &'a [Object], lazy: &[u32]) -> Vec<Argument<'a>> {
    let mut given = given.iter();
    let argument = |(position, arg): (u32, &'a Arg)| match arg {
        _ if lazy.contains(&position) => Some(Argument { codec: Codec::Raw, bytes: &[] }),
        Arg::Value(value) => Some(Argument::from(value)),
        Arg::Key(_) => {
            let object = given.next()?;
            Some(Argument { codec: object.meta.codec, bytes: &object.bytes })
        }
    };
    (0..).zip(args).filter_map(argument).collect()
}

/// Runs a call that is no actor's: in an instance of its own, or in one that is for calls like it.
fn run(shared: &Shared, work: &Work, request: &CallRequest<'_>) -> CallReport {
    let Shared { engine, residents, .. } = shared;
    let Some(home) = Home::of(&work.execution, work.limits.memory_bytes_max) else {
        return engine.run(request);
    };
    let (lent, resident) = residents.take(home);
    let (report, left) = match resident {
        Some(resident) => engine.run_again(resident, request),
        None => engine.run_resident(request),
    };
    if let Some(resident) = left {
        lent.keep(resident);
    }
    report
}

/// What a call takes in.
struct Inputs {
    /// The objects behind the arguments that are keys, in their order.
    given: Vec<Object>,
    /// Those that it reads piece by piece, and its result if it writes that so.
    objects: Option<Arc<Objects>>,
}

/// Finds the inputs of a call; those that are spilled are read back here, where only this slot waits for
/// that. Else those that cannot be had.
fn load_inputs(shared: &Shared, work: &Work) -> Result<Inputs, Vec<Key>> {
    let Execution { key, task, args, .. } = &work.execution;
    let (mut given, mut read, mut lost) = (Vec::new(), BTreeMap::new(), Vec::new());
    for (position, arg) in (0..).zip(args) {
        let lazy = task.lazy.contains(&position);
        let found = match arg {
            Arg::Value(value) if lazy => {
                read.insert(position, objects::Argument::Value(value.clone()));
                continue;
            }
            Arg::Value(_) => continue,
            Arg::Key(input) if lazy => shared.store.ranges(input).map(|reader| {
                read.insert(position, objects::Argument::Object(*input, reader));
            }),
            Arg::Key(input) => shared.store.load(input).map(|object| given.push(object)),
        };
        let (Err(error), Arg::Key(input)) = (found, arg) else { continue };
        match error {
            // Freed with its call, which nobody wants any more.
            LoadError::Missing => tracing::debug!(key = %input, %error, "an input is gone"),
            _ => tracing::warn!(key = %input, %error, "an input cannot be read"),
        }
        lost.push(*input);
    }
    if !lost.is_empty() {
        return Err(lost);
    }
    let objects = work
        .bundle
        .uses_objects()
        .then(|| Arc::new(Objects::new(&shared.store, *key, work.limits.written_bytes_max, read)));
    Ok(Inputs { given, objects })
}

impl Done {
    /// It never began.
    fn without(execution: &Execution, failure: Failure, actor: Option<Actor>) -> Self {
        Self {
            key: execution.key,
            attempt: execution.attempt,
            outcome: Err(failure),
            lost: Vec::new(),
            spent: Spent::default(),
            output: String::new(),
            instance: execution.instance,
            actor,
        }
    }
}
