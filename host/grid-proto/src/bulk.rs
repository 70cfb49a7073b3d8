//! Bulk streams: one request and the bytes that answer it.

use rkyv::{Archive, Deserialize, Serialize};

use crate::id::{BundleHash, Key};
use crate::value::ObjectMeta;

/// The first frame of a bulk stream: what the opener wants.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum BulkRequest {
    /// The bytes of these objects, each behind a [`BulkHeader`], in this order. To a worker.
    Objects(Vec<Key>),
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
}
