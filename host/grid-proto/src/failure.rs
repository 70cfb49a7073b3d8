//! Failures of calls. A guest's fault is a value like any other: it travels, it is counted, it is
//! shown; it is never an error of the host.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{Attempt, Key};
use crate::report::Spent;

/// Why a call has no result.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Debug)]
pub struct Failure {
    /// What happened, for programs.
    pub kind: FailureKind,
    /// What happened, for people: a lower-case fragment.
    pub message: String,
    /// The chain of causes that a user error carried, outermost first.
    pub causes: Vec<String>,
    /// The wasm stack, innermost first.
    pub trace: Vec<Frame>,
    /// Which call, where. `None` until the scheduler or the worker fills it in.
    pub site: Option<FailureSite>,
    /// What the call had used by then.
    pub spent: Spent,
    /// The last lines that it wrote, control sequences removed.
    pub last_lines: Vec<String>,
}

/// The kinds that users, counters and exit codes tell apart.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum FailureKind {
    /// The function returned an error.
    User,
    /// The sandbox stopped the function.
    Trap {
        /// How.
        trap: TrapKind,
    },
    /// It asked for more memory than its limit.
    OutOfMemory {
        /// The limit.
        limit_bytes: u64,
        /// What the store would have held.
        asked_bytes: u64,
    },
    /// It ran longer than its limit.
    Deadline {
        /// The limit.
        limit_ms: u64,
    },
    /// Somebody cancelled it.
    Cancelled,
    /// It used a capability that it was not given.
    HostDenied {
        /// What it wanted.
        what: String,
    },
    /// Its result was larger than allowed.
    ResultTooLarge {
        /// The limit.
        limit_bytes: u64,
        /// The result.
        size_bytes: u64,
    },
    /// It was executing on too many workers that died.
    KilledWorker {
        /// Each death.
        deaths: Vec<Death>,
    },
    /// It asked to run elsewhere more often than the grid goes along with.
    Rescheduled,
    /// Its task collected too many strikes.
    Quarantined {
        /// How many.
        strikes: u32,
    },
    /// Its data is gone and cannot be computed again.
    LostData,
    /// The actor is gone, with what it knew: its worker is, or one of its methods was stopped.
    ActorLost,
    /// An argument could not be read by the task.
    BadArgument {
        /// Position, from 0.
        index: u32,
    },
    /// The bundle cannot run here.
    BundleInvalid,
}

/// How the sandbox stopped a function.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Hash,
)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// A panic; the failure's message says what it said.
    Panic,
    /// An `unreachable` instruction without a panic before it.
    Unreachable,
    /// An access outside the linear memory.
    OutOfBounds,
    /// Recursion too deep, on the wasm stack or on the shadow stack in linear memory.
    StackOverflow,
    /// Integer division by zero.
    DivideByZero,
    /// Integer overflow in a division or conversion.
    IntegerOverflow,
    /// A call through a table to nothing, or to a function of another type.
    BadIndirectCall,
    /// The guest ended itself (`exit`).
    Exit,
    /// Anything else; the message says what.
    Other,
}

/// One frame of a wasm backtrace.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug, Default,
)]
pub struct Frame {
    /// The function, demangled; `<wasm function N>` where no name is known.
    pub function: String,
    /// The source file, where the bundle carries debug information.
    pub file: Option<String>,
    /// The source line.
    pub line: Option<u32>,
}

/// Where a failure happened.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct FailureSite {
    /// The call.
    pub key: Key,
    /// `bundle:task`.
    pub task: String,
    /// The worker's name; empty where no worker was reached.
    pub worker: String,
    /// Which try.
    pub attempt: Attempt,
}

/// A worker that died while it executed the call.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Death {
    /// The worker's name.
    pub worker: String,
    /// Which try it was.
    pub attempt: Attempt,
    /// Why it ended, if whoever started it has said so; else empty.
    pub why: String,
}

impl Failure {
    /// A failure with a message and nothing else known.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            causes: Vec::new(),
            trace: Vec::new(),
            site: None,
            spent: Spent::default(),
            last_lines: Vec::new(),
        }
    }
}

impl FailureKind {
    /// The name under which it is counted, the same in the CLI, the API and the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::User => "user-error",
            Self::Trap { trap } => trap.label(),
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Deadline { .. } => "deadline",
            Self::Cancelled => "cancelled",
            Self::HostDenied { .. } => "host-denied",
            Self::ResultTooLarge { .. } => "result-too-large",
            Self::KilledWorker { .. } => "killed-worker",
            Self::Rescheduled => "rescheduled",
            Self::Quarantined { .. } => "quarantined",
            Self::LostData => "lost-data",
            Self::ActorLost => "actor-lost",
            Self::BadArgument { .. } => "bad-argument",
            Self::BundleInvalid => "bundle-invalid",
        }
    }
}

impl TrapKind {
    /// The name under which it is counted.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Unreachable => "unreachable",
            Self::OutOfBounds => "out-of-bounds",
            Self::StackOverflow => "stack-overflow",
            Self::DivideByZero => "divide-by-zero",
            Self::IntegerOverflow => "integer-overflow",
            Self::BadIndirectCall => "bad-indirect-call",
            Self::Exit => "exit",
            Self::Other => "other-trap",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Failure {}
