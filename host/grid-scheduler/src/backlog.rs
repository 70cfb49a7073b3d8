//! Calls that are held back for one worker, in their order. Those that take resources wait in a
//! line of their own for each combination, so that one that does not fit stops nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use grid_proto::{Amount, Priority};

use crate::call::CallId;

/// Calls that are held back, in their order.
pub(crate) type Line = BTreeSet<(Priority, CallId)>;

/// What the calls of a line take.
type Taken = Arc<[(String, Amount)]>;

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    without_resources: Line,
    by_resources: BTreeMap<Taken, Line>,
    /// The first of each of those lines, in their order.
    heads: BTreeSet<((Priority, CallId), Taken)>,
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
            false => self.change_line(resources, |line| line.insert(entry)),
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
        let removed = match resources.is_empty() {
            true => self.without_resources.remove(&entry),
            false => self.change_line(resources, |line| line.remove(&entry)),
        };
        if removed {
            self.len -= 1;
            self.expected_us -= expected_us;
        }
    }

    /// Changes the line of those that take this, and keeps its head in the order.
    fn change_line<T>(
        &mut self,
        resources: &[(String, Amount)],
        change: impl FnOnce(&mut Line) -> T,
    ) -> T {
        let taken: Taken = resources.into();
        let line = self.by_resources.entry(Arc::clone(&taken)).or_default();
        let before = line.first().copied();
        let changed = change(line);
        let after = line.first().copied();
        if line.is_empty() {
            self.by_resources.remove(&taken);
        }
        if before != after {
            if let Some(before) = before {
                self.heads.remove(&(before, Arc::clone(&taken)));
            }
            self.heads.extend(after.map(|after| (after, taken)));
        }
        changed
    }

    /// Takes one out, of a backlog that nobody is given anything of.
    pub(crate) fn pop(&mut self) -> Option<CallId> {
        let line = self.by_resources.keys().next().cloned();
        let popped = match line {
            None => self.without_resources.pop_first(),
            Some(taken) => self.change_line(&taken, BTreeSet::pop_first),
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

    /// The first that may be given to a worker of which so much is free.
    ///
    /// The lines are gone through in two ways at the same time: in the order of their heads, which
    /// ends with the first that fits, and through those whose first resource fits, which are few
    /// when little is free.
    pub(crate) fn first<'a>(
        &self,
        offered: impl Iterator<Item = &'a String>,
        free: impl Fn(&str) -> Amount,
    ) -> Option<(Priority, CallId)> {
        let without = self.without_resources.first().copied();
        if self.heads.is_empty() {
            return without;
        }
        let fits = |taken: &Taken| taken.iter().all(|(name, amount)| free(name) >= *amount);
        let mut in_order = self.heads.iter();
        let mut fitting = offered.flat_map(|name| {
            let from = [(name.clone(), Amount(0))];
            let more = [(name.clone(), Amount(free(name).0.saturating_add(1)))];
            self.by_resources.range::<[_], _>((Included(&from[..]), Excluded(&more[..])))
        });
        let mut best = without;
        loop {
            match in_order.next() {
                Some((head, _)) if without.is_some_and(|without| without < *head) => {
                    return without;
                }
                Some((head, taken)) if fits(taken) => return Some(*head),
                Some(_) => {}
                None => return without,
            }
            let Some((taken, line)) = fitting.next() else { return best };
            if fits(taken) {
                best = best.into_iter().chain(line.first().copied()).min();
            }
        }
    }

    /// All, in each line in its order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = CallId> + '_ {
        self.by_resources.values().chain([&self.without_resources]).flatten().map(|(_, id)| *id)
    }

    /// Each line with what its calls take; first the line of those that take nothing.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[(String, Amount)], &Line)> {
        let taking = self.by_resources.iter().map(|(resources, line)| (&**resources, line));
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn entry(number: u32) -> (Priority, CallId) {
        let priority = Priority { user: 0, submission: 0, position: number, nesting: 0, child: 0 };
        (priority, CallId(number))
    }

    /// Ten thousand lines; the later ones take less.
    fn many() -> Backlog {
        let mut backlog = Backlog::default();
        for number in 0..10_000 {
            let taken = [("memory".to_owned(), Amount(10_000 - u64::from(number)))];
            backlog.insert(entry(number), &taken, 1);
        }
        backlog
    }

    #[test]
    fn the_first_that_fits_is_found_without_a_look_at_all_others() {
        let backlog = many();
        let memory = "memory".to_owned();
        for (free, first) in [(0, None), (5, Some(9_995)), (9_990, Some(10)), (10_000, Some(0))] {
            let looks = Cell::new(0);
            let found = backlog.first([&memory].into_iter(), |_| {
                looks.set(looks.get() + 1);
                Amount(free)
            });
            assert_eq!(found, first.map(entry), "{free}");
            assert!(looks.get() < 50, "{} looks", looks.get());
        }
    }

    #[test]
    fn the_order_of_heads_is_kept_whoever_comes_and_goes() {
        let mut backlog = many();
        let memory = "memory".to_owned();
        backlog.insert(entry(20_000), &[], 1);
        for free in [3, 700, 10_000] {
            let plain = |backlog: &Backlog| {
                let lines = backlog
                    .lines()
                    .filter(|(taken, _)| taken.iter().all(|(_, amount)| *amount <= Amount(free)));
                lines.filter_map(|(_, line)| line.first().copied()).min()
            };
            for _ in 0..200 {
                let found = backlog.first([&memory].into_iter(), |_| Amount(free));
                assert_eq!(found, plain(&backlog));
                let Some((_, id)) = found else { break };
                let takes = 10_000_u64.saturating_sub(id.0.into());
                let taken = [("memory".to_owned(), Amount(takes))];
                let taken = if id.0 == 20_000 { &[][..] } else { &taken[..] };
                backlog.remove((found.unwrap().0, id), taken, 1);
            }
        }
    }
}
