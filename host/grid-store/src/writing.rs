//! An object that is written piece by piece, of which nobody knows how large it becomes.

use std::io;
use std::sync::Arc;

use grid_proto::{Codec, Key, ObjectMeta, Value};

use crate::blocks::Hashing;
use crate::files::{SpillFile, Unfinished};
use crate::object::{Object, Reserved};
use crate::store::{Claim, Store};

/// An object on its way into a store: in memory while it is small, and in a file from then on.
pub struct Writing {
    store: Store,
    key: Key,
    codec: Codec,
    place: Place,
}

enum Place {
    Memory { bytes: Vec<u8>, reserved: Reserved },
    File { file: Unfinished, claim: Claim, seen: Box<Hashing> },
}

/// An object that was written as a whole, and that the store does not know yet.
pub struct Written(pub(crate) Whole);

pub(crate) enum Whole {
    Memory(Key, Object),
    File(Key, ObjectMeta, Arc<SpillFile>, Claim),
}

impl Writing {
    pub(crate) fn new(store: Store, key: Key, codec: Codec) -> Self {
        let reserved = store.gauge().reserve(0);
        Self { store, key, codec, place: Place::Memory { bytes: Vec::new(), reserved } }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.place {
            Place::Memory { bytes, .. } => bytes.len() as u64,
            Place::File { seen, .. } => seen.bytes(),
        }
    }

    /// Takes the next bytes. May wait for a disk.
    ///
    /// # Errors
    /// What the system says of the disk; files hold as much as they may; there are none, and memory has no
    /// room for more.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let size = self.size().saturating_add(piece.len() as u64);
        if let Place::Memory { bytes, .. } = &self.place
            && self.store.is_over_target(size)
        {
            let (mut file, claim) = self.store.begin_file(self.key, bytes.len() as u64)?;
            let mut seen = Box::new(Hashing::new());
            file.write(bytes)?;
            seen.add(bytes);
            self.place = Place::File { file, claim, seen };
        }
        match &mut self.place {
            Place::Memory { bytes, reserved } => {
                bytes.extend_from_slice(piece);
                *reserved = self.store.gauge().reserve(bytes.capacity() as u64);
                Ok(())
            }
            Place::File { file, claim, seen } => {
                claim.grow(piece.len() as u64)?;
                seen.add(piece);
                file.write(piece)
            }
        }
    }

    /// All of it is written.
    ///
    /// # Errors
    /// What the system says of the disk.
    pub fn finish(self) -> io::Result<Written> {
        let (key, codec) = (self.key, self.codec);
        Ok(Written(match self.place {
            Place::Memory { mut bytes, reserved } => {
                bytes.shrink_to_fit();
                drop(reserved);
                Whole::Memory(key, Object::new(Value { codec, bytes }, self.store.gauge()))
            }
            Place::File { file, claim, seen } => {
                let (hash, blocks) = seen.finish();
                let meta = ObjectMeta { codec, size: seen.bytes(), hash };
                Whole::File(key, meta, file.finish(meta, Some(blocks))?, claim)
            }
        }))
    }
}

impl Written {
    /// An object that is whole already.
    #[must_use]
    pub fn of(key: Key, object: Object) -> Self {
        Self(Whole::Memory(key, object))
    }

    /// What was written.
    #[must_use]
    pub fn meta(&self) -> ObjectMeta {
        match &self.0 {
            Whole::Memory(_, object) => object.meta,
            Whole::File(_, meta, ..) => *meta,
        }
    }

    /// The object, if it is in memory.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match &self.0 {
            Whole::Memory(_, object) => Some(object),
            Whole::File(..) => None,
        }
    }
}
