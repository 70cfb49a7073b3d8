//! The grid through `wit/grid.wit`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use super::{ChildFailure, Error};
use crate::bindings::grid::task::grid as wit;
use crate::bindings::grid::task::types;
use crate::call::{ArgNode, CallNode};
use crate::value::{Codec, Value};

/// A key as text.
pub(crate) type Key = String;

thread_local! {
    /// The bundle that this is: its calls need no name.
    static OWN_BUNDLE: Cell<&'static str> = const { Cell::new("") };
}

pub(crate) fn set_own_bundle(name: &'static str) {
    OWN_BUNDLE.set(name);
}

pub(super) fn submit(calls: &[Arc<CallNode>]) -> Result<Vec<Key>, Error> {
    let mut plan = Plan::default();
    let wanted: Vec<_> = calls.iter().map(|call| plan.add_tree(call)).collect::<Result<_, _>>()?;
    wit::submit(&plan.calls, &wanted).map_err(Error::from)
}

/// A tree of calls as a list, inputs before their readers.
#[derive(Default)]
struct Plan {
    calls: Vec<wit::Call>,
    /// Positions of nodes, by their address: a node at two places is one call.
    positions: HashMap<*const CallNode, u32>,
}

impl Plan {
    fn add_tree(&mut self, root: &Arc<CallNode>) -> Result<u32, Error> {
        // Depth first with a list of its own: a chain may be longer than the stack.
        let mut stack = vec![(Arc::clone(root), false)];
        while let Some((node, inputs_done)) = stack.pop() {
            if self.positions.contains_key(&Arc::as_ptr(&node)) {
                continue;
            }
            if inputs_done {
                let call = self.call(&node)?;
                let position = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
                self.calls.push(call);
                self.positions.insert(Arc::as_ptr(&node), position);
                continue;
            }
            let inputs = node.args.iter().rev().filter_map(|arg| match arg {
                ArgNode::Call(input) => Some((Arc::clone(input), false)),
                ArgNode::Value { .. } | ArgNode::Key(_) | ArgNode::Unencodable { .. } => None,
            });
            let inputs: Vec<_> = inputs.collect();
            stack.push((node, true));
            stack.extend(inputs);
        }
        Ok(self.positions[&Arc::as_ptr(root)])
    }

    fn call(&self, node: &CallNode) -> Result<wit::Call, Error> {
        let argument = |arg: &ArgNode| match arg {
            ArgNode::Value { codec, bytes } => Ok(wit::Argument::Value(types::Value {
                codec: codec_of(*codec),
                bytes: bytes.clone(),
            })),
            ArgNode::Call(input) => Ok(wit::Argument::Call(self.positions[&Arc::as_ptr(input)])),
            ArgNode::Key(key) => Ok(wit::Argument::Key(text_of(key))),
            ArgNode::Unencodable { message } => Err(Error::Value(format!(
                "an argument of `{}` cannot be encoded: {message}",
                node.task
            ))),
        };
        let options = &node.options;
        let timeout_ms =
            |timeout: std::time::Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(wit::Call {
            bundle: (node.bundle != OWN_BUNDLE.get()).then(|| node.bundle.to_owned()),
            task: node.task.to_owned(),
            arguments: node.args.iter().map(argument).collect::<Result<_, _>>()?,
            pure: node.pure,
            retries: options.retries,
            memory_bytes: options.memory_bytes,
            timeout_ms: options.timeout.map(timeout_ms),
            priority: options.priority,
            workers: options.workers.clone(),
            workers_preferred: options.workers_preferred,
            resources: options.resources.clone(),
        })
    }
}

fn codec_of(codec: Codec) -> types::Codec {
    match codec {
        Codec::Msgpack => types::Codec::Msgpack,
        Codec::Raw => types::Codec::Raw,
        Codec::Arrow => types::Codec::Arrow,
    }
}

fn text_of(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn argument(key: &Key) -> ArgNode {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(key.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
        *byte = u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap_or(0);
    }
    ArgNode::Key(bytes)
}

pub(super) fn fetch(key: &Key) -> Result<Value, Error> {
    Ok(value_back(wit::fetch(key)?))
}

/// As the contract has it.
pub(crate) fn value_out(Value { codec, bytes }: Value) -> types::Value {
    types::Value { codec: codec_of(codec), bytes }
}

/// As this crate has it.
pub(crate) fn value_back(types::Value { codec, bytes }: types::Value) -> Value {
    let codec = match codec {
        types::Codec::Msgpack => Codec::Msgpack,
        types::Codec::Raw => Codec::Raw,
        types::Codec::Arrow => Codec::Arrow,
    };
    Value { codec, bytes }
}

pub(super) fn wait_all<'a>(keys: impl Iterator<Item = &'a Key>) -> Result<(), Error> {
    wit::wait_all(&keys.cloned().collect::<Vec<_>>()).map_err(Error::from)
}

pub(super) fn wait_any<'a>(keys: impl Iterator<Item = &'a Key>) -> Result<usize, Error> {
    let position = wit::wait_any(&keys.cloned().collect::<Vec<_>>())?;
    Ok(position as usize)
}

pub(super) fn release(key: &Key) {
    wit::release(std::slice::from_ref(key));
}

pub(super) fn reschedule() -> ! {
    wit::reschedule();
    unreachable!("the host ends the attempt");
}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::Failed(wit::Failure { kind, message, causes, task }) => {
                Self::Failed(ChildFailure { kind, message, causes, task })
            }
            wit::Error::Refused(message) => Self::Refused(message),
            wit::Error::OverLimit(message) => Self::OverLimit(message),
            wit::Error::Unavailable(message) => Self::Unavailable(message),
        }
    }
}
