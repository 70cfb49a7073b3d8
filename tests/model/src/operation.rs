//! What happens in a run, and how bytes are read as it.

use crate::graph::CALLS;

/// Clients that there are at a time.
pub(crate) const CLIENTS: u8 = 3;
/// Workers that there are at most.
pub(crate) const WORKERS: u8 = 4;
/// Names under which calls are published.
const NAMES: u8 = 2;

/// Something that a client or a worker does. Clients, workers and names are told by their places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A client submits a call with all that it needs and wants its result.
    Submit(u8, u8),
    /// The same, and the client wants it only to be done.
    Detach(u8, u8),
    /// A client's future is gone.
    Release(u8, u8),
    /// A client cancels a call.
    Cancel(u8, u8),
    /// A client cancels a call for everybody.
    Force(u8, u8),
    /// A client wants a failed call to run again.
    Retry(u8, u8),
    /// A client could not read a result.
    Locate(u8, u8),
    /// A client publishes a call: client, call, name.
    Publish(u8, u8, u8),
    /// A name is given up.
    Unpublish(u8),
    /// A client leaves; another comes.
    Leave(u8),
    /// A worker comes, with so many slots.
    Join(u8, u8),
    /// A worker dies.
    Die(u8),
    /// A worker says that it leaves.
    Depart(u8),
    /// A worker comes back on a new connection, with what it holds.
    Reconnect(u8),
    /// A worker begins with the call at this place of those in its hands.
    Start(u8, u8),
    /// A worker ends a call well.
    Finish(u8, u8),
    /// A call fails there by its own fault.
    Fail(u8, u8),
    /// A worker gives back what it was asked for.
    GiveBack(u8),
    /// Everything that can end does, well; then all that was promised is checked.
    Rest,
}

impl Operation {
    /// Every three bytes are an operation.
    #[must_use]
    pub fn read([kind, one, other]: [u8; 3]) -> Self {
        let (client, worker, call) = (one % CLIENTS, one % WORKERS, other % CALLS);
        match kind % 32 {
            0..=4 => Self::Submit(client, call),
            5 => Self::Detach(client, call),
            6..=7 => Self::Release(client, call),
            8 => Self::Cancel(client, call),
            9 => Self::Force(client, call),
            10 => Self::Retry(client, call),
            11 => Self::Locate(client, call),
            12 => Self::Publish(client, call, other / CALLS % NAMES),
            13 => Self::Unpublish(one % NAMES),
            14 => Self::Leave(client),
            15..=17 => Self::Join(worker, 1 + other % 3),
            18 => Self::Die(worker),
            19 => Self::Depart(worker),
            20 => Self::Reconnect(worker),
            21..=22 => Self::Start(worker, other),
            23..=28 => Self::Finish(worker, other),
            29 => Self::Fail(worker, other),
            30 => Self::GiveBack(worker),
            _ => Self::Rest,
        }
    }

    /// Operations as bytes hold them; what is left over is none.
    #[must_use]
    pub fn read_all(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|three| Self::read(*three)).collect()
    }
}
