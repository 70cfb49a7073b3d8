//! One call: a node of the graph, and its state.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::{
    Arg, Attempt, ClientId, Death, Failure, Key, ObjectMeta, Priority, TaskId, TaskLimits, WorkerId,
};
use smallvec::SmallVec;

/// A call's place in the arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct CallId(pub(crate) u32);

/// A node of the graph.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) task: TaskId,
    pub(crate) priority: Priority,
    pub(crate) args: Box<[Arg]>,
    pub(crate) limits: TaskLimits,
    /// Distinct inputs, in the order of their first use.
    pub(crate) dependencies: SmallVec<[CallId; 2]>,
    pub(crate) dependents: BTreeSet<CallId>,
    /// Dependents that are active and so need this call's result.
    pub(crate) active_dependents: u32,
    /// Clients that hold a future on it.
    pub(crate) clients: SmallVec<[ClientId; 2]>,
    pub(crate) attempt: Attempt,
    pub(crate) retries_left: u32,
    pub(crate) deaths: Vec<Death>,
    /// How often it asked to run elsewhere, and where it was then.
    pub(crate) reschedules: u32,
    pub(crate) avoids: Option<WorkerId>,
    pub(crate) state: State,
}

/// Where a call stands; each state carries what only it has.
#[derive(Debug)]
pub(crate) enum State {
    /// Known for its dependents' sake, or about to be forgotten.
    Released,
    /// Some inputs are not in memory.
    Waiting { missing: u32 },
    /// All inputs are in memory; it wants a worker.
    Queued,
    /// A worker has it in hand.
    Processing { worker: WorkerId, executing: bool, expected_us: u64 },
    /// Its result is on these workers.
    Memory { meta: ObjectMeta, holders: SmallVec<[WorkerId; 2]> },
    /// It has no result.
    Erred(Arc<Failure>),
}

impl State {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Waiting { .. } => "waiting",
            Self::Queued => "queued",
            Self::Processing { .. } => "processing",
            Self::Memory { .. } => "memory",
            Self::Erred(_) => "erred",
        }
    }
}

impl Call {
    /// It needs its inputs' results.
    pub(crate) fn is_active(&self) -> bool {
        match self.state {
            State::Waiting { .. } | State::Queued | State::Processing { .. } => true,
            State::Released | State::Memory { .. } | State::Erred(_) => false,
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.clients.is_empty() || self.active_dependents > 0
    }

    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.state, State::Memory { .. })
    }

    pub(crate) fn holders(&self) -> &[WorkerId] {
        match &self.state {
            State::Memory { holders, .. } => holders,
            _ => &[],
        }
    }

    /// Size of the result, 0 while there is none.
    pub(crate) fn size(&self) -> u64 {
        match &self.state {
            State::Memory { meta, .. } => meta.size,
            _ => 0,
        }
    }
}
