//! One call: a store, one instance, one function, one answer. The store is fresh unless it is an actor's
//! or a resident one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grid_proto::{Attempt, Codec, Failure, FailureKind, Key, Limits, Spent, TrapKind, Value};
use wasmtime::component::Instance;
use wasmtime::{Store, UpdateDeadline};

use crate::access::{GridAccess, LocalAccess, ObjectAccess};
use crate::actor::{Actor, Kept};
use crate::bundle::Bundle;
use crate::config;
use crate::contract::{self, RunParams, RunResults, ValueIn};
use crate::engine::Engine;
use crate::limiter::MemoryLimiter;
use crate::output::{Output, plain_text};
use crate::scratch::Scratch;
use crate::state::CallState;
use crate::stop::{CancelToken, Stop};
use crate::{classify, grants, wasi};

/// One argument. Its bytes are copied once, into the guest.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// How to read the bytes.
    pub codec: Codec,
    /// The value.
    pub bytes: &'a [u8],
}

/// What a call may know about itself.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// Its identity.
    pub key: Key,
    /// The task's name.
    pub task: Arc<str>,
    /// Which try.
    pub attempt: Attempt,
    /// The worker's name.
    pub worker: Arc<str>,
}

/// One call.
pub struct CallRequest<'a> {
    /// The code.
    pub bundle: &'a Bundle,
    /// The name under which grants are looked up.
    pub bundle_name: &'a str,
    /// Position of the task in the bundle's description.
    pub task: u32,
    /// The arguments, in order.
    pub arguments: &'a [Argument<'a>],
    /// What it may use.
    pub limits: Limits,
    /// What it may know about itself.
    pub info: CallInfo,
    /// Guest paths and URLs that its task wants to read.
    pub reads: &'a [String],
    /// Guest paths and URLs that its task wants to write.
    pub writes: &'a [String],
    /// Stops it.
    pub cancel: CancelToken,
    /// The grid, for calls of bundles that use it; without it they are told that there is none.
    pub grid: Option<Arc<dyn GridAccess>>,
    /// What its bundle keeps on this worker, for bundles that use it.
    pub local: Option<Arc<dyn LocalAccess>>,
    /// What it reads and writes piece by piece, for bundles that do. Of an argument that is read so,
    /// `arguments` has no bytes; of a result that was written so, the report neither.
    pub objects: Option<Arc<dyn ObjectAccess>>,
    /// Its private directory, if its task asks for one; a call in a fresh instance has one.
    pub scratch: Option<ScratchDir<'a>>,
}

/// The private directory of a call: empty, and gone when the call has ended.
#[derive(Clone, Copy, Debug)]
pub struct ScratchDir<'a> {
    /// Where it is on this machine.
    pub directory: &'a Path,
    /// Bytes that may be written there in all, a file or directory counting as 4 KiB.
    pub bytes_max: u64,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallReport {
    /// Its result, or why there is none. The failure's `site` is left to the caller. A call that
    /// asks to run elsewhere ends as [`FailureKind::Rescheduled`].
    pub outcome: Result<Value, Failure>,
    /// What it used. A failure carries a copy.
    pub spent: Spent,
    /// What it wrote, as people may read it.
    pub output: String,
}

impl<'a> From<&'a Value> for Argument<'a> {
    fn from(value: &'a Value) -> Self {
        Self { codec: value.codec, bytes: &value.bytes }
    }
}

impl Engine {
    /// Runs one call on this thread and returns when it has ended, in whatever way.
    ///
    /// The thread needs 2 MiB of stack and must not be one of an async runtime's. More calls than
    /// the engine has slots wait for each other; that time does not count against the call's
    /// limit.
    #[must_use]
    pub fn run(&self, request: &CallRequest<'_>) -> CallReport {
        self.in_place(request, |stop, output| attempt(self, request, stop, output).0)
    }

    /// As [`Self::run`], and keeps the instance of a call that has a result.
    #[must_use]
    pub fn create(&self, request: &CallRequest<'_>) -> (CallReport, Option<Actor>) {
        let mut made = None;
        let report = self.in_place(request, |stop, output| {
            let place = match self.actors().take() {
                Ok(place) => place,
                Err(failure) => return Attempted::without(failure),
            };
            let (attempted, kept) = attempt(self, request, stop, output);
            if attempted.outcome.is_ok() {
                let output = output.clone();
                made = kept.map(|(sandbox, instance)| Kept { sandbox, instance, output, place });
            }
            attempted
        });
        (report, made.map(Actor::new))
    }

    /// Runs one call in an actor, within the memory that the actor may hold. Gives the actor back
    /// unless the call was its end: stopped after it had begun, by a trap, a limit or somebody.
    #[must_use]
    pub fn run_in(&self, actor: Actor, request: &CallRequest<'_>) -> (CallReport, Option<Actor>) {
        let Kept { sandbox, instance, output, place } = actor.into_inner();
        output.begin(request.limits.output_bytes_max);
        let mut left = None;
        let report = self.measured(request, &output, |stop| {
            if let Err(stopped) = stop.check() {
                left = Some((sandbox, instance));
                return Attempted::without(classify::stopped(stopped, &request.limits));
            }
            let (attempted, kept) = attempt_in(sandbox, instance, request, stop);
            left = kept;
            attempted
        });
        let kept = |(sandbox, instance)| Actor::new(Kept { sandbox, instance, output, place });
        (report, left.map(kept))
    }

    /// A call in an instance of its own, with what it leaves of that.
    pub(crate) fn attempt(
        &self,
        request: &CallRequest<'_>,
        stop: Stop,
        output: &Output,
    ) -> (Attempted, Left) {
        attempt(self, request, stop, output)
    }

    /// Waits for a place in the pool and runs there.
    pub(crate) fn in_place(
        &self,
        request: &CallRequest<'_>,
        run: impl FnOnce(Stop, &Output) -> Attempted,
    ) -> CallReport {
        let output = Output::new(request.limits.output_bytes_max);
        let waiting = Stop::new(Instant::now(), u64::MAX, request.cancel.clone());
        let place = self.gate().enter(&waiting);
        self.measured(request, &output, |stop| match place {
            Err(stopped) => Attempted::without(classify::stopped(stopped, &request.limits)),
            Ok(_place) => run(stop, &output),
        })
    }

    /// Runs and reports.
    fn measured(
        &self,
        request: &CallRequest<'_>,
        output: &Output,
        run: impl FnOnce(Stop) -> Attempted,
    ) -> CallReport {
        let started = Instant::now();
        let stop = Stop::new(started, request.limits.wall_ms_max, request.cancel.clone())
            .with_waiting_time_max(self.waiting_time_max());
        // A fault of the engine itself must not take the slot's thread with it.
        let attempted = catch_unwind(AssertUnwindSafe(|| run(stop)))
            .unwrap_or_else(|_| Attempted::without(engine_fault()));
        let Attempted { mut outcome, peak_memory_bytes, waited } = attempted;
        let written = output.finish();
        let computed = started.elapsed().saturating_sub(waited);
        let wall_us = u64::try_from(computed.as_micros()).unwrap_or(u64::MAX);
        let spent = Spent {
            wall_us,
            peak_memory_bytes,
            output_bytes: written.written_bytes,
            output_dropped_bytes: written.dropped_bytes,
        };
        if let Err(failure) = &mut outcome {
            failure.spent = spent;
            failure.last_lines = written.last_lines;
        }
        CallReport { outcome, spent, output: written.text }
    }
}

/// What is known when the guest has returned or was stopped.
pub(crate) struct Attempted {
    outcome: Result<Value, Failure>,
    peak_memory_bytes: u64,
    waited: Duration,
}

impl Attempted {
    pub(crate) fn has_result(&self) -> bool {
        self.outcome.is_ok()
    }

    /// It never began.
    fn without(failure: Failure) -> Self {
        Self { outcome: Err(failure), peak_memory_bytes: 0, waited: Duration::ZERO }
    }
}

/// An instance that the guest has left of its own will.
pub(crate) type Left = Option<(Sandbox, Instance)>;

/// A call in an instance of its own.
fn attempt(
    engine: &Engine,
    request: &CallRequest<'_>,
    stop: Stop,
    output: &Output,
) -> (Attempted, Left) {
    let limits = &request.limits;
    if let Err(stopped) = stop.check() {
        return (Attempted::without(classify::stopped(stopped, limits)), None);
    }
    let wanted = (request.reads, request.writes);
    let scratch = request.scratch.map(|scratch| scratch.directory);
    let wasi = match grants::open(engine.grants(), request.bundle_name, wanted, scratch, output) {
        Ok(wasi) => wasi,
        Err(failure) => return (Attempted::without(failure), None),
    };
    let memory = MemoryLimiter::new(limits.memory_bytes_max, engine.held_memory().clone());
    let mut state = CallState::new(request.info.clone(), stop, memory, output.clone(), wasi);
    state.scratch = request.scratch.map(|scratch| Scratch::new(scratch.bytes_max));
    begin(&mut state, engine, request);
    let sandbox = Sandbox::new(engine, state, classify::hostcall_bytes_max(limits));
    run_task(sandbox, None, request)
}

/// What a call may ask of others.
fn begin(state: &mut CallState, engine: &Engine, request: &CallRequest<'_>) {
    state.grid.clone_from(&request.grid);
    state.local.clone_from(&request.local);
    state.objects.clone_from(&request.objects);
    let stores = engine.stores().filter(|_| request.bundle.uses_stores());
    state.stores =
        stores.map(|stores| stores.for_call(request.bundle_name, request.reads, request.writes));
}

/// A call in an actor's instance.
fn attempt_in(
    mut sandbox: Sandbox,
    instance: Instance,
    request: &CallRequest<'_>,
    stop: Stop,
) -> (Attempted, Left) {
    let engine = sandbox.engine.clone();
    let state = sandbox.store.data_mut();
    state.begin(request.info.clone(), stop);
    begin(state, &engine, request);
    sandbox.store.set_hostcall_fuel(classify::hostcall_bytes_max(&request.limits));
    sandbox.store.set_epoch_deadline(1);
    run_task(sandbox, Some(instance), request)
}

fn run_task(
    mut sandbox: Sandbox,
    instance: Option<Instance>,
    request: &CallRequest<'_>,
) -> (Attempted, Left) {
    let limits = &request.limits;
    let answer = sandbox.enter(request.bundle, instance, |store, instance| {
        let run = instance.get_typed_func::<RunParams<'_>, RunResults>(
            &mut *store,
            request.bundle.run_export(),
        )?;
        let values: Vec<_> = request.arguments.iter().map(ValueIn::from).collect();
        let (answer,) = run.call(store, (request.task, &values))?;
        Ok((answer, *instance))
    });
    let (outcome, instance) = match answer {
        Ok((Ok(value), instance)) => (accept(value, limits), Some(instance)),
        Ok((Err(failure), instance)) => (Err(refused(failure, request)), Some(instance)),
        Err(error) => {
            let symbols = request.bundle.symbols();
            (Err(classify::failure(&error, &mut sandbox.store, limits, symbols)), None)
        }
    };
    let state = sandbox.store.data_mut();
    // They belong to the call.
    (state.grid, state.local, state.objects, state.stores) = (None, None, None, None);
    let (peak_memory_bytes, waited) = (state.memory.peak_bytes(), state.stop.waited());
    let attempted = Attempted { outcome, peak_memory_bytes, waited };
    (attempted, instance.map(|instance| (sandbox, instance)))
}

/// A store with all its limits.
pub(crate) struct Sandbox {
    pub(crate) store: Store<CallState>,
    engine: Engine,
}

impl Sandbox {
    pub(crate) fn new(engine: &Engine, state: CallState, hostcall_bytes_max: usize) -> Self {
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(hostcall_bytes_max);
        store.set_max_component_handles(config::HANDLES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().stop.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        Self { store, engine: engine.clone() }
    }

    /// Makes an instance, unless there is one, and lets `body` call it, while the ticker watches.
    pub(crate) fn enter<R>(
        &mut self,
        bundle: &Bundle,
        instance: Option<Instance>,
        body: impl FnOnce(&mut Store<CallState>, &Instance) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        let _running = self.engine.ticker().running();
        wasi::with_runtime(|runtime| {
            let _entered = runtime.enter();
            let instance = match instance {
                Some(instance) => instance,
                None => bundle.instantiate(&mut self.store)?,
            };
            body(&mut self.store, &instance)
        })
    }
}

fn accept(value: contract::ValueOut, limits: &Limits) -> Result<Value, Failure> {
    let size_bytes = value.bytes.len() as u64;
    if size_bytes > limits.result_bytes_max {
        let (kind, message) = classify::too_large(limits.result_bytes_max, size_bytes);
        return Err(Failure::new(kind, message));
    }
    Ok(Value { codec: value.codec.into(), bytes: value.bytes })
}

/// The guest's own answer that there is no result.
fn refused(failure: contract::Failure, request: &CallRequest<'_>) -> Failure {
    match failure {
        contract::Failure::User(error) => {
            let mut failure = Failure::new(FailureKind::User, bounded(&error.message));
            let causes = error.causes.iter().take(config::CAUSES_MAX);
            failure.causes = causes.map(|cause| bounded(cause)).collect();
            failure
        }
        contract::Failure::BadArgument(bad) => {
            let kind = FailureKind::BadArgument { index: bad.index };
            let (parameter, message) = (bounded(&bad.parameter), bounded(&bad.message));
            Failure::new(kind, format!("argument {}, `{parameter}`: {message}", bad.index))
        }
        contract::Failure::WrongArity(expected) => {
            let given = u32::try_from(request.arguments.len()).unwrap_or(u32::MAX);
            let kind = FailureKind::BadArgument { index: given.min(expected) };
            let task = &request.info.task;
            Failure::new(kind, format!("`{task}` takes {expected} arguments, not {given}"))
        }
        contract::Failure::UnknownTask => {
            let message = format!("the bundle has no task number {}", request.task);
            Failure::new(FailureKind::BundleInvalid, message)
        }
    }
}

fn engine_fault() -> Failure {
    let kind = FailureKind::Trap { trap: TrapKind::Other };
    Failure::new(
        kind,
        "the sandbox engine failed while it ran the call; the worker's log says where",
    )
}

/// A guest's text, cut at a bound and safe to show.
pub(crate) fn bounded(text: &str) -> String {
    let cut = text.floor_char_boundary(config::TEXT_BYTES_MAX);
    plain_text(&text.as_bytes()[..cut])
}

impl<'a> From<&Argument<'a>> for ValueIn<'a> {
    fn from(argument: &Argument<'a>) -> Self {
        Self { codec: argument.codec.into(), bytes: argument.bytes }
    }
}
