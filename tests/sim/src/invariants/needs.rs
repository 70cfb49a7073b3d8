//! What calls need of workers, and that no call runs where its needs are not met.

use std::collections::BTreeMap;

use grid_proto::message::{FromWorker, Registration};
use grid_proto::{Amount, CallSpec, Key, Pins, WorkerId};

use crate::rng::Rng;

pub(crate) type Resources = Vec<(String, Amount)>;

/// Labels of the worker at this place; there is always one that is `even`.
pub(crate) fn labels(place: usize) -> Vec<String> {
    vec![if place.is_multiple_of(2) { "even" } else { "odd" }.to_owned()]
}

/// Resources of the worker at this place; the first always has some.
pub(crate) fn resources(place: usize) -> Resources {
    match place % 3 {
        0 => vec![("gpu".to_owned(), Amount(2))],
        1 => vec![("gpu".to_owned(), Amount(1)), ("net".to_owned(), Amount(5))],
        _ => Vec::new(),
    }
}

/// Needs that some worker can meet.
pub(crate) fn draw(any: bool, rng: &mut Rng) -> (Option<Pins>, Resources) {
    if !any {
        return (None, Vec::new());
    }
    let pins = match rng.range(0, 10) {
        0 => Some(Pins { any_of: vec!["even".to_owned()], prefer: false }),
        1 => Some(Pins { any_of: vec!["odd".to_owned(), "w7".to_owned()], prefer: true }),
        2 => Some(Pins { any_of: vec!["h0".to_owned()], prefer: false }),
        _ => None,
    };
    let resources = match rng.range(0, 8) {
        0 => vec![("gpu".to_owned(), Amount(rng.range(1, 3)))],
        _ => Vec::new(),
    };
    (pins, resources)
}

/// What each call was said to need, and what each worker is.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// By key; a call that is submitted again may need something else.
    said: BTreeMap<Key, Vec<(Option<Pins>, Resources)>>,
    workers: BTreeMap<WorkerId, Registration>,
}

impl Needs {
    pub(crate) fn on_submit(&mut self, call: &CallSpec) {
        let needs = (call.options.pins.clone(), call.options.resources.clone());
        let said = self.said.entry(call.key).or_default();
        if !said.contains(&needs) {
            said.push(needs);
        }
    }

    /// A call submits this one itself; it needs nothing of its worker.
    pub(crate) fn on_child(&mut self, key: Key) {
        let said = self.said.entry(key).or_default();
        if !said.contains(&(None, Vec::new())) {
            said.push((None, Vec::new()));
        }
    }

    pub(crate) fn on_worker(&mut self, worker: WorkerId, message: &FromWorker) {
        if let FromWorker::Register(registration) = message {
            self.workers.insert(worker, registration.clone());
        }
    }

    /// A worker offers this from now on.
    pub(crate) fn on_offered(&mut self, worker: WorkerId, resources: Resources) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.resources = resources;
        }
    }

    /// It may have been said to need something.
    pub(crate) fn any_of(&self, key: &Key) -> bool {
        let needs =
            |(pins, resources): &(Option<Pins>, Resources)| pins.is_some() || !resources.is_empty();
        self.said.get(key).is_some_and(|said| said.iter().any(needs))
    }

    /// A call was given to this worker.
    pub(crate) fn check_run(&self, worker: WorkerId, key: &Key) -> Result<(), String> {
        let (Some(worker), Some(said)) = (self.workers.get(&worker), self.said.get(key)) else {
            return Err(format!("{}: unknown call, or given to a stranger", key.short()));
        };
        let called = |name: &String| {
            *name == worker.name || *name == worker.host || worker.labels.contains(name)
        };
        let met = said.iter().any(|(pins, resources)| {
            let pinned =
                pins.as_ref().is_none_or(|pins| pins.prefer || pins.any_of.iter().any(called));
            let offers = |wanted: &(String, Amount)| {
                worker.resources.iter().any(|has| has.0 == wanted.0 && has.1 >= wanted.1)
            };
            pinned && resources.iter().all(offers)
        });
        match met {
            true => Ok(()),
            false => {
                Err(format!("{}: given to {}, which it must not run on", key.short(), worker.name))
            }
        }
    }
}
