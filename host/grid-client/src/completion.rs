//! Waiting for many futures: for all, for the first, one after the other as they end.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::client::Client;
use crate::future::Future;

/// What [`Client::wait`] waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitFor {
    /// All calls have ended.
    All,
    /// At least one call has ended.
    First,
}

/// How calls stood when [`Client::wait`] returned, each list in the order of the futures given.
#[derive(Debug)]
pub struct Waited<T> {
    /// Those that have ended, with or without a result.
    pub done: Vec<Future<T>>,
    /// The others: not empty after the time was over, or when only the first was waited for.
    pub not_done: Vec<Future<T>>,
}

/// Futures in the order in which their calls end, made by [`Client::as_completed`]. A call counts as
/// ended with or without a result. More futures can be added on the way.
pub struct AsCompleted<T> {
    /// By number; taken when it was given out.
    futures: Vec<Option<Future<T>>>,
    left: usize,
    // Bounded by the futures: each sends its number once.
    watcher: mpsc::UnboundedSender<usize>,
    ended: mpsc::UnboundedReceiver<usize>,
}

impl Client {
    /// Waits until all calls have ended, or the first of them, or the time is over; fetches nothing.
    ///
    /// ```no_run
    /// # async fn run(client: grid_client::Client, futures: Vec<grid_client::Future<i64>>) {
    /// use std::time::Duration;
    /// use grid_client::WaitFor;
    /// let waited = client.wait(&futures, WaitFor::All, Some(Duration::from_secs(60))).await;
    /// println!("{} have ended, {} have not", waited.done.len(), waited.not_done.len());
    /// # }
    /// ```
    pub async fn wait<T>(
        &self,
        futures: &[Future<T>],
        wait_for: WaitFor,
        timeout: Option<Duration>,
    ) -> Waited<T> {
        let mut pending = match wait_for {
            WaitFor::All => futures.len(),
            WaitFor::First => futures.len().min(1),
        };
        let (watcher, mut ended) = mpsc::unbounded_channel();
        for (number, future) in futures.iter().enumerate() {
            future.slot().watch(&watcher, number);
        }
        let mut done = vec![false; futures.len()];
        let wait = async {
            while pending > 0
                && let Some(number) = ended.recv().await
            {
                done[number] = true;
                pending -= 1;
            }
        };
        match timeout {
            None => wait.await,
            // What has ended by then is told below.
            Some(timeout) => drop(tokio::time::timeout(timeout, wait).await),
        }
        while let Ok(number) = ended.try_recv() {
            done[number] = true;
        }
        let of = |wanted: bool| {
            let numbered = futures.iter().zip(&done).filter(|(_, is_done)| **is_done == wanted);
            numbered.map(|(future, _)| future.clone()).collect()
        };
        Waited { done: of(true), not_done: of(false) }
    }

    /// Gives futures in the order in which their calls end.
    ///
    /// ```no_run
    /// # async fn run(client: grid_client::Client, futures: Vec<grid_client::Future<i64>>)
    /// # -> Result<(), grid_client::ClientError> {
    /// let mut completed = client.as_completed(futures);
    /// while let Some(future) = completed.next().await {
    ///     println!("{}, {} left", future.result().await?, completed.len());
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn as_completed<T>(&self, futures: impl IntoIterator<Item = Future<T>>) -> AsCompleted<T> {
        let (watcher, ended) = mpsc::unbounded_channel();
        let mut completed = AsCompleted { futures: Vec::new(), left: 0, watcher, ended };
        completed.extend(futures);
        completed
    }
}

impl<T> AsCompleted<T> {
    /// The next future whose call has ended; `None` when none is left.
    pub async fn next(&mut self) -> Option<Future<T>> {
        if self.left == 0 {
            return None;
        }
        let number = self.ended.recv().await?;
        self.give(number)
    }

    /// All futures whose calls have ended and that were not given yet, at least one; none when none
    /// is left.
    pub async fn next_batch(&mut self) -> Vec<Future<T>> {
        let mut batch: Vec<_> = self.next().await.into_iter().collect();
        while let Ok(number) = self.ended.try_recv() {
            batch.extend(self.give(number));
        }
        batch
    }

    /// One more.
    pub fn add(&mut self, future: Future<T>) {
        future.slot().watch(&self.watcher, self.futures.len());
        self.futures.push(Some(future));
        self.left += 1;
    }

    /// Futures that were not given yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all were given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn give(&mut self, number: usize) -> Option<Future<T>> {
        let future = self.futures.get_mut(number)?.take();
        self.left -= usize::from(future.is_some());
        if self.left == 0 {
            // Nothing is on its way: numbers start anew.
            self.futures.clear();
        }
        future
    }
}

impl<T> Extend<Future<T>> for AsCompleted<T> {
    fn extend<I: IntoIterator<Item = Future<T>>>(&mut self, futures: I) {
        futures.into_iter().for_each(|future| self.add(future));
    }
}
