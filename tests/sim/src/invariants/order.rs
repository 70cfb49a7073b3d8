//! A worker that has room is never given a call while one that comes before it, and could run there,
//! is held back. It is checked for calls that could run anywhere: those without inputs and needs.

use std::collections::BTreeMap;

use grid_proto::message::{Assignment, FromClient, FromWorker};
use grid_proto::report::CallInfo;
use grid_proto::{Key, Priority, WorkerId};

use crate::oracle::Oracle;

/// What was given away while a call was held back: the last of it in the order.
#[derive(Debug, Default)]
pub(crate) struct Order {
    overtook: BTreeMap<Key, Priority>,
}

impl Order {
    /// A key may stand for another call from now on, with a place of its own in the order.
    pub(crate) fn on_client(&mut self, message: &FromClient) {
        if let FromClient::Submit(submission) = message {
            for call in &submission.calls {
                self.overtook.remove(&call.key);
            }
        }
    }

    pub(crate) fn on_worker(&mut self, message: &FromWorker) {
        if let FromWorker::FromTask { message, .. } = message {
            self.on_client(message);
        }
    }

    /// A call is given to a worker, whose place in the order is known by that.
    pub(crate) fn check_run(&mut self, run: &Assignment) -> Result<(), String> {
        match self.overtook.remove(&run.key) {
            Some(overtook) if overtook > run.priority => {
                let (key, own) = (run.key.short(), run.priority);
                Err(format!("{key} was held back ({own:?}) while {overtook:?} was given away"))
            }
            _ => Ok(()),
        }
    }
}

impl Oracle {
    /// A placement round gave these to workers and left those held back. Calls inside of others may be
    /// given to a worker that has no room for anything else.
    pub(crate) fn on_round(&mut self, given: &[(WorkerId, Priority)], held_back: &[&CallInfo]) {
        let given = || given.iter().filter(|(_, priority)| priority.nesting == 0);
        if given().next().is_none() {
            return;
        }
        for call in held_back {
            // Where it asked to leave it could not run.
            let avoids = self.invariants.elsewhere.leaves(&call.key);
            let could = given().filter(|(worker, _)| Some(*worker) != avoids);
            let Some(last) = could.map(|(_, priority)| priority).max() else { continue };
            let anywhere =
                self.recipes.get(&call.key).is_some_and(|recipe| recipe.inputs.is_empty())
                    && !self.invariants.needs.any_of(&call.key);
            if anywhere {
                let overtook = self.invariants.order.overtook.entry(call.key).or_insert(*last);
                *overtook = (*overtook).max(*last);
            }
        }
    }
}
