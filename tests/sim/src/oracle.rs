//! What the grid promised and what really happened: the invariants are held against it.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::message::Assignment;
use grid_proto::{Arg, Attempt, Instance, Key, WorkerId};

use crate::graph::Graph;
use crate::invariants::hands::Given;
use crate::invariants::{Invariants, named};
use crate::task::{self, Hash, Kind};

#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) task: String,
    pub(crate) inputs: Vec<Key>,
    /// The value, if it can be told beforehand: no impure call is behind it.
    pub(crate) expected: Option<Hash>,
    /// It or something behind it fails whatever is done.
    pub(crate) doomed: bool,
    pub(crate) retries: u32,
}

/// All that is known from outside of the machines.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) recipes: BTreeMap<Key, Recipe>,
    /// What executions of a call gave.
    pub(crate) produced: BTreeMap<Key, BTreeSet<Hash>>,
    /// Failures that were put in, by message: whose they are, where they are one call's.
    pub(crate) injected: BTreeMap<String, Option<Key>>,
    /// Attempts of a call that failed, as the scheduler was told.
    pub(crate) failed_attempts: BTreeMap<Key, BTreeSet<Attempt>>,
    cancelled: BTreeSet<Key>,
    actors: BTreeSet<Key>,
    pub(crate) methods_run: BTreeSet<Key>,
    actors_lost: BTreeSet<Key>,
    /// Freed while somebody still held results of their methods.
    actors_freed: BTreeSet<Key>,
    retried: bool,
    /// Which connections were given an attempt.
    pub(crate) runs: BTreeMap<(Key, Attempt), BTreeSet<WorkerId>>,
    pub(crate) names: BTreeMap<WorkerId, String>,
    pub(crate) lost: BTreeSet<WorkerId>,
    pub(crate) invariants: Invariants,
}

impl Oracle {
    /// A client submits this.
    pub(crate) fn on_submit(&mut self, graph: &Graph, poison_percent: u64) {
        for call in &graph.calls {
            self.invariants.needs.on_submit(call);
            let name = &graph.tasks[call.task as usize].task;
            self.learn(call.key, name, &call.args, poison_percent);
            match (call.options.instance, self.recipes.get_mut(&call.key)) {
                (Instance::Kept, _) => drop(self.actors.insert(call.key)),
                (Instance::Of(actor), Some(recipe)) => recipe.inputs.push(actor),
                (Instance::Of(_), None) | (Instance::Fresh, _) => {}
            }
        }
    }

    pub(crate) fn is_actor(&self, key: &Key) -> bool {
        self.actors.contains(key)
    }

    /// A method begins: the only time, whatever becomes of its actor.
    pub(crate) fn on_method(&mut self, method: Key) -> Result<(), String> {
        match self.methods_run.insert(method) {
            true => Ok(()),
            false => Err(format!("{}: a method runs a second time", method.short())),
        }
    }

    /// A client wants once more what failed, though it be a method.
    pub(crate) fn on_retry(&mut self, keys: &[Key]) {
        self.retried |= !keys.is_empty();
        let mut again = std::mem::take(&mut self.methods_run);
        again.retain(|method| {
            let failed = self.failed_attempts.contains_key(method);
            !failed || !keys.iter().any(|key| self.leads_to(method, key))
        });
        self.methods_run = again;
    }

    /// A method was stopped in this actor.
    pub(crate) fn on_actor_lost(&mut self, actor: Key) {
        self.actors_lost.insert(actor);
    }

    /// Workers are told to free these.
    pub(crate) fn on_free(&mut self, keys: &[Key]) {
        let actors = keys.iter().filter(|key| self.actors.contains(key));
        self.actors_freed.extend(actors);
    }

    /// An actor is gone with its worker, or with a method of it; or nobody held it any more when a
    /// method that had failed was retried.
    pub(crate) fn is_actor_lost(&self, gone: &Key) -> bool {
        if self.retried && self.actors_freed.contains(gone) {
            return true;
        }
        let at = self.runs.range((*gone, Attempt(0))..=(*gone, Attempt(u32::MAX)));
        let mut workers = at.flat_map(|(_, workers)| workers);
        self.actors_lost.contains(gone) || workers.any(|worker| self.lost.contains(worker))
    }

    /// A call, and what it submits itself.
    fn learn(&mut self, key: Key, name: &str, args: &[Arg], poison_percent: u64) {
        if self.recipes.contains_key(&key) {
            return;
        }
        let kind = Kind::of(name).expect("graphs name tasks that there are");
        let children = match kind {
            Kind::Parent => task::children(&key, args),
            _ => Vec::new(),
        };
        for child in &children {
            self.invariants.needs.on_child(child.key);
            self.learn(child.key, &child.task, &child.args, poison_percent);
        }
        let known = |key: &Key| self.recipes.get(key);
        let inputs: Vec<_> = args.iter().filter_map(key_of).collect();
        let own = task::compute(name, args, 0, |key| known(key)?.expected);
        let gathered = || {
            let children = children.iter().map(|child| known(&child.key)?.expected);
            Some(task::gathered(own?, children.collect::<Option<Vec<_>>>()?))
        };
        let expected = match kind {
            Kind::Impure | Kind::Actor | Kind::Method => None,
            Kind::Parent => gathered(),
            _ => own,
        };
        let mut needs = inputs.iter().chain(children.iter().map(|child| &child.key));
        let doomed = task::is_doomed(kind, &key, poison_percent)
            || needs.any(|need| known(need).is_some_and(|need| need.doomed));
        let task = name.to_owned();
        let recipe = Recipe { task, inputs, expected, doomed, retries: kind.retries() };
        self.recipes.insert(key, recipe);
    }

    /// A client brings a value.
    pub(crate) fn on_bring(&mut self, key: Key, hash: Hash) {
        self.on_produced(key, hash);
        self.recipes.entry(key).or_insert_with(|| Recipe {
            task: "data".to_owned(),
            inputs: Vec::new(),
            expected: Some(hash),
            doomed: false,
            retries: 0,
        });
    }

    /// A worker is given a call. Says whether that had asked to run elsewhere.
    pub(crate) fn on_run(&mut self, worker: WorkerId, run: &Assignment) -> Result<bool, String> {
        let (key, attempt) = (run.key, run.attempt);
        named("order", self.invariants.order.check_run(run))?;
        named("needs", self.invariants.needs.check_run(worker, &key))?;
        named("pause", self.invariants.pause.check_run(worker, run))?;
        named("memory", self.check_memory(worker, run))?;
        named("quarantine", self.check_not_quarantined(&key))?;
        let asked = named("elsewhere", self.check_moved(worker, &key))?;
        named("balance", self.invariants.check_given_back(worker, &key))?;
        if !asked {
            named("room", self.invariants.check_room(worker, run))?;
        }
        let given = Given::new(run, self.is_plain(run));
        named("hands", self.invariants.hands.on_run(worker, key, attempt, given))?;
        self.runs.entry((key, attempt)).or_default().insert(worker);
        Ok(asked)
    }

    /// It may run anywhere and needs nothing there.
    fn is_plain(&self, run: &Assignment) -> bool {
        let reads = self.recipes.get(&run.key).is_none_or(|recipe| !recipe.inputs.is_empty());
        run.instance == Instance::Fresh && !reads && !self.invariants.needs.any_of(&run.key)
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, name: &str) {
        self.names.insert(worker, name.to_owned());
    }

    pub(crate) fn on_worker_lost(&mut self, worker: WorkerId) {
        self.lost.insert(worker);
        let in_hand: Vec<_> =
            self.invariants.hands.of(worker).map(|((_, key, _), _)| *key).collect();
        for key in in_hand {
            self.on_death(key);
        }
        self.invariants.hands.on_worker_lost(worker);
    }

    pub(crate) fn on_produced(&mut self, key: Key, hash: Hash) {
        self.produced.entry(key).or_default().insert(hash);
    }

    pub(crate) fn on_injected(&mut self, message: &str, key: Option<Key>) {
        self.injected.insert(message.to_owned(), key);
    }

    pub(crate) fn on_failed_attempt(&mut self, key: Key, attempt: Attempt) {
        self.failed_attempts.entry(key).or_default().insert(attempt);
    }

    pub(crate) fn on_cancel(&mut self, key: Key) {
        self.cancelled.insert(key);
    }

    /// What all results hold together.
    pub(crate) fn result_bytes(&self) -> u64 {
        self.produced.values().flatten().map(|hash| task::meta(*hash).size).sum()
    }

    /// Whether this is the call or behind it.
    pub(crate) fn leads_to(&self, from: &Key, to: &Key) -> bool {
        let mut seen = BTreeSet::new();
        let mut stack = vec![*to];
        while let Some(key) = stack.pop() {
            if key == *from {
                return true;
            }
            if seen.insert(key) {
                stack.extend(self.recipes.get(&key).iter().flat_map(|recipe| &recipe.inputs));
            }
        }
        false
    }

    /// Somebody cancelled it, or something behind it.
    pub(crate) fn was_cancelled(&self, key: &Key) -> bool {
        self.cancelled.iter().any(|cancelled| self.leads_to(cancelled, key))
    }
}

fn key_of(arg: &Arg) -> Option<Key> {
    match arg {
        Arg::Key(key) => Some(*key),
        Arg::Value(_) => None,
    }
}
