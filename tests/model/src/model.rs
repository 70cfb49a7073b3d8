//! What must be readable: who wants which call, what they were told, and whose fault it may be if
//! there is no result.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{Holder, ToClient};
use grid_proto::{ClientId, Failure, FailureKind, Key, WorkerId};

use crate::graph;

/// What a client was told last.
#[derive(Debug)]
pub(crate) enum Told {
    Nothing,
    Ready(Vec<Holder>),
    Failed(Failure),
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) wanted: BTreeMap<(ClientId, u8), Told>,
    pub(crate) named: BTreeMap<u8, u8>,
    /// Calls that failed by their own fault at some time, and calls that workers died of.
    pub(crate) failed: BTreeSet<u8>,
}

impl Model {
    pub(crate) fn wants(&mut self, client: ClientId, call: u8) {
        self.wanted.entry((client, call)).or_insert(Told::Nothing);
    }

    /// Nobody wants what depends on the call; `of` is whom it concerns, or everybody.
    pub(crate) fn cancel(&mut self, of: Option<ClientId>, call: u8) {
        self.wanted.retain(|(client, wanted), _| {
            let meant = of.is_none_or(|of| of == *client);
            !(meant && graph::closure(*wanted).contains(&call))
        });
    }

    pub(crate) fn on_told(&mut self, client: ClientId, message: ToClient) -> Result<(), String> {
        match message {
            ToClient::Ready { key, meta, holders, .. } => {
                let call = graph::call(key);
                if meta != graph::meta(call) {
                    return Err(format!("{client} was told another result of {call}"));
                }
                self.tell(client, key, Told::Ready(holders))
            }
            ToClient::Failed { failure, .. } if failure.kind == FailureKind::Cancelled => Ok(()),
            ToClient::Failed { key, failure } => self.tell(client, key, Told::Failed(failure)),
            ToClient::Again(keys) => {
                keys.iter().try_for_each(|key| self.tell(client, *key, Told::Nothing))
            }
            ToClient::Refused { error, .. } => Err(format!("{client} was refused: {error}")),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, client: ClientId, key: Key, news: Told) -> Result<(), String> {
        let call = graph::call(key);
        match self.wanted.get_mut(&(client, call)) {
            Some(told) => *told = news,
            None => return Err(format!("{client} was told of {call}, which it does not want")),
        }
        Ok(())
    }

    /// What the grid keeps for somebody.
    pub(crate) fn kept(&self) -> BTreeSet<u8> {
        self.wanted.keys().map(|(_, call)| *call).chain(self.named.values().copied()).collect()
    }

    /// The grid is at rest: every promise is kept.
    pub(crate) fn check(&self, stores: &BTreeMap<WorkerId, BTreeSet<Key>>) -> Result<(), String> {
        for ((client, call), told) in &self.wanted {
            let broken = |what: &str| Err(format!("{client} wants {call}, {what}"));
            match told {
                Told::Nothing => return broken("and was told nothing"),
                Told::Ready(holders) => {
                    let held = |holder: &Holder| {
                        let store = stores.get(&holder.worker);
                        store.is_some_and(|store| store.contains(&graph::key(*call)))
                    };
                    if !holders.iter().any(held) {
                        return broken("which is on none of the workers it was told");
                    }
                }
                Told::Failed(failure) => {
                    let Some(site) = &failure.site else {
                        return broken("which failed nobody knows where");
                    };
                    let site = graph::call(site.key);
                    if !graph::closure(*call).contains(&site) || !self.failed.contains(&site) {
                        return broken(&format!("which failed without a cause: {failure}"));
                    }
                }
            }
        }
        Ok(())
    }
}
