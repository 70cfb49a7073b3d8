//! Workers as the machine sees them: what is in their hands, and what is in their stores.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::{Assignment, FromWorker, Outcome, Registration, ToWorker};
use grid_proto::{Attempt, Failure, FailureKind, Key, ObjectMeta, Spent, WorkerId};

use crate::graph;

/// One worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) slots: u8,
    pub(crate) hands: Vec<Assignment>,
    started: BTreeSet<Key>,
    asked_back: Vec<(Key, Attempt)>,
    pub(crate) store: BTreeSet<Key>,
}

impl Worker {
    pub(crate) fn new(slots: u8) -> Self {
        Self {
            slots,
            hands: Vec::new(),
            started: BTreeSet::new(),
            asked_back: Vec::new(),
            store: BTreeSet::new(),
        }
    }

    pub(crate) fn registration(&self, place: u8) -> Registration {
        let held = |key: &Key| -> (Key, ObjectMeta) { (*key, graph::meta(graph::call(*key))) };
        Registration {
            name: format!("w{place}"),
            address: format!("w{place}:1"),
            host: "here".to_owned(),
            labels: Vec::new(),
            resources: Vec::new(),
            memory_bytes: 1 << 30,
            object_bytes: 1 << 30,
            pid: u32::from(place),
            slots: u32::from(self.slots),
            holds: self.store.iter().map(held).collect(),
            in_hand: self.hands.iter().map(|run| (run.key, run.attempt)).collect(),
        }
    }

    pub(crate) fn on_message(&mut self, message: ToWorker) -> Result<(), String> {
        match message {
            ToWorker::Run(runs) => {
                for run in runs {
                    if self.hands.iter().any(|other| other.key == run.key) {
                        return Err(format!(
                            "{} is given to a worker that has it",
                            run.key.short()
                        ));
                    }
                    self.hands.push(run);
                }
            }
            ToWorker::Cancel(attempts) => {
                self.hands.retain(|run| !attempts.contains(&(run.key, run.attempt)));
            }
            ToWorker::Free { keys, .. } => {
                for key in keys {
                    self.store.remove(&key);
                }
            }
            ToWorker::Withdraw(attempts) => self.asked_back.extend(attempts),
            _ => {}
        }
        Ok(())
    }

    /// It stops what it has in hand.
    pub(crate) fn forget_hands(&mut self) {
        self.hands.clear();
        self.started.clear();
        self.asked_back.clear();
    }

    fn take(&mut self, place: u8) -> Option<Assignment> {
        // An index of a list that may be empty.
        let place = usize::from(place).checked_rem(self.hands.len())?;
        let run = self.hands.remove(place);
        self.started.remove(&run.key);
        Some(run)
    }

    pub(crate) fn start(&mut self, place: u8) -> Option<FromWorker> {
        let run = &self.hands[usize::from(place).checked_rem(self.hands.len())?];
        let room = self.started.len() < usize::from(self.slots);
        let news = room && self.started.insert(run.key);
        news.then(|| FromWorker::Started(vec![(run.key, run.attempt)]))
    }

    /// A call ends well, if its inputs can be had from `stores`; else they are missing.
    pub(crate) fn finish(
        &mut self,
        place: u8,
        stores: &BTreeMap<WorkerId, BTreeSet<Key>>,
    ) -> Vec<FromWorker> {
        let Some(Assignment { key, attempt, inputs, .. }) = self.take(place) else {
            return Vec::new();
        };
        let held = |input: &Key, at: &WorkerId| stores.get(at).is_some_and(|s| s.contains(input));
        let lacks = inputs.iter().filter(|(input, _)| !self.store.contains(input));
        let (mut copies, mut missing) = (Vec::new(), Vec::new());
        for (input, holders) in lacks {
            match holders.iter().any(|at| held(input, at)) {
                true => copies.push((*input, graph::meta(graph::call(*input)).version())),
                false => missing.extend(holders.iter().map(|at| (*input, *at))),
            }
        }
        self.store.extend(copies.iter().map(|(input, _)| *input));
        let mut said = vec![FromWorker::Holds(copies)];
        said.push(match missing.is_empty() {
            true => {
                self.store.insert(key);
                let meta = graph::meta(graph::call(key));
                let outcome = Outcome::Memory { meta, inline: None };
                FromWorker::Finished { key, attempt, outcome, spent: Spent::default() }
            }
            false => FromWorker::MissingInputs { key, attempt, missing },
        });
        said
    }

    pub(crate) fn fail(&mut self, place: u8) -> Option<FromWorker> {
        let Assignment { key, attempt, .. } = self.take(place)?;
        let outcome = Outcome::Failed(Failure::new(FailureKind::User, "it failed"));
        Some(FromWorker::Finished { key, attempt, outcome, spent: Spent::default() })
    }

    pub(crate) fn give_back(&mut self) -> Vec<FromWorker> {
        let asked = std::mem::take(&mut self.asked_back);
        let mut given = Vec::new();
        for (key, attempt) in asked {
            let before = self.hands.len();
            let begun = self.started.contains(&key);
            self.hands.retain(|run| begun || (run.key, run.attempt) != (key, attempt));
            if self.hands.len() < before {
                given.push(FromWorker::Withdrawn { key, attempt });
            }
        }
        given
    }
}
