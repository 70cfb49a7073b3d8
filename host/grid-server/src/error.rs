//! Why a scheduler could not start, or had to stop.

use std::path::PathBuf;

/// A failure of the scheduler host itself.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The directory for bundles cannot be used.
    #[error(
        "cannot use `{}` for bundles: {source}; make room there and let the scheduler write, or start it \
         with another `--state-dir`",
        path.display()
    )]
    State {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine's state contradicts itself.
    #[error(
        "the scheduler stopped because its own state was wrong: {what}\n{dump}\n\
         please report this; start it again: workers come back by themselves, and clients have to \
         submit again what had not ended"
    )]
    Fault {
        /// What was found.
        what: String,
        /// Where the dump is, or why there is none, in words.
        dump: String,
    },
}
