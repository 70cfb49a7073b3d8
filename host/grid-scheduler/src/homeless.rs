//! Calls that no connected worker may run. They wait in a line for each combination of needs, and a
//! worker that comes, or offers something else, is looked at only by those lines that could be meant:
//! those that ask for one of its names, or for a resource that it offers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

use grid_proto::{Priority, WorkerId};

use crate::backlog::Line;
use crate::call::{CallId, Needs, State};
use crate::check::ensure;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::placement::meets;
use crate::story::Cause;
use crate::worker::Worker;

#[derive(Debug, Default)]
pub(crate) struct Homeless {
    lines: BTreeMap<Arc<Needs>, Line>,
    /// The needs of the lines, by what a worker must have so that it may be meant.
    sought: BTreeMap<Trait, BTreeSet<Arc<Needs>>>,
    looks: VecDeque<Look>,
    len: usize,
}

/// Something that a worker may have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Trait {
    /// It is there.
    Present,
    /// A name, a host or a label.
    Name(String),
    Resource(String),
}

/// The lines are gone through for a worker.
#[derive(Debug)]
struct Look {
    worker: WorkerId,
    /// What it has that is still to be gone through, and the line at which the last one goes on.
    traits: Vec<Trait>,
    from: Bound<Arc<Needs>>,
}

impl Look {
    fn is_past(&self, needs: &Arc<Needs>) -> bool {
        match &self.from {
            Unbounded => false,
            Included(from) => needs < from,
            Excluded(from) => needs <= from,
        }
    }

    /// It will still come to this line.
    fn comes_to(&self, needs: &Arc<Needs>) -> bool {
        let sought = traits_of(needs);
        let rest = self.traits.split_last();
        rest.is_some_and(|(last, rest)| {
            rest.iter().any(|one| sought.contains(one))
                || (sought.contains(last) && !self.is_past(needs))
        })
    }
}

impl Homeless {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// No worker is being looked at.
    pub(crate) fn is_settled(&self) -> bool {
        self.looks.is_empty()
    }

    pub(crate) fn insert(&mut self, entry: (Priority, CallId), needs: Needs) {
        let needs = Arc::new(needs);
        if !self.lines.contains_key(&needs) {
            for sought in traits_of(&needs) {
                self.sought.entry(sought).or_default().insert(Arc::clone(&needs));
            }
        }
        self.len += usize::from(self.lines.entry(needs).or_default().insert(entry));
    }

    pub(crate) fn remove(&mut self, entry: (Priority, CallId), needs: Option<&Needs>) {
        let none = Needs::default();
        let needs = needs.unwrap_or(&none);
        let Some(line) = self.lines.get_mut(needs) else { return };
        self.len -= usize::from(line.remove(&entry));
        if !line.is_empty() {
            return;
        }
        self.lines.remove(needs);
        for sought in traits_of(needs) {
            if let Some(lines) = self.sought.get_mut(&sought) {
                lines.remove(needs);
                if lines.is_empty() {
                    self.sought.remove(&sought);
                }
            }
        }
    }

    pub(crate) fn contains(&self, entry: (Priority, CallId), needs: Option<&Needs>) -> bool {
        let none = Needs::default();
        self.lines.get(needs.unwrap_or(&none)).is_some_and(|line| line.contains(&entry))
    }

    fn next_line(&self, look: &Look) -> Option<(Arc<Needs>, (Priority, CallId))> {
        let lines = self.sought.get(look.traits.last()?)?;
        let needs = lines.range((look.from.clone(), Unbounded)).next()?;
        Some((Arc::clone(needs), *self.lines.get(needs)?.first()?))
    }
}

impl Scheduler {
    /// A worker is there, or what it offers has changed: calls that nobody could run are looked at
    /// anew, in the turns to come.
    pub(crate) fn look_for_homeless(&mut self, id: WorkerId) {
        if self.homeless.len == 0 || self.mutated(Mutation::HomelessForgotten) {
            return;
        }
        if let Some(worker) = self.workers.of(id) {
            let traits = traits_had(worker);
            self.homeless.looks.push_back(Look { worker: id, traits, from: Unbounded });
        }
    }

    /// Houses one call, or passes over one line. Says whether there was one.
    pub(crate) fn house_one(&mut self) -> bool {
        let Some(mut look) = self.homeless.looks.pop_front() else { return false };
        let Some(worker) = self.workers.of(look.worker) else { return true };
        self.story.cause = Cause::Worker(look.worker, "may run it");
        let mut housed = None;
        match self.homeless.next_line(&look) {
            Some((needs, (_, id))) if meets(worker, Some(&needs), !needs.prefer) => {
                look.from = Included(needs);
                housed = Some(id);
            }
            Some((needs, _)) => look.from = Excluded(needs),
            None => {
                look.traits.pop();
                look.from = Unbounded;
            }
        }
        if !look.traits.is_empty() {
            self.homeless.looks.push_front(look);
        }
        if let Some(id) = housed {
            self.dequeue(id);
            self.set_state(id, State::Waiting { missing: 0 });
            self.enqueue(id);
        }
        true
    }

    /// Verifies that nobody is homeless whom a worker may run, but for those that are looked at.
    pub(crate) fn check_homeless(&self) -> Result<(), String> {
        let Homeless { lines, looks, len, .. } = &self.homeless;
        ensure(lines.values().map(BTreeSet::len).sum::<usize>() == *len, "homeless: miscounted")?;
        for (id, worker) in self.workers.iter() {
            let met = lines.keys().filter(|needs| meets(worker, Some(needs), !needs.prefer));
            let coming = |needs: &Arc<Needs>| {
                looks.iter().any(|look| look.worker == id && look.comes_to(needs))
            };
            ensure(met.into_iter().all(coming), "a worker may run what is homeless")?;
        }
        Ok(())
    }
}

/// What a worker must have, any of it, so that it may be meant.
fn traits_of(needs: &Needs) -> Vec<Trait> {
    if !needs.any_of.is_empty() && !needs.prefer {
        return needs.any_of.iter().cloned().map(Trait::Name).collect();
    }
    let resource = needs.resources.first().map(|(name, _)| Trait::Resource(name.clone()));
    vec![resource.unwrap_or(Trait::Present)]
}

fn traits_had(worker: &Worker) -> Vec<Trait> {
    let names = worker.names().cloned().map(Trait::Name);
    let resources = worker.resources.keys().cloned().map(Trait::Resource);
    let mut traits: Vec<_> = names.chain(resources).chain([Trait::Present]).collect();
    traits.sort();
    traits.dedup();
    traits
}
