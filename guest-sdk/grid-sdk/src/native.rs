//! The function behind a call, for native runs: there a call of a call is a function that is called.

use std::fmt;

use crate::failure::Failure;
use crate::task::Task;
use crate::value::Value;

type Run = fn(Vec<Value>) -> Result<Value, Failure>;

/// The function behind a call, if it is linked here. In a bundle there is none, so that a bundle
/// holds its own tasks and nobody else's. Not a part of what a call is: all are equal.
#[derive(Clone, Copy, Default)]
pub struct Native(Option<Run>);

impl Native {
    /// The function of a task.
    #[must_use]
    pub fn of<T: Task>() -> Self {
        if cfg!(target_family = "wasm") { Self(None) } else { Self(Some(T::run)) }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn function(self) -> Option<Run> {
        self.0
    }
}

impl PartialEq for Native {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "native" } else { "by name" })
    }
}
