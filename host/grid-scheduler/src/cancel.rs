//! Cancelling: interest in calls and in all that depends on them is dropped, and what nobody wants
//! then stops. In turns, because a million may depend on one; first what nothing else depends on, so
//! that nobody reads a call any more when its turn comes.
//!
//! What is submitted after the request is not meant by it, though the request is still under way: of
//! each client's interest it is known whether it is older.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::{ClientId, Failure, FailureKind, Key};

use crate::call::{CallId, State};
use crate::config::AT_ONCE_MAX;
use crate::machine::Scheduler;
use crate::story::Cause;

/// Places that a step lets go of when a request is done.
const FORGOTTEN_PER_STEP: usize = 16;

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Cancel {
    client: ClientId,
    force: bool,
    /// Interest of this age and younger is not meant.
    age: u64,
    /// The calls that it names and has not come to.
    roots: Vec<CallId>,
    /// The way from one of them to where it is: each with the place at which its dependents go on.
    way: Vec<(CallId, u32)>,
    /// Calls to which it has come before.
    reached: BTreeSet<CallId>,
}

impl Cancel {
    /// Calls that must not be forgotten meanwhile.
    pub(crate) fn staged(&self) -> impl Iterator<Item = &CallId> {
        self.roots.iter().chain(self.way.iter().map(|(id, _)| id))
    }
}

impl Scheduler {
    /// Drops interest in calls and in all that depends on them. With `force`, what is kept under a
    /// name fails as cancelled, and keeps its name.
    pub(crate) fn on_cancel(&mut self, client: ClientId, keys: &[Key], force: bool) {
        self.age += 1;
        let roots: Vec<_> = keys.iter().filter_map(|key| self.calls.find(key)).collect();
        for id in &roots {
            self.calls[*id].staged += 1;
        }
        let (age, way, reached) = (self.age, Vec::new(), BTreeSet::new());
        self.cancels.push_back(Cancel { client, force, age, roots, way, reached });
        // Few are done with at once.
        for _ in 0..AT_ONCE_MAX {
            if !self.cancel_step() {
                return;
            }
        }
    }

    /// One step of a cancel. Says whether there was one.
    pub(crate) fn cancel_step(&mut self) -> bool {
        let Some(mut cancel) = self.cancels.pop_front() else { return false };
        self.story.cause = Cause::Client(cancel.client, "cancel");
        match cancel.way.last_mut() {
            Some((id, from)) => match self.calls[*id].dependents.next_from(*from) {
                Some(dependent) => {
                    *from = dependent.0 + 1;
                    if cancel.reached.insert(dependent) {
                        self.calls[dependent].staged += 1;
                        cancel.way.push((dependent, 0));
                    }
                }
                None => {
                    let id = *id;
                    cancel.way.pop();
                    self.calls[id].staged -= 1;
                    self.cancel_one(&cancel, id);
                }
            },
            None => match cancel.roots.pop() {
                Some(root) if cancel.reached.insert(root) => cancel.way.push((root, 0)),
                Some(root) => {
                    self.calls[root].staged -= 1;
                    self.release_unwanted(root);
                }
                // A million at once would take long to let go of.
                None if cancel.reached.pop_first().is_none() => return true,
                None => {
                    for _ in 1..FORGOTTEN_PER_STEP {
                        cancel.reached.pop_first();
                    }
                }
            },
        }
        self.cancels.push_back(cancel);
        true
    }

    /// What depends on it has been cancelled before.
    fn cancel_one(&mut self, cancel: &Cancel, id: CallId) {
        let interested = match cancel.force {
            true => self.calls[id].clients.to_vec(),
            false => vec![cancel.client],
        };
        let ended = matches!(self.calls[id].state, State::Memory { .. } | State::Erred(_));
        for other in interested {
            let younger = self.clients.get(&other).and_then(|known| known.wants.get(&id));
            if younger.is_some_and(|age| *age >= cancel.age) {
                continue;
            }
            if self.drop_interest(other, id) && !ended {
                self.announce_cancelled(other, self.calls[id].key);
            }
        }
        if cancel.force {
            self.cancel_kept(id);
        }
        self.release_unwanted(id);
    }

    /// A detached call is so no more, and one that is kept under a name fails as cancelled, unless
    /// somebody reads it who came since.
    fn cancel_kept(&mut self, id: CallId) {
        let cancelled = || Failure::new(FailureKind::Cancelled, "the call was cancelled");
        self.end_detachment(id);
        if self.calls[id].is_active() && self.calls[id].kept > 0 {
            self.stop(id);
            return self.fail(id, Arc::new(cancelled()));
        }
        self.release_unwanted(id);
        if !self.calls.contains(id) {
            return;
        }
        let call = &self.calls[id];
        if call.in_memory() && call.active_dependents == 0 && call.clients.is_empty() {
            self.free(id, call.key);
            self.set_state(id, State::Erred(Arc::new(cancelled())));
        }
    }
}
