//! A lost worker's death is charged to calls that it was executing: to no more than it had slots.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::FromWorker;
use grid_proto::{Death, Key, WorkerId};

use crate::oracle::Oracle;

#[derive(Debug, Default)]
pub(crate) struct Deaths {
    slots: BTreeMap<WorkerId, u32>,
    /// Calls that failed because of the death of this worker, among others.
    charged: BTreeMap<WorkerId, BTreeSet<Key>>,
}

impl Deaths {
    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if let FromWorker::Register(registration) = message {
            self.slots.insert(worker, registration.slots);
        }
    }
}

impl Oracle {
    /// A call failed because of these deaths.
    pub(crate) fn charge(&mut self, key: Key, charged: &[Death]) -> Result<(), String> {
        let Self { runs, names, lost, invariants, .. } = self;
        let deaths = &mut invariants.deaths;
        for death in charged {
            let meant = |worker: &&WorkerId| {
                lost.contains(worker) && names.get(worker) == Some(&death.worker)
            };
            let given = runs.get(&(key, death.attempt)).into_iter().flatten();
            for worker in given.filter(meant) {
                let calls = deaths.charged.entry(*worker).or_default();
                calls.insert(key);
                let slots = deaths.slots.get(worker).copied().unwrap_or_default();
                if calls.len() > slots as usize {
                    let (name, charged) = (&death.worker, calls.len());
                    return Err(format!(
                        "the death of {name}, which has {slots} slots, is charged to {charged} calls"
                    ));
                }
            }
        }
        Ok(())
    }
}
