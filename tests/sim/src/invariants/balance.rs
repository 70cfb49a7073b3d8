//! What is asked back of a worker has not begun there, is the last in the order of its task's calls
//! that may run anywhere and did not ask for it, and does not come back to it again and again.

use std::collections::BTreeMap;

use grid_proto::message::{FromWorker, ToWorker};
use grid_proto::{Attempt, Key, Priority, TaskId, WorkerId};

use super::Invariants;

/// So often a call may be given back by one worker and given to it again. Once or twice it may be that
/// whoever was to take it has got other work meanwhile.
const RETURNS_MAX: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Balance {
    /// Who gave a call back last, and how often it came back to the same worker.
    given_back: BTreeMap<Key, (WorkerId, u32)>,
}

impl Balance {
    /// A call is given to a worker.
    pub(super) fn check_run(&mut self, worker: WorkerId, key: &Key) -> Result<(), String> {
        let Some((from, returns)) = self.given_back.get_mut(key) else { return Ok(()) };
        if *from != worker {
            self.given_back.remove(key);
            return Ok(());
        }
        *returns += 1;
        match *returns <= RETURNS_MAX {
            true => Ok(()),
            false => Err(format!("{} came back to worker {worker} {returns} times", key.short())),
        }
    }
}

impl Invariants {
    pub(super) fn on_withdrawn(&mut self, worker: WorkerId, message: &FromWorker) {
        match message {
            FromWorker::Withdrawn { key, attempt }
                if self.hands.given.contains_key(&(worker, *key, *attempt)) =>
            {
                let given_back = self.balance.given_back.entry(*key).or_insert((worker, 0));
                if given_back.0 != worker {
                    *given_back = (worker, 0);
                }
            }
            // What was given back because of that may come back.
            FromWorker::Paused(false) => {
                self.balance.given_back.retain(|_, (from, _)| *from != worker);
            }
            // It came back for another reason, or will.
            FromWorker::Finished { key, .. } | FromWorker::MissingInputs { key, .. } => {
                self.balance.given_back.remove(key);
            }
            _ => {}
        }
    }

    /// A worker is asked to give calls back.
    pub(crate) fn check_asked_back(
        &mut self,
        worker: WorkerId,
        message: &ToWorker,
    ) -> Result<(), String> {
        let ToWorker::Withdraw(attempts) = message else { return Ok(()) };
        for (key, attempt) in attempts {
            self.check_one(worker, *key, *attempt)?;
        }
        let asked = |key: &Key, attempt: &Attempt| attempts.contains(&(*key, *attempt));
        let mut last_kept = BTreeMap::<TaskId, Priority>::new();
        for ((_, key, attempt), given) in self.hands.of(worker) {
            let idle = !given.started && !given.waits && !given.asked_back;
            // What asked to run elsewhere stays where it was brought.
            let settled = self.elsewhere.has_asked(key);
            if given.plain && idle && !settled && !asked(key, attempt) {
                let last = last_kept.entry(given.task).or_insert(given.priority);
                *last = (*last).max(given.priority);
            }
        }
        for (key, attempt) in attempts {
            if let Some(given) = self.hands.given.get_mut(&(worker, *key, *attempt)) {
                given.asked_back = true;
                if last_kept.get(&given.task).is_some_and(|kept| *kept > given.priority) {
                    let key = key.short();
                    return Err(format!("{key} is asked back though others come after it"));
                }
            }
        }
        Ok(())
    }

    fn check_one(&self, worker: WorkerId, key: Key, attempt: Attempt) -> Result<(), String> {
        let broken = |why: &str| Err(format!("{} at {attempt} is asked back, {why}", key.short()));
        match self.hands.given.get(&(worker, key, attempt)) {
            None => broken("and the worker does not have it"),
            Some(given) if given.started => broken("and it runs"),
            Some(given) if given.waits => broken("and it waits"),
            Some(given) if given.asked_back => broken("and it was before"),
            Some(_) => Ok(()),
        }
    }
}
