//! What the scheduler believes that each worker holds is, at rest, what its agent and its store hold.

use std::collections::BTreeMap;

use grid_proto::Key;
use grid_proto::message::{Answer, Query};

use crate::world::World;

impl World {
    /// Everything that was wanted has ended and no message is under way.
    pub(crate) fn compare_holdings(&mut self) -> Result<(), String> {
        let mut believed = BTreeMap::<String, BTreeMap<Key, u64>>::new();
        for call in self.calls_in(Some("memory")) {
            for worker in call.workers {
                let bytes = call.size_bytes.unwrap_or_default();
                believed.entry(worker).or_default().insert(call.key, bytes);
            }
        }
        let Some(Answer::Workers(known)) = self.ask(Query::Workers) else {
            return Err("the scheduler does not tell its workers".to_owned());
        };
        for worker in &self.workers {
            let believed = believed.remove(&worker.name).unwrap_or_default();
            let held = worker.store.iter().map(|(key, meta)| (*key, meta.size));
            let held: BTreeMap<_, _> = held.collect();
            if let Some((key, _)) = believed.iter().find(|(key, size)| held.get(key) != Some(size))
            {
                return Err(format!("{} does not hold {} like that", worker.name, key.short()));
            }
            if let Some(key) = held.keys().find(|key| !believed.contains_key(key)) {
                return Err(format!("{} holds {}, unknown to all", worker.name, key.short()));
            }
            let bytes: u64 = held.values().sum();
            let told = known.iter().find(|known| known.name == worker.name);
            if told.is_none_or(|told| told.object_bytes != bytes || worker.store.bytes() != bytes) {
                return Err(format!("{} holds {bytes} bytes, others say {told:?}", worker.name));
            }
        }
        match believed.first_key_value() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{name} is believed to hold something and is gone")),
        }
    }
}
