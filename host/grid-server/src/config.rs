//! What a scheduler is told by whoever starts it.

use std::path::PathBuf;

/// A scheduler's configuration, resolved.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Bundles are kept here.
    pub state_dir: PathBuf,
    /// The machine's own configuration.
    pub scheduler: grid_scheduler::Config,
}
