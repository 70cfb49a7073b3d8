//! Calls that are held back for one worker, in their order. Those that take resources wait in a
//! line of their own for each combination, so that one that does not fit stops nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use grid_proto::{Amount, Priority};

use crate::call::CallId;

/// Calls that are held back, in their order.
pub(crate) type Line = BTreeSet<(Priority, CallId)>;

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    without_resources: Line,
    by_resources: BTreeMap<Vec<(String, Amount)>, Line>,
    len: usize,
    expected_us: u64,
}

impl Backlog {
    pub(crate) fn insert(
        &mut self,
        entry: (Priority, CallId),
        resources: &[(String, Amount)],
        expected_us: u64,
    ) {
        let added = match resources.is_empty() {
            true => self.without_resources.insert(entry),
            false => self.by_resources.entry(resources.to_vec()).or_default().insert(entry),
        };
        if added {
            self.len += 1;
            self.expected_us += expected_us;
        }
    }

    pub(crate) fn remove(
        &mut self,
        entry: (Priority, CallId),
        resources: &[(String, Amount)],
        expected_us: u64,
    ) {
        let removed = if resources.is_empty() {
            self.without_resources.remove(&entry)
        } else if let Some(line) = self.by_resources.get_mut(resources) {
            let removed = line.remove(&entry);
            if line.is_empty() {
                self.by_resources.remove(resources);
            }
            removed
        } else {
            false
        };
        if removed {
            self.len -= 1;
            self.expected_us -= expected_us;
        }
    }

    /// Takes one out, of a backlog that nobody is given anything of.
    pub(crate) fn pop(&mut self) -> Option<CallId> {
        let popped = match self.by_resources.first_entry() {
            None => self.without_resources.pop_first(),
            Some(mut line) => {
                let popped = line.get_mut().pop_first();
                if line.get().is_empty() {
                    line.remove();
                }
                popped
            }
        };
        self.len -= usize::from(popped.is_some());
        popped.map(|(_, id)| id)
    }

    pub(crate) fn contains(
        &self,
        entry: (Priority, CallId),
        resources: &[(String, Amount)],
    ) -> bool {
        let line = match resources.is_empty() {
            true => Some(&self.without_resources),
            false => self.by_resources.get(resources),
        };
        line.is_some_and(|line| line.contains(&entry))
    }

    /// The first that may be given to the worker now.
    pub(crate) fn first(
        &self,
        fits: impl Fn(&[(String, Amount)]) -> bool,
    ) -> Option<(Priority, CallId)> {
        let lines = self.by_resources.iter().filter(|(resources, _)| fits(resources));
        let heads = lines.filter_map(|(_, line)| line.first());
        heads.chain(self.without_resources.first()).min().copied()
    }

    /// All, in each line in its order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CallId> + '_ {
        self.by_resources.values().chain([&self.without_resources]).flatten().map(|(_, id)| *id)
    }

    /// Each line with what its calls take; first the line of those that take nothing.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[(String, Amount)], &Line)> {
        let taking = self.by_resources.iter().map(|(resources, line)| (resources.as_slice(), line));
        iter::once((&[][..], &self.without_resources)).chain(taking)
    }

    pub(crate) fn expected_us(&self) -> u64 {
        self.expected_us
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
