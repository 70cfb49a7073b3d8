//! A call whose inputs fit no worker that it may run on is refused, with both numbers; none is given to
//! a worker that its inputs do not fit.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{Assignment, FromWorker};
use grid_proto::{Instance, Key, WorkerId};

use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::task;

/// Bytes that a worker's inputs and results may hold: in some runs less than results hold together.
pub(crate) fn draw(rng: &mut Rng) -> u64 {
    rng.pick(&[60_000, 200_000, 500_000, 1 << 30])
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    limits: BTreeMap<WorkerId, u64>,
}

impl Memory {
    pub(super) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if let FromWorker::Register(registration) = message {
            self.limits.insert(worker, registration.memory_bytes);
        }
    }

    pub(super) fn limit(&self, worker: WorkerId) -> u64 {
        self.limits.get(&worker).copied().unwrap_or_default()
    }
}

impl Oracle {
    /// The fewest and the most bytes that a call's inputs may hold: executions of what is impure give
    /// results of different sizes.
    pub(super) fn input_bytes(&self, key: &Key) -> (u64, u64) {
        let inputs = self.recipes.get(key).map(|recipe| recipe.inputs.iter().collect());
        let inputs: BTreeSet<_> = inputs.unwrap_or_default();
        let (mut fewest, mut most) = (0, 0);
        for input in inputs {
            let sizes = self.produced.get(input).into_iter().flatten();
            let sizes: Vec<_> = sizes.map(|hash| task::meta(*hash).size).collect();
            fewest += sizes.iter().min().copied().unwrap_or_default();
            most += sizes.iter().max().copied().unwrap_or_default();
        }
        (fewest, most)
    }

    /// A call is about to be given to a worker. Methods have no choice.
    pub(crate) fn check_memory(&self, worker: WorkerId, run: &Assignment) -> Result<(), String> {
        let limit_bytes = self.invariants.memory.limit(worker);
        let (fewest, _) = self.input_bytes(&run.key);
        match fewest <= limit_bytes || matches!(run.instance, Instance::Of(_)) {
            true => Ok(()),
            false => Err(format!(
                "{}: its inputs hold {fewest} bytes and it was given to worker {worker}, which may \
                 hold {limit_bytes}",
                run.key.short()
            )),
        }
    }

    /// A call was refused because of its inputs' size.
    pub(super) fn check_too_large(
        &self,
        key: &Key,
        (limit_bytes, asked_bytes): (u64, u64),
        message: &str,
    ) -> Result<(), String> {
        // Not the fewest: an input may have been lost in the turn in which the call was looked at.
        let (_, most) = self.input_bytes(key);
        let mut limits = self.invariants.memory.limits.values();
        let named = |bytes: u64| message.contains(&format!("{bytes}"));
        let broken = |why: &str| Err(format!("{}: {message}: {why}", key.short()));
        if asked_bytes <= limit_bytes {
            broken("they fit")
        } else if asked_bytes > most {
            broken("its inputs do not hold that much")
        } else if !limits.any(|limit| *limit == limit_bytes) {
            broken("no worker may hold that much")
        } else if !named(asked_bytes) || !named(limit_bytes) {
            broken("it does not name both numbers")
        } else {
            Ok(())
        }
    }
}
