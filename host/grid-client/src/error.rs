//! What can go wrong for a program that uses a grid.

use grid_net::NetError;
use grid_proto::Failure;
use grid_proto::message::Refusal;

/// A failure, told apart by what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The call ran, or could not run, and has no result.
    #[error("{}", described(.0))]
    Failed(Box<Failure>),
    /// The scheduler did not accept what was asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The scheduler cannot be reached, or the connection to it is lost.
    #[error("{0}")]
    Net(String),
    /// Nothing answers at the scheduler's address.
    #[error("{0}")]
    Unreachable(String),
    /// The scheduler is of another version or another grid.
    #[error("{0}")]
    Incompatible(String),
    /// An argument could not be encoded, or a result could not be read as its type.
    #[error("{0}")]
    Value(String),
    /// Results are larger than this program wants to hold.
    #[error("{0}")]
    TooLarge(String),
    /// A file of this machine could not be read or written.
    #[error("{0}")]
    File(String),
    /// The result exists but none of its holders could be reached.
    #[error("the result of `{key}` could not be fetched: {reason}")]
    Fetch {
        /// The call.
        key: String,
        /// What the last holder said.
        reason: String,
    },
}

impl From<NetError> for ClientError {
    fn from(error: NetError) -> Self {
        let words = error.to_string();
        match error {
            NetError::Unreachable { .. } | NetError::BadAddress { .. } => Self::Unreachable(words),
            NetError::Version { .. } | NetError::Refused { .. } | NetError::NotGrid(_) => {
                Self::Incompatible(words)
            }
            _ => Self::Net(words),
        }
    }
}

/// More than a program said that it would hold.
pub(crate) fn too_large(what: &str, bytes: u64, most: u64) -> ClientError {
    ClientError::TooLarge(format!(
        "{what} {bytes} bytes or more, and this client takes {most} (`ClientOptions::gather_bytes_max`): \
         write them from the tasks, save each to a file, or reduce them on the grid"
    ))
}

fn described(failure: &Failure) -> String {
    match &failure.site {
        Some(site) => format!("{} ({}): {failure}", site.task, site.key.short()),
        None => failure.to_string(),
    }
}
