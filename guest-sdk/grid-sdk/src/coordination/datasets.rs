use super::inside;
use crate::grid::{Error, Key, Pending};

/// Calls under a name, for others and for later: the grid keeps their results until the dataset is
/// unpublished, whatever becomes of the call that published them.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
}

impl Dataset {
    /// The dataset of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The names of the datasets that there are, in their order; 10,000 at most.
    ///
    /// # Errors
    /// When there is no grid to ask.
    pub fn names() -> Result<Vec<String>, Error> {
        inside::dataset_list()
    }

    /// Gives calls this name.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is such a dataset, or a call was refused; [`Error::OverLimit`]
    /// when the grid has no room.
    pub fn publish<'a, T: 'a>(
        &self,
        calls: impl IntoIterator<Item = &'a Pending<T>>,
    ) -> Result<(), Error> {
        inside::dataset_publish(&self.name, &keys(calls), false)
    }

    /// Gives calls this name; what had it loses it.
    ///
    /// # Errors
    /// As [`Self::publish`], but for the name.
    pub fn publish_override<'a, T: 'a>(
        &self,
        calls: impl IntoIterator<Item = &'a Pending<T>>,
    ) -> Result<(), Error> {
        inside::dataset_publish(&self.name, &keys(calls), true)
    }

    /// Its calls, in the order in which they were published: to read, or as arguments.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such dataset; [`Error::OverLimit`] when this call would
    /// hold more than 10,000 calls.
    pub fn get<T>(&self) -> Result<Vec<Pending<T>>, Error> {
        Ok(inside::dataset_get(&self.name)?.into_iter().map(Pending::held).collect())
    }

    /// Gives the name up; what nobody else wants is freed.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such dataset.
    pub fn unpublish(&self) -> Result<(), Error> {
        inside::dataset_unpublish(&self.name)
    }
}

fn keys<'a, T: 'a>(calls: impl IntoIterator<Item = &'a Pending<T>>) -> Vec<&'a Key> {
    calls.into_iter().map(Pending::key).collect()
}
