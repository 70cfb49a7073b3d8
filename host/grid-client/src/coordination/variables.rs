use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use grid_proto::coordination::{Item, Operation, VariableOperation};
use grid_sdk::{FromValue, IntoValue};

use super::{Shared, millis, value_item};
use crate::asking::Asked;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::{Link, lost};

/// One value, or one future, under a name. Made by [`crate::Client::variable`]. It is the grid's, not
/// the client's: it stays until it is deleted.
#[derive(Clone)]
pub struct Variable<T> {
    link: Arc<Link>,
    name: String,
    item: PhantomData<fn() -> T>,
}

impl<T> Variable<T> {
    pub(super) fn new(link: &Arc<Link>, name: String) -> Self {
        Self { link: Arc::clone(link), name, item: PhantomData }
    }

    /// It holds this future from now on; the grid keeps the call's result for its sake.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know the call or has no room.
    pub async fn set_future(&self, future: &Future<T>) -> Result<(), ClientError> {
        self.set_item(Item::Call(future.key())).await
    }

    /// It holds nothing from now on.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it does not.
    pub async fn delete(&self) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(VariableOperation::Delete)).await
    }

    async fn set_item(&self, item: Item) -> Result<(), ClientError> {
        self.link.carry_out(self.operation(VariableOperation::Set(item))).await
    }

    fn operation(&self, operation: VariableOperation) -> Operation {
        Operation::Variable { name: self.name.clone(), operation }
    }
}

impl<T: IntoValue> Variable<T> {
    /// It holds this value from now on, at most 64 KiB encoded.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is too large or the grid has no room.
    pub async fn set(&self, value: T) -> Result<(), ClientError> {
        self.set_item(value_item(value)?).await
    }
}

impl<T: FromValue> Variable<T> {
    /// What it holds; waits until it is set.
    ///
    /// # Errors
    /// When the value is no `T`, or the connection is lost.
    pub async fn get(&self) -> Result<Shared<T>, ClientError> {
        self.get_item(None).await?.ok_or_else(lost)
    }

    /// What it holds; `None` if it is not set in this time.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_within(&self, timeout: Duration) -> Result<Option<Shared<T>>, ClientError> {
        self.get_item(Some(millis(timeout))).await
    }

    async fn get_item(&self, wait_ms: Option<u64>) -> Result<Option<Shared<T>>, ClientError> {
        let operation = self.operation(VariableOperation::Get { wait_ms });
        let asked = Asked::ask(&self.link, operation).await?;
        let hold = |items: Vec<Item>| {
            items.into_iter().next().map(|item| Shared::of(&self.link, item)).transpose()
        };
        asked.take(hold).await?.transpose().map(Option::flatten)
    }
}
