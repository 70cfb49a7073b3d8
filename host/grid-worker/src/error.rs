//! Why a worker could not go on.

use grid_net::NetError;
use grid_sandbox::EngineError;

/// A failure of the worker itself, never of a call.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The sandbox engine could not be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The scheduler could not be reached, or speaks another version.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The scheduler does not want this worker.
    #[error("the scheduler at `{address}` refused this worker: {reason}")]
    Refused {
        /// The scheduler.
        address: String,
        /// Its words.
        reason: String,
    },
    /// A slot's thread could not be started.
    #[error("cannot start a thread for a slot: {0}")]
    Slot(std::io::Error),
}
