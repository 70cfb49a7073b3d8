//! `wit/grid.wit`: calls that a running call submits, and waits for.

use std::sync::Arc;

use grid_proto::{Amount, CallOptions, Key, Pins, TaskLimits, Value};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::access::{Answer, GridAccess, GridError, NestedArg, NestedCall};
use crate::contract::{Codec, ValueOut};
use crate::state::CallState;
use crate::stop::Rescheduled;
use crate::wasi::with_runtime;

/// Bytes of a bundle's or a task's name: longer than any that there is.
const NAME_BYTES_MAX: usize = 512;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut grid = linker.instance("grid:task/grid@0.1.0")?;
    grid.func_wrap("submit", |store, (calls, wanted): (Vec<Call>, Vec<u32>)| {
        let calls = calls.into_iter().map(NestedCall::try_from).collect::<Result<Vec<_>, _>>();
        let keys = match calls {
            Ok(calls) => ask(store, |grid| grid.submit(calls, wanted))?,
            Err(error) => Err(error),
        };
        Ok((keys.map(|keys| keys.iter().map(Key::to_string).collect::<Vec<_>>()),))
    })?;
    grid.func_wrap("wait-all", |store, (keys,): (Vec<String>,)| {
        let waited = match parse(&keys) {
            Ok(keys) => ask(store, |grid| grid.wait(keys, true))?.map(drop),
            Err(error) => Err(error),
        };
        Ok((waited,))
    })?;
    grid.func_wrap("wait-any", |store, (keys,): (Vec<String>,)| {
        let first = match parse(&keys) {
            Ok(keys) => ask(store, |grid| grid.wait(keys, false))?,
            Err(error) => Err(error),
        };
        Ok((first,))
    })?;
    grid.func_wrap("fetch", |store, (key,): (String,)| {
        let value = match parse(&[key]) {
            Ok(keys) => ask(store, |grid| grid.fetch(keys[0]))?.map(ValueBack::from),
            Err(error) => Err(error),
        };
        Ok((value,))
    })?;
    grid.func_wrap("release", |store, (keys,): (Vec<String>,)| {
        if let (Some(grid), Ok(keys)) = (&store.data().grid, parse(&keys)) {
            grid.release(keys);
        }
        Ok(())
    })?;
    grid.func_wrap("reschedule", |_, (): ()| -> wasmtime::Result<()> { Err(Rescheduled.into()) })
}

/// Asks the grid and waits for its answer on this thread. The outer error stops the call.
pub(super) fn ask<T, E: From<GridError>>(
    mut store: StoreContextMut<'_, CallState>,
    ask: impl FnOnce(&dyn GridAccess) -> Answer<'_, T>,
) -> wasmtime::Result<Result<T, E>> {
    let state = store.data_mut();
    let Some(grid) = state.grid.as_ref().map(Arc::clone) else {
        let message = "there is no grid here: bundles are described, measured and tested without";
        return Ok(Err(GridError::Unavailable(message.to_owned()).into()));
    };
    let answer = with_runtime(|runtime| {
        runtime.block_on(Box::pin(state.stop.wait_aside(ask(grid.as_ref()))))
    })?;
    Ok(answer.map_err(E::from))
}

fn parse(keys: &[String]) -> Result<Vec<Key>, Error> {
    let parse = |key: &String| key.parse::<Key>();
    keys.iter().map(parse).collect::<Result<_, _>>().map_err(|_| {
        Error::Refused("a key is 64 hexadecimal digits, as `submit` gave them".to_owned())
    })
}

/// `grid.argument`.
#[derive(ComponentType, Lift)]
#[component(variant)]
enum Argument {
    #[component(name = "value")]
    Value(ValueOut),
    #[component(name = "key")]
    Key(String),
    #[component(name = "call")]
    Call(u32),
}

/// `grid.call`.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Call {
    bundle: Option<String>,
    task: String,
    arguments: Vec<Argument>,
    pure: bool,
    retries: Option<u32>,
    #[component(name = "memory-bytes")]
    memory_bytes: Option<u64>,
    #[component(name = "timeout-ms")]
    timeout_ms: Option<u64>,
    priority: i32,
    workers: Vec<String>,
    #[component(name = "workers-preferred")]
    workers_preferred: bool,
    resources: Vec<(String, f64)>,
}

/// `types.value` on its way back in.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct ValueBack {
    codec: Codec,
    bytes: Vec<u8>,
}

/// `grid.failure`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct Failure {
    kind: String,
    message: String,
    causes: Vec<String>,
    task: String,
}

/// `grid.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "failed")]
    Failed(Failure),
    #[component(name = "refused")]
    Refused(String),
    #[component(name = "over-limit")]
    OverLimit(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

impl TryFrom<Call> for NestedCall {
    type Error = Error;

    fn try_from(call: Call) -> Result<Self, Error> {
        let names = call.bundle.iter().chain([&call.task]);
        if names.map(String::len).max().unwrap_or(0) > NAME_BYTES_MAX {
            let message = format!("a name is longer than {NAME_BYTES_MAX} bytes");
            return Err(Error::Refused(message));
        }
        let argument = |argument| {
            Ok::<_, Error>(match argument {
                Argument::Value(ValueOut { codec, bytes }) => {
                    NestedArg::Value(Value { codec: codec.into(), bytes })
                }
                Argument::Key(key) => NestedArg::Key(parse(&[key])?[0]),
                Argument::Call(position) => NestedArg::Call(position),
            })
        };
        let amount = |(name, units): (String, f64)| match Amount::from_units(units) {
            Some(amount) => Ok((name, amount)),
            None => Err(Error::Refused(format!(
                "{units} of `{name}`: a number from 0 to 1e9 is expected"
            ))),
        };
        let resources = call.resources.into_iter().map(amount).collect::<Result<_, _>>()?;
        let pins = (!call.workers.is_empty())
            .then_some(Pins { any_of: call.workers, prefer: call.workers_preferred });
        Ok(Self {
            bundle: call.bundle,
            task: call.task,
            args: call.arguments.into_iter().map(argument).collect::<Result<_, _>>()?,
            pure: call.pure,
            options: CallOptions {
                priority: call.priority,
                retries: call.retries,
                limits: TaskLimits { memory_bytes: call.memory_bytes, timeout_ms: call.timeout_ms },
                pins,
                resources,
                ..CallOptions::default()
            },
        })
    }
}

impl From<Value> for ValueBack {
    fn from(value: Value) -> Self {
        Self { codec: value.codec.into(), bytes: value.bytes }
    }
}

impl From<GridError> for Error {
    fn from(error: GridError) -> Self {
        match error {
            GridError::Failed(failure) => Self::Failed(Failure {
                kind: failure.kind.label().to_owned(),
                message: failure.message,
                causes: failure.causes,
                task: failure.site.map(|site| site.task).unwrap_or_default(),
            }),
            GridError::Refused(message) => Self::Refused(message),
            GridError::OverLimit(message) => Self::OverLimit(message),
            GridError::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
