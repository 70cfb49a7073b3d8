//! The store.

use std::collections::BTreeMap;
use std::sync::Arc;

use grid_proto::{Key, ObjectMeta, Value};

/// The bytes behind a key, shared by all who read them.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is known of them.
    pub meta: ObjectMeta,
    /// The bytes themselves.
    pub bytes: Arc<Vec<u8>>,
}

impl Object {
    /// An object of a value, hashed once.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self { meta: value.meta(), bytes: Arc::new(value.bytes) }
    }

    /// An object that arrived over a link, if its bytes are what they should be.
    #[must_use]
    pub fn verified(meta: ObjectMeta, bytes: Vec<u8>) -> Option<Self> {
        let value = Value { codec: meta.codec, bytes };
        let object = Self::new(value);
        (object.meta == meta).then_some(object)
    }
}

/// All objects of one worker.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
    bytes: u64,
}

impl Store {
    /// Keeps an object; one of the same key goes.
    pub fn insert(&mut self, key: Key, object: Object) {
        self.bytes += object.meta.size;
        if let Some(old) = self.objects.insert(key, object) {
            self.bytes -= old.meta.size;
        }
    }

    /// The object of a key. Cheap: the bytes are shared.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Object> {
        self.objects.get(key).cloned()
    }

    /// Drops an object; its bytes go when the last reader is done.
    pub fn remove(&mut self, key: &Key) {
        if let Some(old) = self.objects.remove(key) {
            self.bytes -= old.meta.size;
        }
    }

    /// Everything that is held, in the order of keys.
    pub fn metas(&self) -> impl Iterator<Item = (Key, ObjectMeta)> {
        self.objects.iter().map(|(key, object)| (*key, object.meta))
    }

    /// Bytes of all objects together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}
