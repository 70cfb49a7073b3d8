//! The bytes of a result, where they are.

use std::fmt;
use std::ops::Deref;

use grid_proto::{Codec, Value};
use grid_share::Sealed;

/// A result as it came, to be read in place: bytes that came over the network, or memory that a worker of
/// this host shares, which is mapped and not copied. That stays until this is dropped, whatever becomes
/// of the result.
pub struct ResultBytes {
    codec: Codec,
    place: Place,
}

enum Place {
    Own(Vec<u8>),
    Shared(Sealed),
}

impl ResultBytes {
    pub(crate) fn shared(codec: Codec, sealed: Sealed) -> Self {
        Self { codec, place: Place::Shared(sealed) }
    }

    /// How they are to be understood.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether they are in memory that others share, and were not copied.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Shared(_))
    }

    /// The same as bytes of one's own: shared ones are copied.
    pub(crate) fn into_value(self) -> Value {
        let bytes = match self.place {
            Place::Own(bytes) => bytes,
            Place::Shared(sealed) => sealed.to_vec(),
        };
        Value { codec: self.codec, bytes }
    }
}

impl From<Value> for ResultBytes {
    fn from(value: Value) -> Self {
        Self { codec: value.codec, place: Place::Own(value.bytes) }
    }
}

impl Deref for ResultBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Own(bytes) => bytes,
            Place::Shared(sealed) => sealed,
        }
    }
}

impl AsRef<[u8]> for ResultBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for ResultBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {:?}", self.len(), self.codec)
    }
}
