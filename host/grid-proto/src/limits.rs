//! Limits of one call, and the operator's bounds on them.

use rkyv::{Archive, Deserialize, Serialize};

use crate::bundle::TaskLimits;

/// Arguments of one call that travel with it, together: more belongs into the store.
pub const INLINE_ARGUMENT_BYTES_MAX: usize = 4 << 20;
/// A result that small is told with the news that it is ready.
pub const INLINE_RESULT_BYTES_MAX: usize = 4 << 10;
/// A bundle's bytes: the largest interpreters measured are 18 MB.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// Arguments of one call, by number.
pub const ARGUMENTS_MAX: usize = 4096;
/// Names that one call may be pinned to; resources that it may take, or that a worker may offer.
pub const NEEDS_MAX: usize = 32;
/// Bytes of the name of a task, a worker, a host, a label or a resource.
pub const NAME_BYTES_MAX: usize = 512;
/// Calls that one running call may have submitted and not let go of; keeps what a call costs the
/// scheduler and its worker bounded.
pub const NESTED_CALLS_MAX: usize = 10_000;
/// Calls that one request may ask to run again.
pub const RETRY_KEYS_MAX: usize = 10_000;

/// What one call may use; every bound has a failure kind of its own.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Hash,
)]
pub struct Limits {
    /// Linear memories and tables of the instance together.
    pub memory_bytes_max: u64,
    /// Wall time of the call.
    pub wall_ms_max: u64,
    /// Standard output, standard error and log lines that are kept; the rest is counted.
    pub output_bytes_max: u64,
    /// The result, as a whole.
    pub result_bytes_max: u64,
    /// The result, if it is written piece by piece.
    pub written_bytes_max: u64,
    /// What it may write into a directory of its own, if it asks for one.
    pub scratch_bytes_max: u64,
}

/// What the operator of a worker allows: a value where nobody asks, and a ceiling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitBounds {
    /// Used where neither the author nor the caller says anything.
    pub default: Limits,
    /// Never exceeded.
    pub ceiling: Limits,
}

impl Default for LimitBounds {
    fn default() -> Self {
        let default = Limits {
            memory_bytes_max: 256 << 20,
            wall_ms_max: 60_000,
            output_bytes_max: 64 << 10,
            result_bytes_max: 64 << 20,
            written_bytes_max: 16 << 30,
            scratch_bytes_max: 1 << 30,
        };
        let ceiling = Limits { memory_bytes_max: 1 << 30, wall_ms_max: 3_600_000, ..default };
        Self { default, ceiling }
    }
}

impl LimitBounds {
    /// The limits of a call: the caller's wish, else the author's, else the default; never over
    /// the ceiling.
    #[must_use]
    pub fn resolve(&self, author: TaskLimits, caller: TaskLimits) -> Limits {
        let pick = |caller: Option<u64>, author: Option<u64>, default: u64, ceiling: u64| {
            caller.or(author).unwrap_or(default).min(ceiling)
        };
        Limits {
            memory_bytes_max: pick(
                caller.memory_bytes,
                author.memory_bytes,
                self.default.memory_bytes_max,
                self.ceiling.memory_bytes_max,
            ),
            wall_ms_max: pick(
                caller.timeout_ms,
                author.timeout_ms,
                self.default.wall_ms_max,
                self.ceiling.wall_ms_max,
            ),
            output_bytes_max: self.default.output_bytes_max.min(self.ceiling.output_bytes_max),
            result_bytes_max: self.default.result_bytes_max.min(self.ceiling.result_bytes_max),
            written_bytes_max: self.default.written_bytes_max.min(self.ceiling.written_bytes_max),
            scratch_bytes_max: self.default.scratch_bytes_max.min(self.ceiling.scratch_bytes_max),
        }
    }
}
