//! One call: a fresh store, one instance, one function, one answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grid_proto::{Attempt, Codec, Failure, FailureKind, Key, Limits, Spent, TrapKind, Value};
use wasmtime::component::Instance;
use wasmtime::{Store, UpdateDeadline};

use crate::access::GridAccess;
use crate::bundle::Bundle;
use crate::config;
use crate::contract::{self, RunParams, RunResults, ValueIn};
use crate::engine::Engine;
use crate::output::{Output, plain_text};
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
    /// Guest paths that its task wants to read.
    pub reads: &'a [String],
    /// Guest paths that its task wants to write.
    pub writes: &'a [String],
    /// Stops it.
    pub cancel: CancelToken,
    /// The grid, for calls of bundles that use it; without it they are told that there is none.
    pub grid: Option<Arc<dyn GridAccess>>,
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
        let limits = &request.limits;
        let output = Output::new(limits.output_bytes_max);
        let (mut peak_memory_bytes, mut waited) = (0, Duration::ZERO);
        let waiting = Stop::new(Instant::now(), u64::MAX, request.cancel.clone());
        let place = self.gate().enter(&waiting);
        let started = Instant::now();
        let mut outcome = match place {
            Err(stopped) => Err(classify::stopped(stopped, limits)),
            Ok(_place) => {
                let stop = Stop::new(started, limits.wall_ms_max, request.cancel.clone())
                    .with_waiting_time_max(self.waiting_time_max());
                let run =
                    || attempt(self, request, stop, &output, (&mut peak_memory_bytes, &mut waited));
                // A fault of the engine itself must not take the slot's thread with it.
                catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(engine_fault()))
            }
        };
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

fn attempt(
    engine: &Engine,
    request: &CallRequest<'_>,
    stop: Stop,
    output: &Output,
    (peak_memory_bytes, waited): (&mut u64, &mut Duration),
) -> Result<Value, Failure> {
    let limits = &request.limits;
    stop.check().map_err(|stopped| classify::stopped(stopped, limits))?;
    let wanted = (request.reads, request.writes);
    let wasi = grants::open(engine.grants(), request.bundle_name, wanted, output)?;
    let mut state = CallState::new(request.info.clone(), stop, limits, output.clone(), wasi);
    state.grid.clone_from(&request.grid);
    let mut sandbox = Sandbox::new(engine, state, classify::hostcall_bytes_max(limits));
    let answer = sandbox.enter(request.bundle, |store, instance| {
        let run = instance.get_typed_func::<RunParams<'_>, RunResults>(
            &mut *store,
            request.bundle.run_export(),
        )?;
        let values: Vec<_> = request.arguments.iter().map(ValueIn::from).collect();
        run.call(store, (request.task, &values))
    });
    let outcome = match answer {
        Ok((Ok(value),)) => accept(value, limits),
        Ok((Err(failure),)) => Err(refused(failure, request)),
        Err(error) => {
            Err(classify::failure(&error, &mut sandbox.store, limits, request.bundle.symbols()))
        }
    };
    *peak_memory_bytes = sandbox.store.data().memory.peak_bytes();
    *waited = sandbox.store.data().stop.waited();
    outcome
}

/// A store with all its limits.
pub(crate) struct Sandbox<'a> {
    pub(crate) store: Store<CallState>,
    engine: &'a Engine,
}

impl<'a> Sandbox<'a> {
    pub(crate) fn new(engine: &'a Engine, state: CallState, hostcall_bytes_max: usize) -> Self {
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(hostcall_bytes_max);
        store.set_max_component_handles(config::HANDLES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            store.data().stop.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        Self { store, engine }
    }

    /// Makes an instance and lets `body` call it, while the ticker watches.
    pub(crate) fn enter<R>(
        &mut self,
        bundle: &Bundle,
        body: impl FnOnce(&mut Store<CallState>, &Instance) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        let _running = self.engine.ticker().running();
        wasi::with_runtime(|runtime| {
            let _entered = runtime.enter();
            let instance = bundle.instantiate(&mut self.store)?;
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
