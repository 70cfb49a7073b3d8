use std::marker::PhantomData;
use std::time::Duration;

use super::{Item, Shared, Wait, given, inside, item, millis};
use crate::grid::{Error, Pending};
use crate::value::{FromValue, IntoValue};

/// Values and calls, first in, first out; bounded. It exists from its first use until it is deleted.
/// An item that was on its way to a call that ended is the queue's front again.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    name: String,
    items_max: u32,
    item: PhantomData<fn() -> T>,
}

impl<T> Queue<T> {
    /// The queue of this name. It holds 10,000 items unless somebody made it with [`Self::bounded`].
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::bounded(name, 0)
    }

    /// The queue of this name, which holds at most so many items. All its users say the same, or use
    /// [`Self::new`].
    #[must_use]
    pub fn bounded(name: impl Into<String>, items_max: u32) -> Self {
        Self { name: name.into(), items_max, item: PhantomData }
    }

    /// Adds a call at the end; waits while the queue is full. The grid keeps its result while it is
    /// in the queue.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_call(&self, call: &Pending<T>) -> Result<(), Error> {
        given(inside::queue_put(&self.name, self.items_max, Item::Call(call.key()), None)?)
    }

    /// Items that are in it.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such queue.
    pub fn size(&self) -> Result<u64, Error> {
        inside::queue_size(&self.name)
    }

    /// Drops the queue with its items; whoever waits for it is refused.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such queue.
    pub fn delete(&self) -> Result<(), Error> {
        inside::queue_delete(&self.name)
    }
}

impl<T: IntoValue> Queue<T> {
    /// Adds a value at the end, at most 64 KiB encoded; waits while the queue is full.
    ///
    /// # Errors
    /// [`Error::OverLimit`] when it is too large, the grid has no room, its users disagree about its
    /// size, or too many calls wait on this worker; [`Error::Refused`] when the queue is deleted.
    pub fn put(&self, value: T) -> Result<(), Error> {
        given(inside::queue_put(&self.name, self.items_max, item(value)?, None)?)
    }

    /// Adds a value if there is room in this time; says whether it did.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_within(&self, value: T, timeout: Duration) -> Result<bool, Error> {
        let wait = Some(millis(timeout));
        Ok(inside::queue_put(&self.name, self.items_max, item(value)?, wait)?.is_some())
    }
}

impl<T: FromValue> Queue<T> {
    /// Takes the first item; waits while there is none.
    ///
    /// # Errors
    /// [`Error::Value`] when it is no `T` (it is taken nevertheless, so that it is not in everybody's
    /// way); else as [`Self::put`].
    pub fn get(&self) -> Result<Shared<T>, Error> {
        given(self.take(1, None)?.pop())
    }

    /// Takes the first item; `None` if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_within(&self, timeout: Duration) -> Result<Option<Shared<T>>, Error> {
        Ok(self.take(1, Some(millis(timeout)))?.pop())
    }

    /// Takes the first items, at most so many and at least one; none if there is none in this time.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_batch(
        &self,
        count_max: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<Shared<T>>, Error> {
        self.take(count_max, timeout.map(millis))
    }

    fn take(&self, count_max: u32, wait: Wait) -> Result<Vec<Shared<T>>, Error> {
        let items = inside::queue_get(&self.name, self.items_max, count_max, wait)?;
        items.unwrap_or_default().into_iter().map(Shared::of).collect()
    }
}
