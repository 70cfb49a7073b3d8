//! One call: a node of the graph, and its state.

use std::sync::Arc;

use grid_proto::{
    Amount, Arg, Attempt, ClientId, Codec, Death, Failure, Key, ObjectMeta, Pins, Priority, TaskId,
    TaskLimits, Value, WorkerId,
};
use smallvec::SmallVec;

use crate::data::Arrival;
use crate::dependents::Dependents;

/// A call's place in the arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct CallId(pub(crate) u32);

/// A node of the graph. A million of them are held: what few calls need is in [`Wishes`].
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) key: Key,
    pub(crate) task: TaskId,
    pub(crate) priority: Priority,
    pub(crate) args: Box<[Argument]>,
    /// Distinct inputs, in the order of their first use.
    pub(crate) dependencies: SmallVec<[CallId; 2]>,
    pub(crate) dependents: Dependents,
    /// Dependents that are active and so need this call's result.
    pub(crate) active_dependents: u32,
    /// Submissions under way that name it: it is not forgotten, nor its result freed.
    pub(crate) staged: u32,
    /// Clients that hold a future on it.
    pub(crate) clients: SmallVec<[ClientId; 1]>,
    /// Reasons to keep it whatever clients hold, see `kept.rs`; one of them is `detached`.
    pub(crate) kept: u32,
    /// It runs to its end, whoever leaves.
    pub(crate) detached: bool,
    pub(crate) attempt: Attempt,
    pub(crate) wishes: Option<Box<Wishes>>,
    pub(crate) state: State,
}

const _: () = assert!(size_of::<Call>() <= 256, "a million of them");

/// An argument; inputs are named by their position among the call's dependencies.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Argument {
    Value(Codec, Box<[u8]>),
    Input(u32),
}

/// What most callers leave alone, and what few calls meet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) limits: TaskLimits,
    /// What `retries_left` starts with.
    pub(crate) retries: u32,
    pub(crate) retries_left: u32,
    pub(crate) deaths: Vec<Death>,
    /// How often it asked to run elsewhere, and where it was then.
    pub(crate) reschedules: u32,
    pub(crate) avoids: Option<WorkerId>,
    /// It asked so and was given to nobody since.
    pub(crate) moves: bool,
    /// The worker that gave it back last, and how often in a row that was asked to.
    pub(crate) gave_back: Option<(WorkerId, u32)>,
    pub(crate) needs: Needs,
}

/// What a worker must be or have so that a call may run there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Needs {
    /// Any of these names; none for any worker.
    pub(crate) any_of: Vec<String>,
    /// The names are a preference.
    pub(crate) prefer: bool,
    /// Sorted by name.
    pub(crate) resources: Vec<(String, Amount)>,
}

impl Needs {
    pub(crate) fn new(pins: Option<Pins>, mut resources: Vec<(String, Amount)>) -> Self {
        resources.retain(|(_, amount)| *amount > Amount(0));
        resources.sort();
        let Pins { any_of, prefer } = pins.unwrap_or(Pins { any_of: Vec::new(), prefer: false });
        Self { any_of, prefer, resources }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.any_of.is_empty() && self.resources.is_empty()
    }
}

/// Where a call stands; each state carries what only it has.
#[derive(Debug)]
pub(crate) enum State {
    /// Known for its dependents' sake, or about to start or to be forgotten.
    Released,
    /// Clients are bringing it to a worker.
    Arriving(Box<Arrival>),
    /// Some inputs are not in memory.
    Waiting { missing: u32 },
    /// All inputs are in memory; it is held back until a worker has room.
    Queued { at: Queue, expected_us: u64 },
    /// A worker has it in hand.
    Processing(Processing),
    /// Its result is on these workers.
    Memory { meta: ObjectMeta, holders: SmallVec<[WorkerId; 4]> },
    /// It has no result.
    Erred(Arc<Failure>),
}

/// Where a call that could run is held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    /// It may run anywhere and has no reason to run anywhere.
    Any,
    /// It is expected to start earliest there.
    Of(WorkerId),
    /// No worker may run it.
    Nowhere,
    /// It is a method of an actor: it goes there when it is its turn.
    Line,
}

/// A call in a worker's hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Processing {
    pub(crate) worker: WorkerId,
    pub(crate) expected_us: u64,
    /// The worker said that it has begun.
    pub(crate) executing: bool,
    /// The worker was asked to give it back.
    pub(crate) withdrawing: bool,
}

impl State {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Arriving(_) => "arriving",
            Self::Waiting { .. } => "waiting",
            Self::Queued { at: Queue::Nowhere, .. } => "no-worker",
            Self::Queued { .. } => "queued",
            Self::Processing(_) => "processing",
            Self::Memory { .. } => "memory",
            Self::Erred(_) => "erred",
        }
    }
}

impl Call {
    /// One that nobody has asked for and that reads nothing.
    pub(crate) fn new(key: Key, task: TaskId, priority: Priority) -> Self {
        Self {
            key,
            task,
            priority,
            args: Box::default(),
            dependencies: SmallVec::new(),
            dependents: Dependents::default(),
            active_dependents: 0,
            staged: 0,
            clients: SmallVec::new(),
            kept: 0,
            detached: false,
            attempt: Attempt(0),
            wishes: None,
            state: State::Released,
        }
    }

    /// It needs its inputs' results, or is on its way without any.
    pub(crate) fn is_active(&self) -> bool {
        match self.state {
            State::Arriving(_)
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::Processing(_) => true,
            State::Released | State::Memory { .. } | State::Erred(_) => false,
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        !self.clients.is_empty() || self.active_dependents > 0 || self.kept > 0
    }

    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.state, State::Memory { .. })
    }

    pub(crate) fn processing(&self) -> Option<Processing> {
        match self.state {
            State::Processing(processing) => Some(processing),
            _ => None,
        }
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

    pub(crate) fn needs(&self) -> Option<&Needs> {
        self.wishes.as_ref().map(|wishes| &wishes.needs).filter(|needs| !needs.is_empty())
    }

    pub(crate) fn limits(&self) -> TaskLimits {
        self.wishes.as_ref().map(|wishes| wishes.limits).unwrap_or_default()
    }

    pub(crate) fn wishes_mut(&mut self) -> &mut Wishes {
        self.wishes.get_or_insert_default()
    }
}

impl Argument {
    /// As it travels. `key_of` finds an input's key by its position.
    pub(crate) fn to_arg(&self, key_of: impl Fn(usize) -> Key) -> Arg {
        match self {
            Self::Value(codec, bytes) => Arg::Value(Value { codec: *codec, bytes: bytes.to_vec() }),
            Self::Input(position) => Arg::Key(key_of(*position as usize)),
        }
    }

    /// Whether it is this one as it travels.
    pub(crate) fn is(&self, arg: &Arg, key_of: impl Fn(usize) -> Key) -> bool {
        match (self, arg) {
            (Self::Value(codec, bytes), Arg::Value(value)) => {
                *codec == value.codec && **bytes == *value.bytes
            }
            (Self::Input(position), Arg::Key(key)) => key_of(*position as usize) == *key,
            (Self::Value(..), Arg::Key(_)) | (Self::Input(_), Arg::Value(_)) => false,
        }
    }
}
