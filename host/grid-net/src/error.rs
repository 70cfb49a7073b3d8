//! What can go wrong between two processes.

use std::path::PathBuf;
use std::time::Duration;

use grid_proto::frame::FrameError;

/// A failure of the network layer, told apart by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// Another process has the port.
    #[error("`{address}` is in use by another process: choose another port, or stop that process")]
    PortInUse {
        /// Where we wanted to listen.
        address: String,
    },
    /// The endpoint could not be made.
    #[error("cannot listen on `{address}`: {reason}")]
    Bind {
        /// Where we wanted to listen.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Nobody answered.
    #[error(
        "nothing answers at `{address}` within {} ms: is the grid up, and is the address right?",
        after.as_millis()
    )]
    Unreachable {
        /// Where we tried.
        address: String,
        /// How long.
        after: Duration,
    },
    /// Not an address.
    #[error("`{address}` is not an address: expected HOST:PORT ({reason})")]
    BadAddress {
        /// What was given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The other end is of another grid.
    #[error(
        "`{address}` refused the connection: {reason}; both ends must use the identity of the same \
         grid (`--identity DIR`, by default `~/.local/share/grid/identity`)"
    )]
    Refused {
        /// Where we tried.
        address: String,
        /// What TLS said.
        reason: String,
    },
    /// The other end speaks another version of the protocol.
    #[error(
        "the other end speaks protocol version {theirs}, this one {ours}: install the same version \
         of grid on both"
    )]
    Version {
        /// This end's.
        ours: u16,
        /// The other's.
        theirs: u16,
    },
    /// The other end does not speak this protocol.
    #[error("the other end does not speak the grid protocol: {0}")]
    NotGrid(String),
    /// A frame that cannot be believed or sent.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection or the stream is closed.
    #[error("the connection is closed: {0}")]
    Closed(String),
    /// The other end takes messages too slowly.
    #[error("the other end is {0} messages behind")]
    Overrun(usize),
    /// The identity's files cannot be used.
    #[error("the identity in `{}` cannot be used: {reason}", path.display())]
    Identity {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl From<std::io::Error> for NetError {
    fn from(error: std::io::Error) -> Self {
        Self::Closed(error.to_string())
    }
}
