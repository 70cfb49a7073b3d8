//! What a worker's store holds, and how many bytes that is.

use std::collections::BTreeMap;

use grid_proto::{Key, ObjectMeta};

#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, ObjectMeta>,
    bytes: u64,
}

impl Store {
    pub(crate) fn insert(&mut self, key: Key, meta: ObjectMeta) {
        self.remove(&key);
        self.bytes += meta.size;
        self.objects.insert(key, meta);
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(meta) = self.objects.remove(key) {
            self.bytes -= meta.size;
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&ObjectMeta> {
        self.objects.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &ObjectMeta)> {
        self.objects.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
