//! Calls that have not run: a task, its arguments, and what the caller says about them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::native::Native;
use crate::value::{Codec, IntoValue, Raw, Value};

/// A call of a task whose result is a `T`: a node of a graph that a client submits.
///
/// A clone, and a reference given as an argument, are the same call: it runs once. The methods that
/// change a call leave clones of it as they were.
pub struct Call<T> {
    node: Arc<CallNode>,
    output: PhantomData<fn() -> T>,
}

/// What a call is, without its type.
#[derive(Clone, PartialEq, Debug)]
pub struct CallNode {
    /// The name of the crate that defines the task.
    pub bundle: &'static str,
    /// The task's name.
    pub task: &'static str,
    /// Equal arguments give equal results; the author's word unless [`Call::impure`] was called.
    pub pure: bool,
    /// Its arguments, in order.
    pub args: Vec<ArgNode>,
    /// What the caller says about it.
    pub options: CallOptions,
    /// The function itself, where it is at hand.
    #[doc(hidden)]
    pub native: Native,
}

/// An argument of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum ArgNode {
    /// The value itself.
    Value {
        /// How to read `bytes`.
        codec: Codec,
        /// The encoded value.
        bytes: Vec<u8>,
    },
    /// The result of another call. The same `Arc` at several places is one call.
    Call(Arc<CallNode>),
    /// The result of a call that a grid already knows, or scattered data.
    Key([u8; 32]),
    /// A value whose `Serialize` failed: a client refuses to submit it, with this message.
    Unencodable {
        /// What the type's `Serialize` said.
        message: String,
    },
}

/// What a caller says about one call; `None` leaves it to the task's author.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct CallOptions {
    /// Higher runs first.
    pub priority: i32,
    /// How often a failed call is tried again.
    pub retries: Option<u32>,
    /// Wall time of one attempt.
    pub timeout: Option<Duration>,
    /// Linear memories and tables of the sandbox together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Names of workers, hosts or labels, of which its worker must have one; any worker if empty.
    pub workers: Vec<String>,
    /// Elsewhere if there is no such worker now.
    pub workers_preferred: bool,
    /// Abstract resources of its worker that it takes while it runs.
    pub resources: Vec<(String, f64)>,
}

impl<T> Call<T> {
    /// A call from its parts. It is up to the caller that the task's result is a `T`.
    #[must_use]
    pub fn from_node(node: CallNode) -> Self {
        Self { node: Arc::new(node), output: PhantomData }
    }

    /// The call without its type.
    #[must_use]
    pub fn node(&self) -> &Arc<CallNode> {
        &self.node
    }

    /// The call without its type.
    #[must_use]
    pub fn into_node(self) -> Arc<CallNode> {
        self.node
    }

    /// Higher runs first; 0 is the default.
    /// A call that the grid knows already keeps the options of whoever submitted it first.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        self.with(|node| node.options.priority = priority)
    }

    /// How often the call is tried again when it fails.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.with(|node| node.options.retries = Some(retries))
    }

    /// Wall time of one attempt; the operator's bound wins.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|node| node.options.timeout = Some(timeout))
    }

    /// Memory of the sandbox, in bytes; the operator's bound wins.
    #[must_use]
    pub fn memory_bytes(self, memory_bytes: u64) -> Self {
        self.with(|node| node.options.memory_bytes = Some(memory_bytes))
    }

    /// Runs only on a worker of this name, host or label; of several, on any of them. It waits for
    /// one if there is none.
    #[must_use]
    pub fn on(self, name: &str) -> Self {
        self.with(|node| {
            node.options.workers.push(name.to_owned());
            node.options.workers_preferred = false;
        })
    }

    /// Runs on a worker of this name, host or label, or elsewhere if there is none.
    #[must_use]
    pub fn prefer(self, name: &str) -> Self {
        self.with(|node| {
            node.options.workers.push(name.to_owned());
            node.options.workers_preferred = true;
        })
    }

    /// Takes so much of an abstract resource of its worker while it runs, for instance `("GPU", 1.0)`.
    #[must_use]
    pub fn resource(self, name: &str, amount: f64) -> Self {
        self.with(|node| node.options.resources.push((name.to_owned(), amount)))
    }

    /// Runs even if an equal call has a result, and shares its own with nobody.
    #[must_use]
    pub fn impure(self) -> Self {
        self.with(|node| node.pure = false)
    }

    fn with(mut self, change: impl FnOnce(&mut CallNode)) -> Self {
        change(Arc::make_mut(&mut self.node));
        self
    }
}

impl<T> Clone for Call<T> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node), output: PhantomData }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Call").field(&self.node).finish()
    }
}

/// What a parameter of type `T` accepts: a `T`, a [`Call`] that gives one, a reference to such a
/// call, or a client's future of one. Texts are also accepted as `&str`, raw bytes as `Vec<u8>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given for a parameter of type `{T}`",
    label = "expected a `{T}`, a call or a future that gives one"
)]
pub trait IntoArg<T> {
    /// The argument as a part of a call.
    fn into_arg(self) -> ArgNode;
}

impl<T: IntoValue> IntoArg<T> for T {
    fn into_arg(self) -> ArgNode {
        match self.into_value() {
            Ok(Value { codec, bytes }) => ArgNode::Value { codec, bytes },
            Err(error) => ArgNode::Unencodable { message: error.to_string() },
        }
    }
}

impl<T> IntoArg<T> for Call<T> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Call(self.node)
    }
}

impl<T> IntoArg<T> for &Call<T> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Call(Arc::clone(&self.node))
    }
}

impl IntoArg<String> for &str {
    fn into_arg(self) -> ArgNode {
        self.to_owned().into_arg()
    }
}

impl IntoArg<Raw> for Vec<u8> {
    fn into_arg(self) -> ArgNode {
        ArgNode::Value { codec: Codec::Raw, bytes: self }
    }
}
