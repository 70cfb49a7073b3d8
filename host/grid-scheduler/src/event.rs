//! What the machine is told, and what it wants done.

use grid_proto::message::{FromClient, FromWorker, Registration, ToClient, ToWorker};
use grid_proto::{BundleDescription, BundleHash, ClientId, WorkerId};

/// Something that happened. The host numbers connections; no number is used twice, and those of
/// clients stay below 2^31: the others are for calls that speak as clients.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client connected.
    ClientConnected(ClientId),
    /// A client said something.
    Client(ClientId, FromClient),
    /// A client's connection ended.
    ClientGone(ClientId),
    /// A worker connected.
    WorkerConnected(WorkerId, Registration),
    /// A worker said something.
    Worker(WorkerId, FromWorker),
    /// A worker's connection ended.
    WorkerGone(WorkerId),
    /// A bundle's bytes are on the scheduler's disk.
    BundleStored {
        /// Which.
        hash: BundleHash,
        /// Its size.
        size_bytes: u64,
    },
    /// A bundle that an earlier run of the scheduler accepted.
    BundleRestored {
        /// Which.
        hash: BundleHash,
        /// Its size.
        size_bytes: u64,
        /// What it says of itself.
        description: BundleDescription,
    },
}

/// Something that the host shall do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Send to a client.
    ToClient(ClientId, ToClient),
    /// Send to a worker.
    ToWorker(WorkerId, ToWorker),
    /// Close a worker's connection: it is lost, or was refused.
    CloseWorker(WorkerId, String),
    /// Close the connection of a worker that said it leaves: nothing is wrong.
    DismissWorker(WorkerId),
    /// Remember a bundle across restarts.
    BundleAccepted(BundleHash, BundleDescription),
    /// The bytes turned out not to be a bundle: forget them.
    BundleRejected(BundleHash),
}
