//! A call that asks to run elsewhere runs on another worker if there is one that suits it; it fails
//! only after it has asked too often.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::{Key, WorkerId};

use crate::oracle::Oracle;

/// Who is submitted anew may ask anew; no call is that often.
const ASKS_MAX: u32 = 200;

#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    pub(crate) asks_max: u32,
    /// Calls that asked and were not given away since: where, and who else was there.
    open: BTreeMap<Key, (WorkerId, Vec<WorkerId>)>,
    asks: BTreeMap<Key, u32>,
}

impl Elsewhere {
    /// The call asked to run elsewhere, in this life or an earlier one.
    pub(super) fn has_asked(&self, key: &Key) -> bool {
        self.asks.contains_key(key)
    }

    /// The worker on which the call asked so, if it was given to nobody since.
    pub(super) fn leaves(&self, key: &Key) -> Option<WorkerId> {
        self.open.get(key).map(|(worker, _)| *worker)
    }

    /// Who lets go of a call may end it; when it is wanted anew it may run anywhere.
    pub(crate) fn on_client(&mut self, message: &FromClient) {
        if !matches!(message, FromClient::Submit(_) | FromClient::Query { .. }) {
            self.on_client_gone();
        }
    }

    /// A worker that is paused may have been no choice when the call was placed.
    pub(super) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if matches!(message, FromWorker::Paused(true)) {
            for (_, others) in self.open.values_mut() {
                others.retain(|other| *other != worker);
            }
        }
    }

    pub(crate) fn on_client_gone(&mut self) {
        for (_, others) in self.open.values_mut() {
            others.clear();
        }
    }
}

impl Oracle {
    /// A call asked to run elsewhere, and the scheduler counted it. Unless it `goes_on` it has failed,
    /// and is another call when it is wanted anew.
    pub(crate) fn on_ask(
        &mut self,
        worker: WorkerId,
        key: Key,
        goes_on: bool,
    ) -> Result<(), String> {
        let there = |other: &WorkerId| {
            !self.lost.contains(other) && !self.invariants.pause.is_paused(*other)
        };
        let others = self.names.keys().filter(|other| **other != worker && there(other));
        let others = others.copied().collect();
        match goes_on {
            true => drop(self.invariants.elsewhere.open.insert(key, (worker, others))),
            false => drop(self.invariants.elsewhere.open.remove(&key)),
        }
        let asks = self.invariants.elsewhere.asks.entry(key).or_default();
        *asks += 1;
        match *asks <= ASKS_MAX {
            true => Ok(()),
            false => Err(format!("{}: it asked {asks} times to run elsewhere", key.short())),
        }
    }

    /// A call is about to be given to a worker. Says whether it had asked for another.
    pub(crate) fn check_moved(&mut self, worker: WorkerId, key: &Key) -> Result<bool, String> {
        let Some((avoids, others)) = self.invariants.elsewhere.open.remove(key) else {
            return Ok(false);
        };
        let (_, most) = self.input_bytes(key);
        let suits = |other: &WorkerId| {
            !self.lost.contains(other)
                && !self.invariants.pause.is_paused(*other)
                && most <= self.invariants.memory.limit(*other)
        };
        if worker == avoids && !self.invariants.needs.any_of(key) && others.iter().any(suits) {
            let key = key.short();
            return Err(format!("{key} runs on worker {worker} again though there are others"));
        }
        Ok(true)
    }

    /// A call failed because it had asked too often.
    pub(super) fn check_asked_too_often(&self, key: &Key) -> Result<(), String> {
        let elsewhere = &self.invariants.elsewhere;
        let asks = elsewhere.asks.get(key).copied().unwrap_or_default();
        match asks > elsewhere.asks_max {
            true => Ok(()),
            false => Err(format!("{}: it asked {asks} times to run elsewhere", key.short())),
        }
    }
}
