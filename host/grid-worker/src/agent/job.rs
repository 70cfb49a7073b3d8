//! A call in a worker's hands.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::message::TaskDefinition;
use grid_proto::{Arg, Attempt, ClientId, Instance, Key, Priority, TaskId, TaskLimits};

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) attempt: Attempt,
    pub(crate) task: TaskId,
    pub(crate) definition: Arc<TaskDefinition>,
    pub(crate) priority: Priority,
    /// Moves to the slot when the call is dispatched.
    pub(crate) args: Vec<Arg>,
    pub(crate) limits: TaskLimits,
    pub(crate) instance: Instance,
    pub(crate) client: Option<ClientId>,
    pub(crate) needs: Needs,
}

/// What a call waits for.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) inputs: BTreeSet<Key>,
    pub(crate) bundle: bool,
    /// Another method is in the instance.
    pub(crate) actor: bool,
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && !self.bundle && !self.actor
    }
}
