//! Datasets: calls that are kept under a name, whoever published them.

use grid_proto::Key;
use grid_proto::coordination::{Coordinated, DATASET_KEYS_MAX, DatasetOperation, NamedKind};
use grid_proto::message::Refusal;

use super::items::{Held, ITEM_BYTES};
use super::{Asker, Given, entry_bytes, unknown};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

impl Scheduler {
    pub(super) fn on_dataset(
        &mut self,
        asker: Asker,
        name: String,
        operation: DatasetOperation,
    ) -> Given {
        match operation {
            DatasetOperation::Publish { keys, replace } => self.publish(name, &keys, replace),
            DatasetOperation::Get => {
                let Some(calls) = self.coordination.datasets.get(&name) else {
                    return Err(unknown(NamedKind::Dataset, name));
                };
                let calls: Vec<_> = calls.iter().copied().map(Held::Call).collect();
                let items = calls.iter().map(|held| self.hold_again(held)).collect();
                self.hand_over(asker, items, None);
                Ok(None)
            }
            DatasetOperation::Unpublish => match self.unpublish(&name) {
                true => Ok(Some(Coordinated::Done)),
                false => Err(unknown(NamedKind::Dataset, name)),
            },
        }
    }

    fn publish(&mut self, name: String, keys: &[Key], replace: bool) -> Given {
        if keys.len() > DATASET_KEYS_MAX {
            let message = format!(
                "a dataset names at most {DATASET_KEYS_MAX} futures; these are {}: publish parts, or \
                 the future of a call that joins them",
                keys.len()
            );
            return Err(Refusal::OverBound { message });
        }
        if !replace && self.coordination.datasets.contains_key(&name) {
            return Err(Refusal::NameExists { kind: NamedKind::Dataset, name });
        }
        let calls: Vec<_> =
            keys.iter().map(|key| self.known_call(key)).collect::<Result<_, _>>()?;
        self.charge(dataset_bytes(&name, calls.len()))?;
        // Kept before those of the old one are let go: they may be the same.
        for id in &calls {
            self.keep(*id);
        }
        self.unpublish(&name);
        self.coordination.datasets.insert(name, calls);
        Ok(Some(Coordinated::Done))
    }

    /// Says whether there was one.
    fn unpublish(&mut self, name: &str) -> bool {
        let Some(calls) = self.coordination.datasets.remove(name) else {
            return false;
        };
        self.refund(dataset_bytes(name, calls.len()));
        for id in calls {
            if self.mutated(Mutation::NamedKept) {
                continue;
            }
            self.keep_no_more(id);
        }
        true
    }
}

pub(super) fn dataset_bytes(name: &str, calls: usize) -> u64 {
    entry_bytes(name) + calls as u64 * ITEM_BYTES
}
