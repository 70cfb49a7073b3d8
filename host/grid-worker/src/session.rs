//! A running attempt's line to the scheduler: there it is a client like any other. The slot's thread
//! waits on this side, the driver brings what the scheduler says.

mod children;
mod coordination;
mod plan;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grid_net::Backoff;
use grid_proto::coordination::{Coordinated, Operation};
use grid_proto::message::{Answer as GridAnswer, FromClient, Holder, Query, ToClient};
use grid_proto::{Attempt, BundleHash, Failure, FailureKind, Key, LeaseId, ObjectMeta, Value};
use grid_sandbox::{Answer, GridAccess, GridError, NestedCall};
use grid_store::{LoadError, Object, Store};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::slots::Seats;
use children::{Children, Standing};
use coordination::Leases;

/// Submissions that the scheduler has not judged yet; further ones wait.
const UNJUDGED_MAX: usize = 8;
/// Rounds over all holders of a result before it counts as lost; about half a minute.
const ROUNDS_MAX: u32 = 20;
const WAIT_FIRST: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What an attempt says to the driver.
pub(crate) enum Said {
    /// To the scheduler.
    Grid(Key, Attempt, FromClient),
    /// It waits for others and has given its slot back, or goes on.
    Waits(Key, Attempt, bool),
    /// It wants a result that another worker holds.
    Fetch { from: Holder, key: Key, reply: oneshot::Sender<Option<Object>> },
    /// This worker's store has lost an object.
    Lost(Key),
}

/// One attempt's line.
pub(crate) struct Session {
    key: Key,
    attempt: Attempt,
    bundle: BundleHash,
    line: mpsc::Sender<Said>,
    seats: Seats,
    store: Store,
    children: Mutex<Children>,
    leases: Mutex<Leases>,
    news: Notify,
}

impl Session {
    pub(crate) fn new(
        (key, attempt): (Key, Attempt),
        bundle: BundleHash,
        line: mpsc::Sender<Said>,
        seats: Seats,
        store: Store,
    ) -> Self {
        let (children, leases, news) = (Mutex::default(), Mutex::default(), Notify::new());
        Self { key, attempt, bundle, line, seats, store, children, leases, news }
    }

    /// The scheduler said something.
    pub(crate) fn on_message(&self, message: ToClient) {
        self.children().on_message(message);
        self.news.notify_waiters();
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn say(&self, said: Said) -> Result<(), GridError> {
        let gone = |_| GridError::Unavailable("this worker is stopping".to_owned());
        // What was let go of goes first: a key may be submitted anew.
        let released = self.children().take_released();
        if !released.is_empty() {
            let release = FromClient::Release(released);
            let release = Said::Grid(self.key, self.attempt, release);
            self.line.send(release).await.map_err(gone)?;
        }
        let ended = self.leases().take_ended();
        for release in ended {
            let release = Said::Grid(self.key, self.attempt, release.into());
            self.line.send(release).await.map_err(gone)?;
        }
        self.line.send(said).await.map_err(gone)
    }

    async fn tell(&self, message: FromClient) -> Result<(), GridError> {
        self.say(Said::Grid(self.key, self.attempt, message)).await
    }

    /// Waits until `look` finds what it looks for, looking whenever there is news.
    async fn until<T>(&self, mut look: impl FnMut(&mut Children) -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            let mut news = std::pin::pin!(news);
            // Registered before it looks, so that no news falls between the two.
            news.as_mut().enable();
            let found = look(&mut self.children());
            if let Some(found) = found {
                return found;
            }
            news.await;
        }
    }

    fn call(&self) -> (Key, Attempt) {
        (self.key, self.attempt)
    }

    /// Waits while others have the slot.
    async fn aside<T>(&self, wait: impl Future<Output = T>) -> Result<T, GridError> {
        self.seats.suspend(self.call()).map_err(GridError::OverLimit)?;
        self.suspended(wait).await
    }

    /// Waits; the slot was given back before.
    async fn suspended<T>(&self, wait: impl Future<Output = T>) -> Result<T, GridError> {
        self.say(Said::Waits(self.key, self.attempt, true)).await?;
        let found = wait.await;
        self.seats.resume(self.call()).await;
        self.say(Said::Waits(self.key, self.attempt, false)).await?;
        Ok(found)
    }

    async fn submit_all(
        &self,
        calls: Vec<NestedCall>,
        wanted: Vec<u32>,
    ) -> Result<Vec<Key>, GridError> {
        for name in calls.iter().filter_map(|call| call.bundle.as_deref()) {
            self.find_bundle(name).await?;
        }
        self.until(|children| (children.unjudged() < UNJUDGED_MAX).then_some(())).await;
        let (submission, keys) = self.children().plan(self.bundle, calls, &wanted)?;
        for piece in submission.into_pieces() {
            self.tell(FromClient::Submit(piece)).await?;
        }
        Ok(keys)
    }

    /// Has the hash of a bundle's name at hand.
    async fn find_bundle(&self, name: &str) -> Result<(), GridError> {
        if self.children().bundles.contains_key(name) {
            return Ok(());
        }
        let request = self.children().next_request();
        self.tell(FromClient::Query { request, query: Query::Bundle(name.to_owned()) }).await?;
        let answer = self.until(|children| children.answers.remove(&request)).await;
        match answer {
            GridAnswer::Bundle(info) => {
                self.children().bundles.insert(name.to_owned(), info.hash);
                Ok(())
            }
            GridAnswer::Refused(refusal) => Err(GridError::Refused(refusal.to_string())),
            _ => Err(GridError::Unavailable("the scheduler answered something else".to_owned())),
        }
    }

    async fn wait_for(&self, keys: &[Key], all: bool) -> Result<u32, GridError> {
        if keys.is_empty() && !all {
            return Err(GridError::Refused("there is nothing to wait for".to_owned()));
        }
        let mut first = 0;
        let mut look = |children: &mut Children| {
            if !all {
                return children.first_ended(keys);
            }
            // What has ended is not looked at again.
            while first < keys.len() && children.has_ended(&keys[first]) {
                first += 1;
            }
            (first == keys.len()).then_some(0)
        };
        self.children().check_held(keys)?;
        let now = look(&mut self.children());
        match now {
            Some(found) => Ok(found),
            None => self.aside(self.until(look)).await,
        }
    }

    async fn value(&self, key: Key) -> Result<Value, GridError> {
        self.children().check_held(&[key])?;
        if let Some(value) = self.at_hand(&key).await? {
            return Ok(value);
        }
        self.aside(self.value_from_afar(key)).await?
    }

    /// The result, if it came with the news or is in this worker's store.
    async fn at_hand(&self, key: &Key) -> Result<Option<Value>, GridError> {
        let standing = self.children().standing(key);
        let meta = match standing {
            Standing::Pending => return Ok(None),
            Standing::Here(value) => return Ok(Some(value)),
            Standing::Failed(failure) => return Err(GridError::Failed(failure)),
            Standing::Refused(message) => return Err(GridError::Refused(message)),
            Standing::Elsewhere(meta, _) => meta,
        };
        // It may have to be read from disk, which keeps no other slot waiting.
        match self.store.load(key) {
            Ok(object) => Ok((object.meta == meta).then(|| value_of(&object))),
            Err(LoadError::Missing) => Ok(None),
            Err(error) => {
                tracing::warn!(key = %key, %error, "a spilled object is lost");
                self.say(Said::Lost(*key)).await?;
                Ok(None)
            }
        }
    }

    async fn value_from_afar(&self, key: Key) -> Result<Value, GridError> {
        let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX, u64::from(key.0[0]));
        for _ in 0..ROUNDS_MAX {
            self.until(|children| children.has_ended(&key).then_some(())).await;
            if let Some(value) = self.at_hand(&key).await? {
                return Ok(value);
            }
            let Standing::Elsewhere(meta, holders) = self.children().standing(&key) else {
                continue;
            };
            if let Some(object) = self.fetch_from_any(key, meta, &holders).await? {
                return Ok(value_of(&object));
            }
            // The news may be old: a holder may have died, and the call may be running once more.
            tokio::time::sleep(backoff.next_wait()).await;
            let failed = holders.iter().map(|holder| (key, holder.worker)).collect();
            self.children().ask_again(key);
            self.tell(FromClient::Locate { keys: vec![key], failed }).await?;
        }
        let message =
            format!("the result of `{}` could not be fetched from any worker", key.short());
        Err(GridError::Failed(Box::new(Failure::new(FailureKind::LostData, message))))
    }

    async fn fetch_from_any(
        &self,
        key: Key,
        meta: ObjectMeta,
        holders: &[Holder],
    ) -> Result<Option<Object>, GridError> {
        for holder in holders {
            let (reply, fetched) = oneshot::channel();
            self.say(Said::Fetch { from: holder.clone(), key, reply }).await?;
            if let Ok(Some(object)) = fetched.await
                && object.meta == meta
            {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }
}

impl GridAccess for Session {
    fn submit(&self, calls: Vec<NestedCall>, wanted: Vec<u32>) -> Answer<'_, Vec<Key>> {
        Box::pin(self.submit_all(calls, wanted))
    }

    fn wait(&self, keys: Vec<Key>, all: bool) -> Answer<'_, u32> {
        Box::pin(async move { self.wait_for(&keys, all).await })
    }

    fn fetch(&self, key: Key) -> Answer<'_, Value> {
        Box::pin(self.value(key))
    }

    fn release(&self, keys: Vec<Key>) {
        let released = {
            let mut children = self.children();
            children.release(&keys);
            children.take_released()
        };
        if released.is_empty() {
            return;
        }
        let release = FromClient::Release(released);
        if let Err(error) = self.line.try_send(Said::Grid(self.key, self.attempt, release))
            && let Said::Grid(_, _, FromClient::Release(keys)) = error.into_inner()
        {
            // It goes with what is said next, or with the attempt's end.
            self.children().put_back(keys);
        }
    }

    fn coordinate(&self, operation: Operation) -> Answer<'_, Coordinated> {
        Box::pin(self.carry_out(operation))
    }

    fn end_lease(&self, lease: LeaseId) {
        self.release_lease(lease);
    }
}

fn value_of(object: &Object) -> Value {
    Value { codec: object.meta.codec, bytes: object.bytes.to_vec() }
}
