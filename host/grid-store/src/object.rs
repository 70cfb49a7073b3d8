//! Bytes in memory, counted while they exist.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grid_proto::{ObjectMeta, Value};
use grid_share::Sealed;

/// Counts bytes of objects that are in memory: in a store, in calls that read them, on their way.
/// Clones count together.
#[derive(Clone, Default, Debug)]
pub struct Gauge(Arc<AtomicU64>);

/// Bytes that are counted though they are not an object yet: a transfer under way.
#[derive(Debug)]
pub struct Reserved {
    gauge: Gauge,
    bytes: u64,
}

/// The bytes of an object, counted until the last reader is done.
pub struct Buffer {
    bytes: Bytes,
    gauge: Gauge,
}

enum Bytes {
    Own(Box<[u8]>),
    /// Shared with other processes; each of them counts them.
    Sealed(Sealed),
}

const _: () = assert!(size_of::<Buffer>() == 24, "a million of them");

/// The bytes behind a key, shared by all who read them.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is known of them.
    pub meta: ObjectMeta,
    /// The bytes themselves.
    pub bytes: Arc<Buffer>,
}

impl Gauge {
    /// All that is counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts bytes that are about to come, until what this gives is dropped.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Reserved {
        self.add(bytes);
        Reserved { gauge: self.clone(), bytes }
    }

    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.gauge.subtract(self.bytes);
    }
}

impl Buffer {
    fn new(bytes: Bytes, gauge: &Gauge) -> Self {
        gauge.add(bytes.counted());
        Self { bytes, gauge: gauge.clone() }
    }

    /// The memory that other processes may map, if it is such.
    #[must_use]
    pub fn sealed(&self) -> Option<&Sealed> {
        match &self.bytes {
            Bytes::Own(_) => None,
            Bytes::Sealed(sealed) => Some(sealed),
        }
    }
}

impl Bytes {
    fn counted(&self) -> u64 {
        match self {
            Self::Own(bytes) => bytes.len() as u64,
            Self::Sealed(sealed) => sealed.len() as u64,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Sealed(sealed) => sealed,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.gauge.subtract(self.bytes.counted());
    }
}

impl Object {
    /// An object of a value, hashed once.
    #[must_use]
    pub fn new(value: Value, gauge: &Gauge) -> Self {
        let meta = value.meta();
        let bytes = Bytes::Own(value.bytes.into_boxed_slice());
        Self { meta, bytes: Arc::new(Buffer::new(bytes, gauge)) }
    }

    /// An object that arrived over a link or from a file, if its bytes are what they should be.
    #[must_use]
    pub fn verified(meta: ObjectMeta, bytes: Vec<u8>, gauge: &Gauge) -> Option<Self> {
        let object = Self::new(Value { codec: meta.codec, bytes }, gauge);
        (object.meta == meta).then_some(object)
    }

    /// An object in memory that another process has sealed, if its bytes are what they should be.
    #[must_use]
    pub fn sealed(meta: ObjectMeta, sealed: Sealed, gauge: &Gauge) -> Option<Self> {
        let same = meta.size == sealed.len() as u64 && meta.hash == grid_proto::hash_of(&sealed);
        same.then(|| Self::of_sealed(meta, sealed, gauge))
    }

    pub(crate) fn of_sealed(meta: ObjectMeta, sealed: Sealed, gauge: &Gauge) -> Self {
        Self { meta, bytes: Arc::new(Buffer::new(Bytes::Sealed(sealed), gauge)) }
    }
}
