//! What a worker is told by whoever starts it.

use std::time::Duration;

use grid_sandbox::EngineConfig;

/// A worker's configuration, resolved.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Unique in the grid.
    pub name: String,
    /// The scheduler's address.
    pub scheduler: String,
    /// Calls that run at a time; overrides the engine's.
    pub slots: usize,
    /// The sandbox engine's own configuration.
    pub engine: EngineConfig,
    /// How long the first connection to the scheduler may take.
    pub connect_timeout: Duration,
}
