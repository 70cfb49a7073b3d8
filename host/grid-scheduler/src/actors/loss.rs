//! What becomes of an actor, and of its methods, when the instance is gone: they fail, and are never
//! computed again.

use std::sync::Arc;

use grid_proto::{Failure, FailureKind, Key, WorkerId};

use super::Method;
use crate::call::{CallId, State};
use crate::machine::Scheduler;

impl Scheduler {
    /// A worker says that an actor is gone.
    pub(crate) fn on_actor_lost(&mut self, worker: WorkerId, key: Key, why: String) {
        let held = |id: &CallId| self.calls[*id].holders().contains(&worker);
        let id = self.calls.find(&key).filter(held);
        let Some((id, actor)) = id.and_then(|id| Some((id, self.actors.by_call.get_mut(&id)?)))
        else {
            self.stale_messages += 1;
            return;
        };
        actor.why = Some(why);
        self.lose_replica(id, worker);
    }

    /// What cannot be computed again: what a client brought, an actor, and what its methods gave and
    /// changed.
    pub(crate) fn happens_once(&self, id: CallId) -> bool {
        self.is_data(id) || self.ran_once(id)
    }

    /// What only one attempt could make.
    pub(crate) fn ran_once(&self, id: CallId) -> bool {
        self.actors.is_actor(id) || self.actors.is_method(id)
    }

    /// The last replica of what cannot be computed again is gone, or was freed.
    pub(crate) fn fail_for_good(&mut self, id: CallId) {
        let failure = match self.actors.is_actor(id) {
            true => self.lost_actor(id),
            false if self.is_data(id) => self.lost_data(id),
            false => {
                let message = "the result is gone from all workers; a method of an actor is not run \
                               again, because that would change the actor twice";
                let mut failure = Failure::new(FailureKind::LostData, message);
                failure.site = Some(self.site(id, String::new()));
                failure
            }
        };
        // Active for a moment, as whatever fails.
        for input in self.calls[id].dependencies.clone() {
            self.calls[input].active_dependents += 1;
        }
        self.set_state(id, State::Waiting { missing: 0 });
        self.fail(id, Arc::new(failure));
    }

    /// A method went with the worker that had it in hand.
    pub(crate) fn fail_with_actor(&mut self, method: CallId) {
        if let Some(Method { actor, .. }) = self.actors.methods.get(&method) {
            let failure = self.lost_actor(*actor);
            self.fail(method, Arc::new(failure));
        }
    }

    fn lost_actor(&self, id: CallId) -> Failure {
        let actor = self.actors.by_call.get(&id);
        let home = actor.map(|actor| actor.home.clone()).unwrap_or_default();
        let why = actor.and_then(|actor| actor.why.clone());
        let is_there = || self.workers.iter().any(|(_, worker)| worker.name == home);
        let why = why.unwrap_or_else(|| match is_there() {
            true => format!("`{home}` no longer has it; it is freed when nobody holds it"),
            false => format!("its worker `{home}` is gone"),
        });
        let label = &self.tasks.of(self.calls[id].task).label;
        let message = format!("the actor that `{label}` made is lost with what it knew: {why}");
        let mut failure = Failure::new(FailureKind::ActorLost, message);
        failure.site = Some(self.site(id, home));
        failure
    }

    /// It is a method, and trying again is of no use.
    pub(crate) fn has_lost_its_actor(&self, id: CallId) -> bool {
        let method = self.actors.methods.get(&id);
        method.is_some_and(|method| !self.calls[method.actor].in_memory())
    }

    /// A method asked to run elsewhere.
    pub(crate) fn refuse_to_move(&mut self, id: CallId, worker: WorkerId) {
        let message = "a method of an actor asked to run on another worker than its actor is";
        let mut failure = Failure::new(FailureKind::Rescheduled, message);
        let name = self.workers.of(worker).map(|worker| worker.name.clone());
        failure.site = Some(self.site(id, name.unwrap_or_default()));
        self.fail(id, Arc::new(failure));
    }
}
