//! Values: bytes with a codec tag, and what is known of an object without its bytes.

use rkyv::{Archive, Deserialize, Serialize};

/// How the bytes of a value are to be read.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, Copy, PartialEq, Eq, Debug, Hash,
)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// MessagePack, self-describing; structs are maps by field name.
    Msgpack,
    /// Bytes as they are.
    Raw,
    /// An Arrow IPC stream.
    Arrow,
}

impl Codec {
    /// The word that people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Msgpack => "msgpack",
            Self::Raw => "raw",
            Self::Arrow => "arrow",
        }
    }
}

/// An argument or a result.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// How to read `bytes`.
    pub codec: Codec,
    /// The value itself.
    pub bytes: Vec<u8>,
}

impl Value {
    /// What is known of this value once it is stored.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        ObjectMeta { codec: self.codec, size: self.bytes.len() as u64, hash: hash_of(&self.bytes) }
    }
}

/// From so many bytes on, all cores hash together.
const HASHED_TOGETHER_MIN: usize = 4 << 20;

/// The BLAKE3 hash of an object's bytes.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> [u8; 32] {
    match bytes.len() < HASHED_TOGETHER_MIN {
        true => *blake3::hash(bytes).as_bytes(),
        false => *blake3::Hasher::new().update_rayon(bytes).finalize().as_bytes(),
    }
}

/// Tells apart what a key had in turn: an impure call that is computed anew may have another result. The
/// first eight bytes of the object's hash.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version(pub u64);

/// What is known of an object without its bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// How to read it.
    pub codec: Codec,
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 of the bytes, checked when the object arrives over a link.
    pub hash: [u8; 32],
}

impl ObjectMeta {
    /// Which of the results of its key it is.
    #[must_use]
    pub fn version(&self) -> Version {
        let [a, b, c, d, e, f, g, h, ..] = self.hash;
        Version(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}
