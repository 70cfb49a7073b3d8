//! Data that clients bring is lost only with a worker that had it, or with a client that brought it.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{Answer, FromClient, FromWorker, ToClient};
use grid_proto::{ClientId, Key, RequestId, WorkerId};

use crate::oracle::Oracle;

#[derive(Debug, Default)]
pub(crate) struct Data {
    /// Workers that said that they have it, or to which it was to be brought.
    holders: BTreeMap<Key, BTreeSet<WorkerId>>,
    bringers: BTreeMap<Key, BTreeSet<ClientId>>,
    /// What was asked for and has not been answered.
    asked: BTreeMap<(ClientId, RequestId), Vec<Key>>,
    /// Clients that let go of something that they brought, or left.
    left: BTreeSet<(ClientId, Key)>,
}

impl Data {
    pub(super) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        let keys: Vec<_> = match message {
            FromWorker::Holds(copies) => copies.iter().map(|(key, _)| *key).collect(),
            FromWorker::Register(registration) => {
                registration.holds.iter().map(|(key, _)| *key).collect()
            }
            _ => return,
        };
        for key in keys.iter().filter(|key| self.bringers.contains_key(key)) {
            self.holders.entry(*key).or_default().insert(worker);
        }
    }

    pub(super) fn on_client(&mut self, client: ClientId, message: &FromClient) {
        match message {
            FromClient::Scatter(scattering) => {
                let keys = scattering.items.iter().map(|(key, _)| *key).collect();
                self.asked.insert((client, scattering.request), keys);
                for (key, _) in &scattering.items {
                    self.bringers.entry(*key).or_default().insert(client);
                }
            }
            FromClient::Release(keys) | FromClient::Cancel { keys, .. } => {
                self.left.extend(keys.iter().map(|key| (client, *key)));
            }
            _ => {}
        }
    }

    pub(crate) fn on_to_client(&mut self, client: ClientId, message: &ToClient) {
        let ToClient::Answer { request, answer } = message else { return };
        let Some(keys) = self.asked.remove(&(client, *request)) else { return };
        if let Answer::Scattered(homes) = answer {
            for (key, home) in keys.into_iter().zip(homes) {
                let home = home.as_ref().map(|home| home.worker);
                self.holders.entry(key).or_default().extend(home);
            }
        }
    }

    pub(crate) fn on_client_gone(&mut self, client: ClientId) {
        for (key, bringers) in &self.bringers {
            if bringers.contains(&client) {
                self.left.insert((client, *key));
            }
        }
    }
}

impl Oracle {
    /// Somebody was told that this data is lost. Says whether it is data.
    pub(super) fn check_lost_data(&self, key: &Key) -> Result<bool, String> {
        let data = &self.invariants.data;
        let Some(bringers) = data.bringers.get(key) else { return Ok(false) };
        let mut holders = data.holders.get(key).into_iter().flatten();
        let left = |client: &ClientId| data.left.contains(&(*client, *key));
        match holders.any(|worker| self.lost.contains(worker)) || bringers.iter().any(left) {
            true => Ok(true),
            false => Err(format!("{}: lost, but nobody who had it is gone", key.short())),
        }
    }
}
