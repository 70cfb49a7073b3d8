//! How many calls are in each state, by task: kept while states change, so that asking costs
//! nothing.

use grid_proto::TaskId;

use crate::call::{Queue, State};

/// The states that are counted apart.
const KINDS: usize = 8;

/// Calls of one task by the kind of their state.
pub(crate) type ByKind = [u64; KINDS];

/// Labels by kind; calls that any worker may run are `queued`, unless there is none.
pub(crate) const LABELS: [&str; KINDS] =
    ["released", "waiting", "queued", "no-worker", "processing", "memory", "erred", "arriving"];

/// The kind of calls that are released.
pub(crate) const RELEASED: usize = 0;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_task: Vec<ByKind>,
}

impl Counts {
    /// A call is known, is in another state, or is forgotten.
    pub(crate) fn change(&mut self, task: TaskId, from: Option<&State>, to: Option<&State>) {
        let place = task.0 as usize;
        if self.by_task.len() <= place {
            self.by_task.resize(place + 1, ByKind::default());
        }
        let counts = &mut self.by_task[place];
        if let Some(from) = from {
            counts[kind(from)] -= 1;
        }
        if let Some(to) = to {
            counts[kind(to)] += 1;
        }
    }

    pub(crate) fn of(&self, task: TaskId) -> ByKind {
        self.by_task.get(task.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> ByKind {
        let mut total = ByKind::default();
        for counts in &self.by_task {
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        total
    }

    /// Labels with how many calls have them; `any_worker` says whether any worker is connected.
    pub(crate) fn labelled(
        counts: ByKind,
        any_worker: bool,
    ) -> impl Iterator<Item = (&'static str, u64)> {
        let homeless = if any_worker { 0 } else { counts[2] };
        let counts = counts.into_iter().enumerate().map(move |(kind, count)| match kind {
            2 => count - homeless,
            3 => count + homeless,
            _ => count,
        });
        LABELS.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}

pub(crate) fn kind(state: &State) -> usize {
    match state {
        State::Released => RELEASED,
        State::Waiting { .. } => 1,
        State::Queued { at: Queue::Any | Queue::Of(_) | Queue::Line, .. } => 2,
        State::Queued { at: Queue::Nowhere, .. } => 3,
        State::Processing(_) => 4,
        State::Memory { .. } => 5,
        State::Erred(_) => 6,
        State::Arriving(_) => 7,
    }
}
