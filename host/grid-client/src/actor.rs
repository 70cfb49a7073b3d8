//! Actors: instances that stay.

use grid_proto::message::Submission;
use grid_proto::{Instance, Key};
use grid_sdk::{Call, FromValue};

use crate::client::Client;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::lost;

/// A handle on an actor: an instance of a bundle that stays on one worker after the call that made it,
/// with its memory and so with the bundle's statics. Its methods are the tasks of that bundle.
///
/// Methods run one at a time, and those of one client in the order in which it called them. What a
/// method returns, a result or an error, goes to its caller. A method that traps, goes beyond a limit
/// or is cancelled while it runs takes the actor with it, and so does the end of its worker: calls
/// that have not ended, and later ones, fail as [`FailureKind::ActorLost`]; nothing is computed again.
///
/// Clones are handles on the same actor. When the last is dropped and its methods have ended, the grid
/// frees the instance.
///
/// ```no_run
/// # mod counter { #[grid_sdk::task] pub fn create(n: i64) { let _ = n; }
/// #   #[grid_sdk::task] pub fn add(n: i64) -> i64 { n } }
/// # async fn run(client: grid_client::Client) -> Result<(), grid_client::ClientError> {
/// let counter = client.actor(counter::create::call(5)).await?;
/// let sum = counter.call(counter::add::call(3)).await?;
/// assert_eq!(sum.result().await?, 8);
/// # Ok(()) }
/// ```
///
/// [`FailureKind::ActorLost`]: grid_proto::FailureKind::ActorLost
#[derive(Clone)]
pub struct Actor {
    client: Client,
    created: Future<()>,
}

impl Client {
    /// Makes an actor by a call, and waits until it is there. Its methods find what that call left in
    /// the bundle's statics. Options of the call, such as where it runs and how much memory it may
    /// hold, are the actor's. It is made anew for each call of this function.
    ///
    /// # Errors
    /// As [`Client::submit`], and [`ClientError::Failed`] when the call has no result.
    pub async fn actor<T: FromValue>(&self, create: Call<T>) -> Result<Actor, ClientError> {
        let created = self.submit_to(create, Instance::Kept).await?;
        created.value().await?;
        Ok(Actor { client: self.clone(), created })
    }

    /// A handle on an actor that somebody else made, by [`Actor::key`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know it, or no longer.
    pub async fn actor_of(&self, key: Key) -> Result<Actor, ClientError> {
        let created = Future::new(self.link(), key);
        let wish = Submission { wanted: vec![key], ..Submission::default() };
        let accepted = self.link().submit(wish.into_pieces(), &[key]).await?.await;
        accepted.unwrap_or_else(|_| Err(self.link().why_lost().unwrap_or_else(lost)))?;
        Ok(Actor { client: self.clone(), created })
    }

    /// Submits a call that is like no other, in this instance.
    async fn submit_to<T, R>(
        &self,
        call: Call<T>,
        instance: Instance,
    ) -> Result<Future<R>, ClientError> {
        let nodes = [call.impure().into_node()];
        let (mut plan, keys) = self.plan(&nodes).await?.remove(0);
        plan.set_instance(keys[0], instance);
        let mut futures = self.submit_plan(plan, keys).await?;
        Ok(futures.remove(0))
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").field("key", &self.key()).finish_non_exhaustive()
    }
}

impl Actor {
    /// Its key: that of the call that made it.
    #[must_use]
    pub fn key(&self) -> Key {
        self.created.key()
    }

    /// Has a task of its bundle run in its instance. Arguments may be values, futures and calls;
    /// calls among them run in instances of their own. Until all of them are there, this client's
    /// later methods wait as well.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn call<T: FromValue>(&self, method: Call<T>) -> Result<Future<T>, ClientError> {
        self.client.submit_to(method, Instance::Of(self.key())).await
    }
}
