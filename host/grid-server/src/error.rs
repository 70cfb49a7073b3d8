//! Why a scheduler could not start.

use std::path::PathBuf;

/// A failure of the scheduler host itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The directory for bundles cannot be used.
    #[error("cannot use `{}` for bundles: {source}; name another with `--state-dir`", path.display())]
    State {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
