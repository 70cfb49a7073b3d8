//! What a worker is told by whoever starts it.

use std::time::Duration;

use grid_proto::Amount;
use grid_sandbox::EngineConfig;

use crate::memory::MemoryConfig;

/// A worker's configuration, resolved.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Unique in the grid.
    pub name: String,
    /// The scheduler's address.
    pub scheduler: String,
    /// The host's name: calls may be pinned to it.
    pub host: String,
    /// What else calls may be pinned to.
    pub labels: Vec<String>,
    /// Abstract resources that calls may take, by name.
    pub resources: Vec<(String, Amount)>,
    /// What it may hold, and where the rest goes.
    pub memory: MemoryConfig,
    /// Calls that run at a time; overrides the engine's.
    pub slots: usize,
    /// The sandbox engine's own configuration.
    pub engine: EngineConfig,
    /// How long the first connection to the scheduler may take.
    pub connect_timeout: Duration,
}
