//! Drawn sequences of operations on a store and a disk that fails now and then, against a map of what
//! must be readable.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::disk::{Fault, FaultyDisk};
use super::{key, object};
use crate::{LoadError, Store, StoreConfig};

#[derive(Clone, Debug)]
enum Operation {
    Put {
        key: u32,
        length: usize,
        fill: u8,
    },
    Receive {
        key: u32,
        length: usize,
        fill: u8,
    },
    Load(u32),
    Stream(u32),
    Find(u32),
    Remove(u32),
    Press(u64),
    Others(u64),
    Disk(Fault),
    /// Lets the thread that writes come to an end.
    Settle,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0..12_u32;
    let put = (key.clone(), 0..4_000_usize, any::<u8>());
    prop_oneof![
        6 => put.clone().prop_map(|(key, length, fill)| Operation::Put { key, length, fill }),
        1 => put.prop_map(|(key, length, fill)| Operation::Receive { key, length, fill }),
        4 => key.clone().prop_map(Operation::Load),
        1 => key.clone().prop_map(Operation::Stream),
        2 => key.clone().prop_map(Operation::Find),
        2 => key.prop_map(Operation::Remove),
        1 => (0..8_000_u64).prop_map(Operation::Press),
        1 => (0..8_000_u64).prop_map(Operation::Others),
        1 => prop_oneof![
            2 => Just(Fault::None),
            1 => Just(Fault::Unwritable),
            1 => Just(Fault::Full),
            1 => Just(Fault::Crash),
            1 => Just(Fault::Corrupt),
            1 => Just(Fault::Short),
            1 => Just(Fault::Unreadable),
        ]
        .prop_map(Operation::Disk),
        2 => Just(Operation::Settle),
    ]
}

struct Run {
    store: Store,
    disk: FaultyDisk,
    model: BTreeMap<u32, Vec<u8>>,
    /// Files may have been damaged: an object may turn out to be gone, but never to be another.
    damaged: bool,
}

impl Run {
    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Put { key: k, length, fill } => {
                let bytes = vec![fill; length];
                self.store.insert(key(k), object(&bytes, &self.store));
                self.model.insert(k, bytes);
            }
            Operation::Receive { key: k, length, fill } => self.receive(k, vec![fill; length]),
            Operation::Load(k) => match self.store.load(&key(k)) {
                Ok(object) => assert_eq!(Some(&object.bytes.to_vec()), self.model.get(&k)),
                Err(error) => self.lost(k, &error),
            },
            Operation::Stream(k) => self.stream(k),
            Operation::Find(k) => {
                if let Some(object) = self.store.find(&key(k)) {
                    assert_eq!(Some(&object.bytes.to_vec()), self.model.get(&k));
                }
            }
            Operation::Remove(k) => {
                self.store.remove(&key(k));
                self.model.remove(&k);
            }
            Operation::Press(bytes) => self.store.press(bytes),
            Operation::Others(bytes) => self.store.count_others(bytes),
            Operation::Disk(fault) => {
                self.damaged |= matches!(fault, Fault::Corrupt | Fault::Short | Fault::Unreadable);
                self.disk.set(fault);
            }
            Operation::Settle => self.store.settle(),
        }
        self.store.check().unwrap();
        assert_eq!(self.store.usage().objects, self.model.len() as u64);
    }

    fn receive(&mut self, k: u32, bytes: Vec<u8>) {
        let meta = object(&bytes, &self.store).meta;
        let Ok(mut receiver) = self.store.receive(key(k), meta) else { return };
        let written = bytes.chunks(1_000).try_for_each(|piece| receiver.write(piece));
        if written.is_ok() && self.store.insert_received(receiver).is_ok_and(|kept| kept) {
            self.model.insert(k, bytes);
        }
    }

    fn stream(&mut self, k: u32) {
        let mut read = Vec::new();
        let mut buffer = [0; 700];
        let error = match self.store.reader(&key(k)) {
            Err(error) => Some(error),
            Ok(mut reader) => loop {
                match reader.read(&mut buffer) {
                    Ok(0) => break None,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                    Err(error) => break Some(error),
                }
            },
        };
        match error {
            None => assert_eq!(Some(&read), self.model.get(&k)),
            Some(LoadError::Missing) => assert!(!self.model.contains_key(&k)),
            // It stays until somebody wants all of it.
            Some(_) => assert!(self.damaged),
        }
    }

    fn lost(&mut self, k: u32, error: &LoadError) {
        match error {
            LoadError::Missing => assert!(!self.model.contains_key(&k)),
            LoadError::Unreadable { .. } | LoadError::Changed { .. } => {
                assert!(self.damaged, "{error}");
                self.model.remove(&k);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_was_put_in_comes_out_or_is_told_to_be_gone(operations in vec(operation(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        let config = StoreConfig {
            directory: Some(directory.path().to_owned()),
            target_bytes: 6_000,
            spilled_bytes_max: 20_000,
        };
        let store = Store::open_on(&config, Box::new(disk.clone()));
        let mut run = Run { store, disk, model: BTreeMap::new(), damaged: false };
        operations.iter().for_each(|operation| run.apply(operation));
        run.disk.set(Fault::None);
        for k in 0..12 {
            run.apply(&Operation::Load(k));
            run.apply(&Operation::Remove(k));
        }
        // What is being written is in memory until that has ended.
        super::spill::until("nothing is left", || run.store.usage() == crate::Usage::default());
        drop(run.store);
        let left = std::fs::read_dir(directory.path()).map_or(0, Iterator::count);
        prop_assert_eq!(left, 0);
    }
}
