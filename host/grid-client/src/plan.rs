//! From trees of calls to submissions: flat lists, inputs before their readers, keys computed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use grid_proto::message::Submission;
use grid_proto::order::Graph;
use grid_proto::{
    Amount, Arg, BundleHash, CallOptions, CallSpec, Instance, Key, Pins, TaskLimits, TaskRef,
    Value, bounds, call,
};
use grid_sdk::{ArgNode, CallNode};

use crate::error::ClientError;
use crate::value::codec_of;

/// A call by names and encoded values, for programs that learn tasks at run time.
#[derive(Clone, Debug)]
pub struct RawCall {
    /// The bundle.
    pub bundle: BundleHash,
    /// The task.
    pub task: String,
    /// Equal arguments give equal results.
    pub pure: bool,
    /// Values, or keys of calls that the grid knows.
    pub args: Vec<Arg>,
    /// What the caller says about the call.
    pub options: CallOptions,
}

/// A submission under construction.
#[derive(Default)]
pub(crate) struct Plan {
    tasks: Vec<TaskRef>,
    task_numbers: HashMap<TaskRef, u32>,
    calls: Vec<CallSpec>,
    /// Where each key's call is in `calls`.
    known: HashMap<Key, u32>,
    /// Keys of nodes, by their address: a node at two places is one call. A number, so that whoever
    /// submits may go from thread to thread.
    nodes: HashMap<usize, Key>,
}

// The addresses are only compared, never followed.
impl Plan {
    /// Adds a call; gives its key.
    pub(crate) fn add_raw(&mut self, raw: RawCall) -> Result<Key, ClientError> {
        bounds::check_call(&raw.task, &raw.args, &raw.options)?;
        let key = match raw.pure {
            true => call::pure_key(raw.bundle, &raw.task, &raw.args),
            false => random_key()?,
        };
        if let Entry::Vacant(place) = self.known.entry(key) {
            place.insert(u32::try_from(self.calls.len()).unwrap_or(u32::MAX));
            let task = self.task_number(TaskRef { bundle: raw.bundle, task: raw.task });
            self.calls.push(CallSpec { key, task, args: raw.args, options: raw.options });
        }
        Ok(key)
    }

    /// Adds a tree of calls; gives the root's key. `bundle` finds the hash of a bundle's name,
    /// `persisted` the key of a node that the grid has and keeps.
    pub(crate) fn add_tree(
        &mut self,
        root: &Arc<CallNode>,
        bundle: &impl Fn(&str) -> Result<BundleHash, ClientError>,
        persisted: &impl Fn(&Arc<CallNode>) -> Option<Key>,
    ) -> Result<Key, ClientError> {
        // Depth first with a list of its own: a chain may be longer than the stack.
        let mut stack = vec![(Arc::clone(root), false)];
        while let Some((node, inputs_done)) = stack.pop() {
            if self.nodes.contains_key(&Arc::as_ptr(&node).addr()) {
                continue;
            }
            if !inputs_done && let Some(key) = persisted(&node) {
                self.nodes.insert(Arc::as_ptr(&node).addr(), key);
                continue;
            }
            if inputs_done {
                let key = self.add_node(&node, bundle)?;
                self.nodes.insert(Arc::as_ptr(&node).addr(), key);
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
        Ok(self.nodes[&Arc::as_ptr(root).addr()])
    }

    fn add_node(
        &mut self,
        node: &CallNode,
        bundle: &impl Fn(&str) -> Result<BundleHash, ClientError>,
    ) -> Result<Key, ClientError> {
        let arg = |arg: &ArgNode| match arg {
            ArgNode::Value { codec, bytes } => {
                Ok(Arg::Value(Value { codec: codec_of(*codec), bytes: bytes.clone() }))
            }
            ArgNode::Call(input) => Ok(Arg::Key(self.nodes[&Arc::as_ptr(input).addr()])),
            ArgNode::Key(key) => Ok(Arg::Key(Key(*key))),
            ArgNode::Unencodable { message } => Err(ClientError::Value(format!(
                "an argument of `{}` cannot be encoded: {message}",
                node.task
            ))),
        };
        let args = node.args.iter().map(arg).collect::<Result<_, _>>()?;
        let timeout_ms = node
            .options
            .timeout
            .map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let pins = (!node.options.workers.is_empty()).then(|| Pins {
            any_of: node.options.workers.clone(),
            prefer: node.options.workers_preferred,
        });
        let amount = |(name, units): &(String, f64)| {
            let amount = Amount::from_units(*units).ok_or_else(|| {
                ClientError::Value(format!(
                    "{units} of `{name}`: a number from 0 to 1e9 is expected"
                ))
            });
            Ok::<_, ClientError>((name.clone(), amount?))
        };
        let options = CallOptions {
            priority: node.options.priority,
            retries: node.options.retries,
            limits: TaskLimits { memory_bytes: node.options.memory_bytes, timeout_ms },
            pins,
            resources: node.options.resources.iter().map(amount).collect::<Result<_, _>>()?,
            instance: Instance::Fresh,
        };
        let (bundle, task) = (bundle(node.bundle)?, node.task.to_owned());
        self.add_raw(RawCall { bundle, task, pure: node.pure, args, options })
    }

    /// A call that was added runs in this instance of its bundle.
    pub(crate) fn set_instance(&mut self, key: Key, instance: Instance) {
        if let Some(call) = self.known.get(&key).and_then(|at| self.calls.get_mut(*at as usize)) {
            call.options.instance = instance;
        }
    }

    fn task_number(&mut self, task: TaskRef) -> u32 {
        if let Some(number) = self.task_numbers.get(&task) {
            return *number;
        }
        let number = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        self.tasks.push(task.clone());
        self.task_numbers.insert(task, number);
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// The calls in the order in which they should run.
    fn in_order(&mut self) -> Vec<CallSpec> {
        let calls = std::mem::take(&mut self.calls);
        let mut graph = Graph::new();
        for call in &calls {
            let inputs = call.args.iter().filter_map(|arg| match arg {
                Arg::Key(key) => self.known.get(key).copied(),
                Arg::Value(_) => None,
            });
            graph.push(inputs);
        }
        if graph.is_flat() {
            return calls;
        }
        let mut calls: Vec<_> = calls.into_iter().map(Some).collect();
        graph.order().into_iter().filter_map(|call| calls[call as usize].take()).collect()
    }

    /// The pieces of the submission.
    pub(crate) fn into_pieces(mut self, wanted: Vec<Key>, detached: Vec<Key>) -> Vec<Submission> {
        let calls = self.in_order();
        let tasks = self.tasks;
        Submission { tasks, calls, wanted, detached, ..Submission::default() }.into_pieces()
    }
}

fn random_key() -> Result<Key, ClientError> {
    let mut key = Key([0; 32]);
    getrandom::fill(&mut key.0)
        .map_err(|error| ClientError::Value(format!("the system gives no randomness: {error}")))?;
    Ok(key)
}
