use std::marker::PhantomData;
use std::time::Duration;

use super::{Item, Shared, Wait, given, inside, item, millis};
use crate::grid::{Error, Pending};
use crate::value::{FromValue, IntoValue};

/// One value, or one call, under a name. It stays until it is deleted.
#[derive(Clone, Debug)]
pub struct Variable<T> {
    name: String,
    item: PhantomData<fn() -> T>,
}

impl<T> Variable<T> {
    /// The variable of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), item: PhantomData }
    }

    /// It holds this call from now on; the grid keeps its result for the variable's sake.
    ///
    /// # Errors
    /// [`Error::Refused`] when the call was refused, [`Error::OverLimit`] when the grid has no room.
    pub fn set_call(&self, call: &Pending<T>) -> Result<(), Error> {
        inside::variable_set(&self.name, Item::Call(call.key()))
    }

    /// It holds nothing from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not.
    pub fn delete(&self) -> Result<(), Error> {
        inside::variable_delete(&self.name)
    }
}

impl<T: IntoValue> Variable<T> {
    /// It holds this value from now on, at most 64 KiB encoded.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when it is too large or the grid has no room.
    pub fn set(&self, value: T) -> Result<(), Error> {
        inside::variable_set(&self.name, item(value)?)
    }
}

impl<T: FromValue> Variable<T> {
    /// What it holds; waits until it is set.
    ///
    /// # Errors
    /// [`Error::Value`] when that is no `T`; [`Error::OverLimit`] when too many calls wait on this
    /// worker.
    pub fn get(&self) -> Result<Shared<T>, Error> {
        given(self.get_in(None)?)
    }

    /// What it holds; `None` if it is not set in this time. With no time at all it only looks.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_within(&self, timeout: Duration) -> Result<Option<Shared<T>>, Error> {
        self.get_in(Some(millis(timeout)))
    }

    fn get_in(&self, wait: Wait) -> Result<Option<Shared<T>>, Error> {
        inside::variable_get(&self.name, wait)?.map(Shared::of).transpose()
    }
}
