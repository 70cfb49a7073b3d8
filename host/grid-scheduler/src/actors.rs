//! Actors: calls whose instances stay where they ran, and the methods that run in them. The result
//! of the creating call is in memory on one worker and stands for the instance. Its methods depend on
//! it like on any input, so that it is kept while one of them may run; they go to its worker one at a
//! time, each caller's in the order of their submission.
//!
//! What an actor knew cannot be computed again: with its instance it fails, and with it every method
//! that has not ended.

mod loss;

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::Refusal;
use grid_proto::{CallOptions, ClientId, Instance, Pins, TaskId, WorkerId};

use crate::call::{CallId, Queue, State};
use crate::check::ensure;
use crate::machine::Scheduler;

/// All actors and their methods, until they are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    by_call: BTreeMap<CallId, Actor>,
    methods: BTreeMap<CallId, Method>,
    /// Actors that may have a method to give to their workers.
    stirred: BTreeSet<CallId>,
    submitted: u64,
}

#[derive(Debug, Default)]
struct Actor {
    /// The name of the worker that has the instance.
    home: String,
    /// Why it is lost, if its worker said so.
    why: Option<String>,
    /// Methods that have not ended, by caller, in the order of their submission.
    lines: BTreeMap<ClientId, BTreeSet<Turn>>,
    /// The method that its worker has in hand.
    current: Option<CallId>,
}

/// A method's place among those of its actor.
type Turn = (u64, CallId);

#[derive(Debug)]
struct Method {
    actor: CallId,
    caller: ClientId,
    number: u64,
    /// It has given a result, and changed its actor.
    done: bool,
}

/// What a new call is to actors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    None,
    Actor,
    MethodOf(CallId),
}

impl Role {
    /// The actor that a method depends on.
    pub(crate) fn actor(self) -> Option<CallId> {
        match self {
            Self::None | Self::Actor => None,
            Self::MethodOf(actor) => Some(actor),
        }
    }
}

impl Actors {
    pub(crate) fn is_actor(&self, id: CallId) -> bool {
        self.by_call.contains_key(&id)
    }

    pub(crate) fn is_method(&self, id: CallId) -> bool {
        self.methods.contains_key(&id)
    }

    /// Methods of it may still run, though they may not have started.
    pub(crate) fn is_needed(&self, id: CallId) -> bool {
        self.by_call.get(&id).is_some_and(|actor| !actor.lines.is_empty())
    }

    /// It has had a result: once more would be something else.
    pub(crate) fn is_over(&self, id: CallId) -> bool {
        self.has_lived(id) || self.methods.get(&id).is_some_and(|method| method.done)
    }

    /// It is an actor that was there once: another one under its key would not be it.
    pub(crate) fn has_lived(&self, id: CallId) -> bool {
        self.by_call.get(&id).is_some_and(|actor| !actor.home.is_empty())
    }

    pub(crate) fn on_created(&mut self, id: CallId, role: Role, caller: ClientId) {
        match role {
            Role::None => {}
            Role::Actor => drop(self.by_call.insert(id, Actor::default())),
            Role::MethodOf(actor) => {
                let number = self.submitted;
                self.submitted += 1;
                self.methods.insert(id, Method { actor, caller, number, done: false });
                let Some(actor) = self.by_call.get_mut(&actor) else { return };
                // From now on, though it has not started: what comes later stays behind it.
                actor.lines.entry(caller).or_default().insert((number, id));
            }
        }
    }

    /// A call is in this state from now on. Gives the actor that it was the last method of: nothing may
    /// run there any more.
    pub(crate) fn on_state(&mut self, id: CallId, state: &State) -> Option<CallId> {
        let method = self.methods.get_mut(&id)?;
        method.done |= matches!(state, State::Memory { .. });
        let Method { actor: of, caller, number, .. } = method;
        self.stirred.insert(*of);
        let actor = self.by_call.get_mut(of)?;
        let mut unneeded = None;
        match state {
            State::Waiting { .. } | State::Queued { .. } => {
                actor.lines.entry(*caller).or_default().insert((*number, id));
            }
            State::Processing(_) => {
                actor.current = Some(id);
                return None;
            }
            State::Released | State::Arriving(_) | State::Memory { .. } | State::Erred(_) => {
                if let Some(line) = actor.lines.get_mut(caller) {
                    line.remove(&(*number, id));
                    if line.is_empty() {
                        actor.lines.remove(caller);
                        unneeded = actor.lines.is_empty().then_some(*of);
                    }
                }
            }
        }
        actor.current = actor.current.filter(|current| *current != id);
        unneeded
    }

    /// A call is known no longer.
    pub(crate) fn forget(&mut self, id: CallId) {
        // What it has read is looked at anyhow.
        let _ = self.on_state(id, &State::Released);
        self.methods.remove(&id);
        self.by_call.remove(&id);
    }
}

impl Scheduler {
    /// The instance that a call runs in.
    pub(crate) fn instance_of(&self, id: CallId) -> Instance {
        match self.actors.methods.get(&id) {
            Some(method) => Instance::Of(self.calls[method.actor].key),
            None if self.actors.is_actor(id) => Instance::Kept,
            None => Instance::Fresh,
        }
    }

    /// What a call of this task is to actors, by what its caller says.
    pub(crate) fn find_instance(
        &self,
        options: &CallOptions,
        task: TaskId,
    ) -> Result<Role, Refusal> {
        let key = match options.instance {
            Instance::Fresh => return Ok(Role::None),
            Instance::Kept => return Ok(Role::Actor),
            Instance::Of(key) => key,
        };
        let unknown = || Refusal::UnknownKey { key: key.to_string() };
        let actor = self.calls.find(&key).ok_or_else(unknown)?;
        let bad = |message: String| Err(Refusal::BadSubmission { message });
        if !self.actors.is_actor(actor) {
            return bad(format!("`{}` is no actor: only actors have methods", key.short()));
        }
        let (made_by, method) = (self.tasks.of(self.calls[actor].task), self.tasks.of(task));
        if made_by.definition.bundle != method.definition.bundle {
            return bad(format!(
                "`{}` cannot be a method of the actor that `{}` made: it is of another bundle",
                method.label, made_by.label
            ));
        }
        let pinned = options.pins.as_ref().is_some_and(|Pins { any_of, .. }| !any_of.is_empty());
        if pinned || !options.resources.is_empty() {
            return bad(format!(
                "`{}` is a method of an actor and runs where that is: pin the call that makes it",
                method.label
            ));
        }
        Ok(Role::MethodOf(actor))
    }

    /// An actor is not a value that other calls could read.
    pub(crate) fn refuse_as_argument(&self, id: CallId) -> Result<(), Refusal> {
        if !self.actors.is_actor(id) {
            return Ok(());
        }
        let message = format!(
            "`{}` is an actor and stays on its worker; it cannot be an argument: call its methods",
            self.calls[id].key.short()
        );
        Err(Refusal::BadSubmission { message })
    }

    /// A method whose inputs are all there: it goes when it is its turn.
    pub(crate) fn line_up(&mut self, id: CallId) {
        let expected_us = self.tasks.of(self.calls[id].task).expected_us();
        self.set_state(id, State::Queued { at: Queue::Line, expected_us });
    }

    /// Gives each actor that has no method in hand its next one, whether its worker has room or not:
    /// it is one for each actor.
    pub(crate) fn place_methods(&mut self, touched: &mut BTreeSet<WorkerId>) {
        while let Some(actor) = self.actors.stirred.pop_first() {
            let Some(next) = self.next_method(actor) else { continue };
            if let Some(failure) = self.quarantine(next) {
                self.fail(next, failure);
                continue;
            }
            if !self.is_ready(next) {
                continue;
            }
            let Some(worker) = self.calls[actor].holders().first().copied() else { continue };
            self.assign(next, worker);
            touched.insert(worker);
        }
    }

    /// Of those that are first in their callers' lines and have their inputs, the oldest.
    fn next_method(&self, actor: CallId) -> Option<CallId> {
        let actor = self.actors.by_call.get(&actor).filter(|actor| actor.current.is_none())?;
        let first = actor.lines.values().filter_map(BTreeSet::first);
        let ready = |turn: &&Turn| matches!(self.calls[turn.1].state, State::Queued { .. });
        first.filter(ready).min().map(|(_, id)| *id)
    }

    /// The call has a result on this worker.
    pub(crate) fn note_home(&mut self, id: CallId, worker: WorkerId) {
        if let Some(actor) = self.actors.by_call.get_mut(&id)
            && let Some(worker) = self.workers.of(worker)
        {
            actor.home.clone_from(&worker.name);
        }
    }

    pub(crate) fn explain_actor(&self, id: CallId) -> String {
        let actor = self.actors.by_call.get(&id);
        let home = actor.map_or("?", |actor| actor.home.as_str());
        let in_line: usize = actor.map_or(0, |actor| actor.lines.values().map(BTreeSet::len).sum());
        format!("an actor on `{home}`; {in_line} methods have not ended")
    }

    pub(crate) fn explain_line(&self, id: CallId) -> String {
        let Some(Method { actor: of, number, .. }) = self.actors.methods.get(&id) else {
            return String::new();
        };
        let lines = self.actors.by_call.get(of).into_iter().flat_map(|actor| actor.lines.values());
        let ahead = lines.flatten().filter(|(other, _)| other < number).count();
        let key = self.calls[*of].key.short();
        format!("waits for its turn with the actor `{key}`: {ahead} methods are older")
    }

    /// Methods that are ready and not on their worker.
    pub(crate) fn lined_up(&self) -> usize {
        let queued = |id: &&CallId| matches!(self.calls[**id].state, State::Queued { .. });
        self.actors.methods.keys().filter(queued).count()
    }

    /// Verifies what holds of actors.
    pub(crate) fn check_actors(&self) -> Result<(), String> {
        for (id, actor) in &self.actors.by_call {
            ensure(self.calls.contains(*id), "an actor's call is forgotten")?;
            ensure(self.calls[*id].holders().len() <= 1, "an actor is at two places")?;
            let listed = |turn: &Turn| self.actors.methods.get(&turn.1).map(|method| method.actor);
            let own = actor.lines.values().flatten().all(|turn| listed(turn) == Some(*id));
            ensure(own, "a line holds what is no method of its actor")?;
        }
        for (id, Method { actor, caller, number, .. }) in &self.actors.methods {
            ensure(self.calls.contains(*id), "a method is forgotten")?;
            let call = &self.calls[*id];
            ensure(call.dependencies.contains(actor), "a method does not depend on its actor")?;
            let Some(actor) = self.actors.by_call.get(actor) else {
                return Err("a method outlived its actor".to_owned());
            };
            let in_line =
                actor.lines.get(caller).is_some_and(|line| line.contains(&(*number, *id)));
            let ended = matches!(call.state, State::Memory { .. } | State::Erred(_));
            ensure(!call.is_active() || in_line, "a method that may run is in no line")?;
            ensure(!ended || !in_line, "a method that has ended is in a line")?;
            let current = actor.current == Some(*id);
            ensure(current == call.processing().is_some(), "an actor runs another method")?;
        }
        Ok(())
    }
}
