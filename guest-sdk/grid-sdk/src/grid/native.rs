//! The twin for native runs: calls are functions, and run when they are submitted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ChildFailure, Error};
use crate::call::{ArgNode, CallNode};
use crate::export::Failure;
use crate::value::Value;

/// The number of a call that has run.
pub(crate) type Key = Done;

/// A call that has run. Its result is kept for whoever takes it as an argument.
#[derive(Debug)]
pub(crate) struct Done {
    number: u64,
    result: Result<Value, Error>,
}

/// Results by the number of their call, for arguments.
static RESULTS: Mutex<Option<Results>> = Mutex::new(None);

#[derive(Default)]
struct Results {
    by_number: HashMap<u64, Result<Value, Error>>,
    last: u64,
}

type Ran = HashMap<*const CallNode, Result<Value, Error>>;

fn results() -> MutexGuard<'static, Option<Results>> {
    RESULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn submit(calls: &[Arc<CallNode>]) -> Result<Vec<Key>, Error> {
    let mut ran = Ran::new();
    let mut done = Vec::with_capacity(calls.len());
    for call in calls {
        let result = run_tree(call, &mut ran);
        if let Err(error @ (Error::Value(_) | Error::Unavailable(_))) = &result {
            return Err(error.clone());
        }
        done.push(again(result));
    }
    Ok(done)
}

/// A handle on a call that has run, beside those that there are.
pub(crate) fn again(result: Result<Value, Error>) -> Key {
    let mut results = results();
    let results = results.get_or_insert_default();
    results.last += 1;
    results.by_number.insert(results.last, result.clone());
    Done { number: results.last, result }
}

/// How the call ran.
pub(crate) fn ran(key: &Key) -> Result<Value, Error> {
    key.result.clone()
}

/// Runs a call after those among its arguments, with a list of its own: a chain may be longer than
/// the stack.
fn run_tree(root: &Arc<CallNode>, ran: &mut Ran) -> Result<Value, Error> {
    let mut stack = vec![(Arc::clone(root), false)];
    while let Some((node, inputs_done)) = stack.pop() {
        if ran.contains_key(&Arc::as_ptr(&node)) {
            continue;
        }
        if inputs_done {
            let result = run_one(&node, ran);
            ran.insert(Arc::as_ptr(&node), result);
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
    ran[&Arc::as_ptr(root)].clone()
}

fn run_one(node: &CallNode, ran: &Ran) -> Result<Value, Error> {
    let argument = |arg: &ArgNode| match arg {
        ArgNode::Value { codec, bytes } => Ok(Value { codec: *codec, bytes: bytes.clone() }),
        ArgNode::Call(input) => ran[&Arc::as_ptr(input)].clone(),
        ArgNode::Key(key) => result_of(key),
        ArgNode::Unencodable { message } => Err(Error::Value(format!(
            "an argument of `{}` cannot be encoded: {message}",
            node.task
        ))),
    };
    let arguments = node.args.iter().map(argument).collect::<Result<_, _>>()?;
    let Some(run) = node.native.function() else {
        let message = format!("`{}` is known by name only: it cannot run natively", node.task);
        return Err(Error::Unavailable(message));
    };
    run(arguments).map_err(|failure| Error::Failed(child_failure(node, failure)))
}

fn child_failure(node: &CallNode, failure: Failure) -> ChildFailure {
    let (kind, message, causes) = match failure {
        Failure::User(error) => ("user-error", error.message, error.causes),
        Failure::BadArgument { index, parameter, message } => {
            ("bad-argument", format!("argument {index}, `{parameter}`: {message}"), Vec::new())
        }
        Failure::WrongArity(expected) => {
            ("bad-argument", format!("`{}` takes {expected} arguments", node.task), Vec::new())
        }
        Failure::UnknownTask => ("bundle-invalid", "no such task".to_owned(), Vec::new()),
    };
    let task = format!("{}:{}", node.bundle, node.task);
    ChildFailure { kind: kind.to_owned(), message, causes, task }
}

fn result_of(key: &[u8; 32]) -> Result<Value, Error> {
    let (number, rest) = key.split_at(8);
    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
    let known = results().as_ref().and_then(|results| results.by_number.get(&number).cloned());
    match known {
        Some(result) if rest.iter().all(|byte| *byte == 0) => result,
        _ => Err(Error::Refused("an argument's handle is gone, or a client's future".to_owned())),
    }
}

pub(super) fn argument(key: &Key) -> ArgNode {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&key.number.to_le_bytes());
    ArgNode::Key(bytes)
}

pub(super) fn fetch(key: &Key) -> Result<Value, Error> {
    ran(key)
}

pub(super) fn wait_all<'a>(_keys: impl Iterator<Item = &'a Key>) -> Result<(), Error> {
    Ok(())
}

pub(super) fn wait_any<'a>(mut keys: impl Iterator<Item = &'a Key>) -> Result<usize, Error> {
    let none = || Error::Refused("there is nothing to wait for".to_owned());
    keys.next().map(|_| 0).ok_or_else(none)
}

pub(super) fn release(key: &Key) {
    if let Some(results) = results().as_mut() {
        results.by_number.remove(&key.number);
    }
}

pub(super) fn reschedule() -> ! {
    panic!("the task asked to run on another worker, and this is a native run");
}
