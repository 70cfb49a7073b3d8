//! What calls cost and what a grid looks like: the numbers that people and programs ask for.

use std::collections::BTreeMap;

use rkyv::{Archive, Deserialize, Serialize};

use crate::bundle::BundleDescription;
use crate::call::Amount;
use crate::failure::Failure;
use crate::id::{Attempt, BundleHash, Key, WorkerId};

/// What one call used.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Default,
)]
pub struct Spent {
    /// From the start of the sandbox to its end, without the time that it waited for calls of its
    /// own.
    pub wall_us: u64,
    /// Most that linear memories and tables held together.
    pub peak_memory_bytes: u64,
    /// Output that the call wrote, kept or not.
    pub output_bytes: u64,
    /// Output over the limit, counted and thrown away.
    pub output_dropped_bytes: u64,
}

/// Counters of one task since the scheduler started.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Debug, Default)]
pub struct TaskCounts {
    /// The bundle.
    pub bundle: String,
    /// The task.
    pub task: String,
    /// Calls that are known now, by state.
    pub states: BTreeMap<String, u64>,
    /// Attempts that ended, in whatever way.
    pub calls: u64,
    /// Attempts that gave a result.
    pub successes: u64,
    /// Attempts that ended in each kind of failure, by [`crate::FailureKind::label`].
    pub failures: BTreeMap<String, u64>,
    /// Attempts whose output was cut at its limit.
    pub output_cut: u64,
    /// Wall time of all attempts.
    pub wall_us: u64,
    /// The longest attempt.
    pub wall_us_max: u64,
    /// The largest peak of memory.
    pub peak_memory_bytes: u64,
}

/// One abstract resource of a worker.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResourceUse {
    /// All of it.
    pub offered: Amount,
    /// What calls in the worker's hands take.
    pub taken: Amount,
}

/// What a worker's memory holds, counted; beside it the process holds code and bookkeeping.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Default,
)]
pub struct MemoryUse {
    /// Bytes of objects in memory: stored, read by calls, under way.
    pub objects_bytes: u64,
    /// Linear memories and tables of sandboxes.
    pub sandboxes_bytes: u64,
    /// Values that bundles keep on it beyond their calls.
    pub local_values: u64,
    /// Their bytes, with their keys and what keeping them costs.
    pub local_bytes: u64,
    /// Native code of the bundles that it has loaded.
    pub code_bytes: u64,
    /// Instances of resident tasks that are warm.
    pub residents: u64,
    /// What they hold of `sandboxes_bytes`.
    pub resident_instances_bytes: u64,
    /// Objects that are in files.
    pub spilled: u64,
    /// Their bytes.
    pub spilled_bytes: u64,
}

/// A worker as the scheduler knows it.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct WorkerInfo {
    /// The scheduler's number for it.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// Where peers and clients reach it.
    pub address: String,
    /// Its process.
    pub pid: u32,
    /// The host that it runs on.
    pub host: String,
    /// What else calls may name to be placed on it.
    pub labels: Vec<String>,
    /// What it offers of abstract resources, and what calls take of that now.
    pub resources: BTreeMap<String, ResourceUse>,
    /// Bytes that its inputs and results may hold; `u64::MAX` without a limit.
    pub memory_bytes: u64,
    /// Calls that it runs at a time.
    pub slots: u32,
    /// Calls that are held back for it.
    pub held_back: u32,
    /// Calls that it was given and has not finished.
    pub in_hand: u32,
    /// Calls that it said it is executing.
    pub executing: u32,
    /// Objects that it holds.
    pub objects: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// Resident memory of the process, as it last said.
    pub resident_bytes: u64,
    /// What its memory holds, as it last said.
    pub memory: MemoryUse,
    /// Its memory is nearly full: it takes no calls.
    pub paused: bool,
    /// Open descriptors of the process, as it last said.
    pub descriptors: u32,
}

/// A bundle that the grid has.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Debug)]
pub struct BundleInfo {
    /// Its identity.
    pub hash: BundleHash,
    /// Its size.
    pub size_bytes: u64,
    /// What it says of itself.
    pub description: BundleDescription,
    /// Whether `name@version` points to it.
    pub named: bool,
}

/// The whole grid at one moment.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug, Default,
)]
pub struct GridStatus {
    /// Where the scheduler listens.
    pub address: String,
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since it started.
    pub uptime_ms: u64,
    /// Its resident memory.
    pub resident_bytes: u64,
    /// Connected clients.
    pub clients: u32,
    /// Connected workers.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Calls by state.
    pub calls: BTreeMap<String, u64>,
    /// Messages that were dropped because their attempt was over.
    pub stale_messages: u64,
}

/// A call as the scheduler knows it.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Debug)]
pub struct CallInfo {
    /// Its key.
    pub key: Key,
    /// `bundle:task`.
    pub task: String,
    /// Its state.
    pub state: String,
    /// Which try: the one that runs, or else the next.
    pub attempt: Attempt,
    /// Where it runs, or where its result is.
    pub workers: Vec<String>,
    /// Size of its result.
    pub size_bytes: Option<u64>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why it is where it is, in a sentence.
    pub explanation: String,
}

/// One step of a call, as the scheduler took it.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct StoryStep {
    /// How long ago.
    pub ago_us: u64,
    /// The call.
    pub key: Key,
    /// Which try.
    pub attempt: Attempt,
    /// The state that it entered.
    pub state: String,
    /// The worker that it was held back for or given to.
    pub worker: Option<String>,
    /// What the step was taken for.
    pub cause: String,
}

/// An end that counts against a task.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Strike {
    /// The call.
    pub key: Key,
    /// Which try.
    pub attempt: Attempt,
    /// The worker's name.
    pub worker: String,
    /// The kind of failure, by [`crate::FailureKind::label`].
    pub failure: String,
    /// The failure in words.
    pub message: String,
}

/// A task that is refused.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct QuarantineInfo {
    /// `bundle@version:task`.
    pub task: String,
    /// How many strikes it has.
    pub strikes: u32,
    /// The last of them, oldest first.
    pub last: Vec<Strike>,
}
