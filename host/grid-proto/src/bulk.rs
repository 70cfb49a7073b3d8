//! Bulk streams: one request and the bytes that answer it.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{BundleHash, Key};
use crate::value::ObjectMeta;

/// The first frame of a bulk stream: what the opener wants.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum BulkRequest {
    /// The bytes of these objects, each behind a [`BulkHeader`], in this order. To a worker.
    Objects(Vec<Key>),
    /// What is left of an object of which a part has come, perhaps from another worker: its bytes from
    /// `offset` on, behind a header, or [`BulkHeader::Missing`] if it is not this one. To a worker.
    Rest {
        /// Which.
        key: Key,
        /// What it is: parts of different results do not fit.
        meta: ObjectMeta,
        /// How many bytes there are already.
        offset: u64,
    },
    /// The bytes of a bundle behind one header. To the scheduler.
    Bundle(BundleHash),
    /// The opener sends a bundle's bytes, the answer is one header whose meta describes what
    /// was stored. To the scheduler. A length of 0 asks whether the bytes are needed at all.
    Deploy {
        /// The hash that the bytes must have.
        hash: BundleHash,
        /// How many follow.
        size: u64,
    },
    /// The opener brings these objects, each under [`Key::of_data`], at most
    /// [`ITEMS_MAX`](crate::data::ITEMS_MAX) of them: their bytes follow, in this order. The answer is
    /// a header for each, as soon as it is kept. To a worker.
    Put(Vec<(Key, ObjectMeta)>),
    /// How the opener gets to shared memory, should it be on the same host. To a worker, and answered by a
    /// [`BulkHeader::Door`]. The other requests may be sent there too: an object that is found comes as a
    /// descriptor with its header, a small one as bytes behind it; those that are brought, one by one,
    /// come as descriptors with the request.
    Share,
}

/// What comes before the bytes of one object.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum BulkHeader {
    /// `meta.size` bytes follow.
    Found(ObjectMeta),
    /// Nothing follows.
    Missing,
    /// Nothing follows; the request was refused.
    Refused(String),
    /// Nothing follows; it has to be asked for, or brought, over the network.
    OverNetwork,
    /// Where processes of the same host find shared memory.
    Door {
        /// The name of a socket.
        name: [u8; 32],
        /// What whoever connects there has to know.
        secret: [u8; 32],
    },
}
