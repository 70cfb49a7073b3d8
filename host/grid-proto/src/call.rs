//! Calls: one application of a task to arguments, a node of a graph.

use rkyv::{Archive, Deserialize, Serialize};

use crate::bundle::TaskLimits;
use crate::id::{BundleHash, Key};
use crate::value::Value;

/// A task by the bundle's hash and its name.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskRef {
    /// The bundle.
    pub bundle: BundleHash,
    /// The function.
    pub task: String,
}

/// An argument of a call.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Arg {
    /// The value itself.
    Value(Value),
    /// The result of another call.
    Key(Key),
}

/// What a caller may say about one call; `None` leaves it to the task's author.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct CallOptions {
    /// Higher runs first.
    pub priority: i32,
    /// How often a failed call is tried again.
    pub retries: Option<u32>,
    /// Limits, within the operator's bounds.
    pub limits: TaskLimits,
    /// Where it may run.
    pub pins: Option<Pins>,
    /// What it takes of its worker while it runs, by name; each name once.
    pub resources: Vec<(String, Amount)>,
    /// The instance of its bundle that it runs in.
    pub instance: Instance,
}

/// Which instance of its bundle a call runs in.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Instance {
    /// One of its own, which is gone when the call ends.
    #[default]
    Fresh,
    /// One of its own, which stays where it is when the call gives a result: an actor. Its key is
    /// the call's.
    Kept,
    /// An actor's: the call is one of its methods.
    Of(Key),
}

/// Where a call may or should run.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Pins {
    /// Names of workers, hosts or labels: any worker that has one of them will do.
    pub any_of: Vec<String>,
    /// Elsewhere if there is no such worker now; otherwise it waits for one.
    pub prefer: bool,
}

/// So much of an abstract resource, counted in ten-thousandths, so that sums are exact.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
)]
pub struct Amount(pub u64);

impl Amount {
    /// Parts of one unit.
    pub const PARTS: u64 = 10_000;

    /// A number of units, rounded up to the next part; `None` if it is negative, not finite, or
    /// larger than a thousand million.
    #[must_use]
    pub fn from_units(units: f64) -> Option<Self> {
        const UNITS_MAX: f64 = 1e9;
        let fits = units.is_finite() && (0.0..=UNITS_MAX).contains(&units);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        fits.then(|| Self((units * Self::PARTS as f64).ceil() as u64))
    }
}

impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "amounts are bounded")]
        serializer.serialize_f64(self.0 as f64 / Self::PARTS as f64)
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "amounts are bounded")]
        let units = self.0 as f64 / Self::PARTS as f64;
        write!(f, "{units}")
    }
}

/// One call of a submission.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct CallSpec {
    /// Its identity.
    pub key: Key,
    /// Position in the table of tasks of the whole submission.
    pub task: u32,
    /// Its arguments, in order.
    pub args: Vec<Arg>,
    /// What the caller says about it.
    pub options: CallOptions,
}

/// The order in which calls run: smaller first. Negated user priority, then submission, then the
/// position in the submission, then the depth of nesting, then the position among what one call
/// submits.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug,
)]
pub struct Priority {
    /// The user's priority, negated, so that higher runs first.
    pub user: i32,
    /// Submissions are served first come, first served.
    pub submission: u32,
    /// Static order inside the submission.
    pub position: u32,
    /// Depth of nesting, negated: what a running call waits for comes before what has not begun,
    /// so that few calls wait at a time.
    pub nesting: i16,
    /// Position in the submission of the call that submitted it; the last of them share one.
    pub child: u16,
}

/// The key of a pure call: BLAKE3 over the bundle, the task and the arguments, each with its length
/// and kind before it, so that no two different calls hash the same bytes.
#[must_use]
pub fn pure_key(bundle: BundleHash, task: &str, args: &[Arg]) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"grid call 1\0");
    hasher.update(&bundle.0);
    hasher.update(&(task.len() as u64).to_le_bytes());
    hasher.update(task.as_bytes());
    for arg in args {
        match arg {
            Arg::Value(value) => {
                hasher.update(&[0, value.codec as u8]);
                hasher.update(&(value.bytes.len() as u64).to_le_bytes());
                hasher.update(&value.bytes);
            }
            Arg::Key(key) => {
                hasher.update(&[1]);
                hasher.update(&key.0);
            }
        }
    }
    Key(*hasher.finalize().as_bytes())
}
