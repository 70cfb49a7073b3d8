//! Who reads a call's result: a few for most calls, a hundred thousand for some.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::call::CallId;

/// Above this a search through a list costs more than a tree.
const FEW_MAX: usize = 16;

/// Distinct calls.
#[derive(Debug)]
pub(crate) enum Dependents {
    Few(SmallVec<[CallId; 2]>),
    Many(BTreeSet<CallId>),
}

impl Default for Dependents {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl Dependents {
    /// Adds a call that is not among them.
    pub(crate) fn add(&mut self, id: CallId) {
        match self {
            Self::Few(few) if few.len() < FEW_MAX => few.push(id),
            Self::Few(few) => {
                let many = few.iter().copied().chain([id]).collect();
                *self = Self::Many(many);
            }
            Self::Many(many) => {
                many.insert(id);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: CallId) {
        match self {
            Self::Few(few) => {
                if let Some(place) = few.iter().position(|other| *other == id) {
                    few.remove(place);
                }
            }
            Self::Many(many) => {
                many.remove(&id);
                if many.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(few) => few.is_empty(),
            Self::Many(many) => many.is_empty(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = CallId> + '_ {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        few.into_iter().flatten().chain(many.into_iter().flat_map(|many| many.iter())).copied()
    }

    pub(crate) fn contains(&self, id: CallId) -> bool {
        match self {
            Self::Few(few) => few.contains(&id),
            Self::Many(many) => many.contains(&id),
        }
    }

    /// So few that whoever goes through them goes through all at once.
    pub(crate) fn are_few(&self) -> bool {
        match self {
            Self::Few(_) => true,
            Self::Many(_) => false,
        }
    }

    /// The first that is not before this place of the arena.
    pub(crate) fn next_from(&self, place: u32) -> Option<CallId> {
        match self {
            Self::Few(few) => few.iter().copied().filter(|id| id.0 >= place).min(),
            Self::Many(many) => many.range(CallId(place)..).next().copied(),
        }
    }

    /// The last that is before this place of the arena.
    pub(crate) fn last_before(&self, place: u32) -> Option<CallId> {
        match self {
            Self::Few(few) => few.iter().copied().filter(|id| id.0 < place).max(),
            Self::Many(many) => many.range(..CallId(place)).next_back().copied(),
        }
    }

    pub(crate) fn to_list(&self) -> SmallVec<[CallId; 4]> {
        self.iter().collect()
    }
}
