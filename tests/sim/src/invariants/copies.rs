//! There are no more copies of anything than somebody asked for, once nobody reads it; see `data.rs`
//! beside the simulated clients, which asks for some in the end and looks.

use std::collections::BTreeMap;

use grid_proto::Key;
use grid_proto::message::FromClient;

#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The most that any client ever asked for.
    asked: BTreeMap<Key, u32>,
}

impl Copies {
    pub(super) fn on_client(&mut self, message: &FromClient) {
        if let FromClient::Replicate { keys, copies, .. } = message {
            for key in keys {
                let asked = self.asked.entry(*key).or_default();
                *asked = (*asked).max(*copies);
            }
        }
    }

    pub(crate) fn asked_max(&self, key: &Key) -> u32 {
        self.asked.get(key).copied().unwrap_or(1)
    }
}
