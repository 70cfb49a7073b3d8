//! The results of many futures: all or the first failure, those that there are, or each one's.

use std::collections::HashMap;
use std::sync::Arc;

use grid_proto::{Key, Value};
use grid_sdk::FromValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{ClientError, too_large};
use crate::future::Future;
use crate::link::Link;

impl Client {
    /// Waits for all results and gives them in order, or ends at the first failure in time: as soon
    /// as any of the calls is known to have no result, whichever results are still awaited. They come
    /// from all workers at the same time, 256 MiB at most.
    ///
    /// # Errors
    /// That failure; [`ClientError::TooLarge`] when they hold more than
    /// [`ClientOptions::gather_bytes_max`](crate::ClientOptions); others when a result cannot be had.
    pub async fn gather<T: FromValue>(&self, futures: &[Future<T>]) -> Result<Vec<T>, ClientError> {
        // Before the look at those that have failed already: none falls between the two.
        let failed = hear_of_failures(futures);
        tokio::select! {
            biased;
            results = in_order(futures) => results,
            error = first_failure(futures, failed) => Err(error),
        }
    }

    /// The results of those calls that have one, in order; failed calls are left out.
    ///
    /// # Errors
    /// What is no failure of a call: a result of another type, a connection that is lost.
    pub async fn gather_skip<T: FromValue>(
        &self,
        futures: &[Future<T>],
    ) -> Result<Vec<T>, ClientError> {
        let mut ahead = Ahead::new(futures);
        let mut results = Vec::with_capacity(futures.len());
        for due in 0..futures.len() {
            match ahead.result(due).await {
                Ok(result) => results.push(result),
                Err(ClientError::Failed(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(results)
    }

    /// Waits for all and gives each one's result or failure, in order.
    pub async fn gather_each<T: FromValue>(
        &self,
        futures: &[Future<T>],
    ) -> Vec<Result<T, ClientError>> {
        let mut ahead = Ahead::new(futures);
        let mut results = Vec::with_capacity(futures.len());
        for due in 0..futures.len() {
            results.push(ahead.result(due).await);
        }
        results
    }
}

/// Fetches that are under way at a time, and their bytes: one object more than that comes alone.
const FETCHES_MAX: usize = 16;
const FETCHED_BYTES_MAX: u64 = 256 << 20;
/// How far ahead of the result that is due others are fetched.
const AHEAD_MAX: usize = 1_000;

/// Results on their way from all workers at the same time, given in order.
struct Ahead<'a, T> {
    futures: &'a [Future<T>],
    /// The first that nobody has looked at.
    next: usize,
    fetches: JoinSet<(usize, Result<Value, ClientError>)>,
    /// By place, with its size until it is given.
    on_the_way: HashMap<usize, u64>,
    come: HashMap<usize, Result<Value, ClientError>>,
    /// What all results hold together.
    bytes: u64,
}

impl<'a, T: FromValue> Ahead<'a, T> {
    fn new(futures: &'a [Future<T>]) -> Self {
        Self {
            futures,
            next: 0,
            fetches: JoinSet::new(),
            on_the_way: HashMap::new(),
            come: HashMap::new(),
            bytes: 0,
        }
    }

    /// Begins to fetch what is there, as far as there is room.
    fn look_ahead(&mut self, due: usize) -> Result<(), ClientError> {
        self.next = self.next.max(due);
        while self.next < self.futures.len().min(due + AHEAD_MAX)
            && self.fetches.len() < FETCHES_MAX
        {
            let future = &self.futures[self.next];
            let Some(size) = future.slot().size_elsewhere() else {
                if future.slot().is_pending() {
                    return Ok(());
                }
                self.next += 1;
                continue;
            };
            let coming: u64 = self.on_the_way.values().sum();
            let later = self.next > due;
            let most = future.link().gather_bytes_max;
            if later && (coming + size > FETCHED_BYTES_MAX || self.bytes + size > most) {
                return Ok(());
            }
            self.count(future.link(), size)?;
            let (place, future) = (self.next, future.untyped());
            self.fetches.spawn(async move { (place, future.value().await) });
            self.on_the_way.insert(place, size);
            self.next += 1;
        }
        Ok(())
    }

    fn count(&mut self, link: &Link, size: u64) -> Result<(), ClientError> {
        self.bytes = self.bytes.saturating_add(size);
        match self.bytes <= link.gather_bytes_max {
            true => Ok(()),
            false => Err(too_large("the results hold together", self.bytes, link.gather_bytes_max)),
        }
    }

    /// The result at this place.
    async fn result(&mut self, due: usize) -> Result<T, ClientError> {
        loop {
            self.look_ahead(due)?;
            if let Some(value) = self.come.remove(&due) {
                self.on_the_way.remove(&due);
                return self.futures[due].read(value?);
            }
            if !self.on_the_way.contains_key(&due) {
                if self.futures[due].slot().is_pending() {
                    // Then its size is known before its bytes come.
                    self.futures[due].wait().await;
                    continue;
                }
                let value = self.futures[due].value().await?;
                self.count(self.futures[due].link(), value.bytes.len() as u64)?;
                return self.futures[due].read(value);
            }
            match self.fetches.join_next().await {
                Some(Ok((place, value))) => {
                    self.come.insert(place, value);
                }
                Some(Err(error)) => return Err(ClientError::Net(error.to_string())),
                None => return Err(ClientError::Net("a fetch has come to nothing".to_owned())),
            }
        }
    }
}

async fn in_order<T: FromValue>(futures: &[Future<T>]) -> Result<Vec<T>, ClientError> {
    let mut ahead = Ahead::new(futures);
    let mut results = Vec::with_capacity(futures.len());
    for due in 0..futures.len() {
        results.push(ahead.result(due).await?);
    }
    Ok(results)
}

/// The keys of all calls that their clients are told have failed, from now on.
fn hear_of_failures<T>(futures: &[Future<T>]) -> mpsc::UnboundedReceiver<Key> {
    let (teller, failed) = mpsc::unbounded_channel();
    let mut links: Vec<&Arc<Link>> = Vec::new();
    for future in futures {
        // Nearly always one.
        if !links.iter().any(|link| Arc::ptr_eq(link, future.link())) {
            links.push(future.link());
            future.link().tell_of_failures(teller.clone());
        }
    }
    failed
}

/// Ends when one of these is known to have no result.
async fn first_failure<T>(
    futures: &[Future<T>],
    mut failed: mpsc::UnboundedReceiver<Key>,
) -> ClientError {
    if let Some(error) = futures.iter().find_map(|future| future.slot().failure()) {
        return error;
    }
    // Made when something fails at all.
    let mut slots = None;
    while let Some(key) = failed.recv().await {
        let slots = slots.get_or_insert_with(|| -> HashMap<_, _> {
            futures.iter().map(|future| (future.key(), future.slot())).collect()
        });
        // It may run again already.
        if let Some(error) = slots.get(&key).and_then(|slot| slot.failure()) {
            return error;
        }
    }
    // There are no futures.
    std::future::pending().await
}
