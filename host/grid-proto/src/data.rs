//! Data that clients bring, and where objects are.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{Key, RequestId, WorkerId};
use crate::message::Holder;
use crate::value::ObjectMeta;

/// Values that one message may bring, and objects that one request may name.
pub const ITEMS_MAX: usize = 1_000;

/// Values that a client brings. It uploads each to the worker that the answer names; until one of
/// those that bring it has done so, whoever reads it waits.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Scattering {
    /// Comes back with the answer.
    pub request: RequestId,
    /// At most [`ITEMS_MAX`], each under [`Key::of_data`]. The client holds futures on them from now
    /// on.
    pub items: Vec<(Key, ObjectMeta)>,
    /// Names of workers, hosts or labels: any worker that has one of them will do. Empty for all.
    pub to: Vec<String>,
    /// Workers that did not take what they should have.
    pub failed: Vec<WorkerId>,
}

/// Where a value that a client brings goes; `None` if the grid has it.
pub type Home = Option<Holder>;

/// Where an object is.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// Its key.
    pub key: Key,
    /// Its size in bytes; `None` while it is nowhere.
    pub size_bytes: Option<u64>,
    /// The names of the workers that have a copy.
    pub workers: Vec<String>,
}

/// An object on a worker.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its key.
    pub key: Key,
    /// What made it: a task, or `data` for what a client brought.
    pub task: String,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What a worker has.
#[derive(Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    /// The worker's name.
    pub worker: String,
    /// How many objects, and their bytes.
    pub objects: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Some of them: at most as many as were asked for.
    pub listed: Vec<Held>,
}

impl Key {
    /// The key of a value that a client brings: equal values have equal keys, whoever brings them,
    /// and no call has it.
    #[must_use]
    pub fn of_data(meta: &ObjectMeta) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"grid data 1\0");
        hasher.update(&[meta.codec as u8]);
        hasher.update(&meta.size.to_le_bytes());
        hasher.update(&meta.hash);
        Self(*hasher.finalize().as_bytes())
    }
}
