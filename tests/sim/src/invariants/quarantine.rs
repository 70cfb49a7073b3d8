//! After so many strikes further calls of that task fail at once as quarantined, with the strikes
//! listed, until somebody clears it; errors that a task returns do not count; other tasks run on.
//! It is followed call by call for tasks that trap, until workers' deaths may have been strikes too: no
//! message tells of those.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use grid_proto::message::{Answer, FromClient, Query};
use grid_proto::report::QuarantineInfo;
use grid_proto::{Failure, FailureKind, Key, WorkerId};

use crate::oracle::Oracle;
use crate::task::{self, Kind};
use crate::world::World;

/// So many strikes are told.
const TOLD_MAX: usize = 10;

#[derive(Debug, Default)]
struct Task {
    strikes: u32,
    last: VecDeque<Strike>,
    refused: bool,
    /// What was told of the strikes each time that it was refused.
    sentences: Vec<Vec<Strike>>,
}

/// A call that trapped, and what was said of it.
type Strike = (Key, String, String);

#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// 0 for any number.
    pub(crate) strikes_max: u32,
    tasks: BTreeMap<String, Task>,
    /// Workers that were lost with this call in hand.
    deaths: BTreeMap<Key, u32>,
    /// Tasks of which a call may have failed because of such losses, a strike that is not told.
    blurred: BTreeSet<String>,
}

impl Quarantine {
    pub(crate) fn on_client(&mut self, message: &FromClient) {
        if let FromClient::Query { query: Query::ClearQuarantine { task }, .. } = message {
            for (label, known) in &mut self.tasks {
                if known.refused && task.as_ref().is_none_or(|task| task == label) {
                    let sentences = std::mem::take(&mut known.sentences);
                    *known = Task { sentences, ..Task::default() };
                }
            }
        }
    }

    /// An attempt ended so, and the scheduler counted it.
    fn on_failed(&mut self, label: String, worker: &str, key: Key, failure: &Failure) {
        if !matches!(failure.kind, FailureKind::Trap { .. }) {
            return;
        }
        let task = self.tasks.entry(label).or_default();
        task.strikes += 1;
        task.last.push_back((key, worker.to_owned(), failure.message.clone()));
        if task.last.len() > TOLD_MAX {
            task.last.pop_front();
        }
        if self.strikes_max > 0 && task.strikes >= self.strikes_max && !task.refused {
            task.refused = true;
            task.sentences.push(task.last.iter().cloned().collect());
        }
    }
}

impl Oracle {
    /// An attempt ended so, and the scheduler counted it.
    pub(crate) fn on_strike(&mut self, worker: WorkerId, key: Key, failure: &Failure) {
        let name = self.names.get(&worker).map_or("", String::as_str);
        if let Some(recipe) = self.recipes.get(&key) {
            let label = task::label(&recipe.task);
            self.invariants.quarantine.on_failed(label, name, key, failure);
        }
    }

    /// A worker was lost with this call in hand.
    pub(crate) fn on_death(&mut self, key: Key) {
        let quarantine = &mut self.invariants.quarantine;
        let deaths = quarantine.deaths.entry(key).or_default();
        *deaths += 1;
        if *deaths > 3
            && let Some(recipe) = self.recipes.get(&key)
        {
            quarantine.blurred.insert(task::label(&recipe.task));
        }
    }

    /// A call is about to be given to a worker.
    pub(crate) fn check_not_quarantined(&self, key: &Key) -> Result<(), String> {
        let Some(recipe) = self.recipes.get(key) else { return Ok(()) };
        let (quarantine, label) = (&self.invariants.quarantine, task::label(&recipe.task));
        match quarantine.tasks.get(&label) {
            Some(task) if task.refused && !quarantine.blurred.contains(&label) => {
                let (key, strikes) = (key.short(), task.strikes);
                Err(format!("{key} of `{}` runs after {strikes} strikes", recipe.task))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A call was refused because of its task.
    pub(super) fn check_refused(
        &self,
        key: &Key,
        strikes: u32,
        failure: &Failure,
    ) -> Result<(), String> {
        let quarantine = &self.invariants.quarantine;
        let broken = |why: &str| Err(format!("{}: refused ({failure}), but {why}", key.short()));
        let Some(recipe) = self.recipes.get(key) else { return broken("nobody submitted it") };
        if quarantine.strikes_max == 0 || strikes < quarantine.strikes_max {
            return broken("there were not so many strikes");
        }
        if failure.causes.len() != TOLD_MAX.min(strikes as usize) {
            return broken("its strikes are not listed");
        }
        if Kind::of(&recipe.task) != Some(Kind::Trapper) {
            let died = |cause: &String| cause.contains("killed-worker");
            return match failure.causes.iter().all(died) {
                true => Ok(()),
                false => broken("calls of this task never trap"),
            };
        }
        if quarantine.blurred.contains(&task::label(&recipe.task)) {
            return Ok(());
        }
        let Some(task) = quarantine.tasks.get(&task::label(&recipe.task)) else {
            return broken("its task never trapped");
        };
        let is = |cause: &String, (key, worker, message): &Strike| {
            cause.contains(&key.short()) && cause.contains(worker) && cause.contains(message)
        };
        let told = |sentence: &&Vec<Strike>| {
            let pairs = failure.causes.iter().zip(sentence.iter());
            sentence.len() == failure.causes.len() && { pairs }.all(|(cause, own)| is(cause, own))
        };
        match task.sentences.iter().find(told) {
            Some(_) => Ok(()),
            None => broken("those are not the strikes"),
        }
    }
}

impl World {
    /// What is in quarantine is what has to be.
    pub(crate) fn check_quarantine(&mut self) -> Result<(), String> {
        let Some(Answer::Quarantine(refused)) = self.ask(Query::Quarantine) else {
            return Err("the scheduler does not tell what is in quarantine".to_owned());
        };
        let Quarantine { tasks, blurred, .. } = &self.oracle.invariants.quarantine;
        let of_trappers =
            |info: &&QuarantineInfo| info.task.contains("trapper") && !blurred.contains(&info.task);
        let told = refused.iter().filter(of_trappers);
        let told: BTreeSet<_> = told.map(|info| (info.task.as_str(), info.strikes)).collect();
        let exact = |(label, task): &(&String, &Task)| task.refused && !blurred.contains(*label);
        let refused = tasks.iter().filter(exact);
        let expected: BTreeSet<_> =
            refused.map(|(label, task)| (label.as_str(), task.strikes)).collect();
        match told == expected {
            true => Ok(()),
            false => Err(format!("{told:?} are in quarantine instead of {expected:?}")),
        }
    }
}
