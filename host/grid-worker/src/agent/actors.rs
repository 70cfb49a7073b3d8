//! Actors: which of them have a method in their instance, and which are lost.

use std::collections::BTreeMap;

use grid_proto::message::FromWorker;
use grid_proto::{Attempt, Instance, Key};

use super::{Action, Agent};

/// The actors that have a method in their instance, and which.
#[derive(Debug, Default)]
pub(crate) struct Actors(BTreeMap<Key, (Key, Attempt)>);

impl Actors {
    /// Somebody is in this instance.
    pub(crate) fn is_busy(&self, instance: Instance) -> bool {
        matches!(instance, Instance::Of(actor) if self.0.contains_key(&actor))
    }

    pub(crate) fn enter(&mut self, instance: Instance, call: (Key, Attempt)) {
        if let Instance::Of(actor) = instance {
            self.0.insert(actor, call);
        }
    }

    fn leave(&mut self, call: (Key, Attempt)) -> Option<Key> {
        let left = self.0.iter().find(|(_, inside)| **inside == call);
        let actor = left.map(|(actor, _)| *actor)?;
        self.0.remove(&actor);
        Some(actor)
    }
}

impl Agent {
    /// The instance of an actor is gone; before [`Self::on_executed`] of the method that was its end.
    pub fn on_actor_lost(&mut self, actor: Key, why: String) {
        if self.held.remove(&actor) {
            self.actions.push_back(Action::Send(FromWorker::ActorLost { key: actor, why }));
            self.actions.push_back(Action::Drop(actor));
        }
    }

    /// Whether it is still wanted.
    #[must_use]
    pub fn holds(&self, key: &Key) -> bool {
        self.held.contains(key)
    }

    /// A call has ended: if it was in an actor's instance, another may enter.
    pub(crate) fn leave_actor(&mut self, key: Key, attempt: Attempt) {
        let Some(actor) = self.actors.leave((key, attempt)) else { return };
        let waits = |job: &&mut super::Job| job.instance == Instance::Of(actor) && job.needs.actor;
        let mut ready = Vec::new();
        for (key, job) in &mut self.jobs {
            if let Some(job) = Some(job).filter(waits) {
                job.needs.actor = false;
                ready.push(*key);
            }
        }
        for key in ready {
            self.ready_if_complete(key);
        }
    }
}
