//! Scattering: values that a program has become data of the grid, spread over its workers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use grid_net::Backoff;
use grid_proto::data::{ITEMS_MAX, Scattering as Message};
use grid_proto::message::{Answer, FromClient, Holder, Refusal};
use grid_proto::{FailureKind, Key, WorkerId};
use grid_sdk::{IntoValue, Raw};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, unexpected};
use crate::error::ClientError;
use crate::future::Future;
use crate::link::Link;
use crate::upload::{self, Item, Source, Uploaded};
use crate::value::encode;

/// Encoded values that are held at a time, in bytes; a larger one comes alone.
const WAVE_BYTES: u64 = 64 << 20;
/// Times that a value is brought to another worker, because one did not take it.
const TRIES_MAX: u32 = 5;
const TIMEOUT: Duration = Duration::from_secs(30);
const WAIT_FIRST: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How values are scattered, made by [`Client::scattering`]: where to, and how long to wait for
/// workers.
#[must_use = "nothing is scattered before `value`, `list`, `map`, `hash_map` or `file`"]
pub struct Scattering<'a> {
    client: &'a Client,
    to: Vec<String>,
    copies: u32,
    timeout: Duration,
}

impl Client {
    /// Brings a value to the grid and gives a future on it, to be an argument of calls: it travels
    /// once to each worker that reads it, however many calls do.
    ///
    /// ```no_run
    /// # mod text { #[grid_sdk::task] pub fn count(word: String, text: String) -> u64 {
    /// #   text.matches(&word).count() as u64 } }
    /// # async fn run(client: grid_client::Client) -> Result<(), grid_client::ClientError> {
    /// let text = client.scatter(std::fs::read_to_string("book.txt").unwrap()).await?;
    /// let words = ["whale", "ship"].map(|word| text::count::call(word, &text));
    /// let counts = client.gather(&client.map(words).await?).await?;
    /// # let _ = counts; Ok(()) }
    /// ```
    ///
    /// Data is named by its content: equal values are stored once, whoever brings them. Nothing can
    /// compute it again: when the last worker that has it is gone, it fails as `LostData`, and so do
    /// calls that need it.
    ///
    /// # Errors
    /// When the value cannot be encoded, is larger than any worker may hold, or no worker takes it
    /// within 30 seconds.
    pub async fn scatter<T: IntoValue>(&self, value: T) -> Result<Future<T>, ClientError> {
        self.scattering().value(value).await
    }

    /// The same for a list of values, spread over the workers in proportion to their slots; a later
    /// call goes on where this one stopped. Gives the futures in order.
    ///
    /// # Errors
    /// As [`Self::scatter`].
    pub async fn scatter_all<T: IntoValue>(
        &self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Future<T>>, ClientError> {
        self.scattering().list(values).await
    }

    /// Scattering with options.
    pub fn scattering(&self) -> Scattering<'_> {
        Scattering { client: self, to: Vec::new(), copies: 1, timeout: TIMEOUT }
    }
}

impl Scattering<'_> {
    /// Only to workers that have one of these names, hosts or labels.
    pub fn to<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.to = names.into_iter().map(Into::into).collect();
        self
    }

    /// So many copies of each, on as many workers; they are there when the scatter is done.
    pub fn copies(mut self, copies: u32) -> Self {
        self.copies = copies;
        self
    }

    /// A copy on every worker, also on those that come later.
    pub fn broadcast(self) -> Self {
        self.copies(u32::MAX)
    }

    /// How long to wait until some worker takes data at all; 30 seconds unless said otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// One value.
    ///
    /// # Errors
    /// As [`Client::scatter`].
    pub async fn value<T: IntoValue>(self, value: T) -> Result<Future<T>, ClientError> {
        Ok(self.list([value]).await?.remove(0))
    }

    /// A list of values; gives their futures in order.
    ///
    /// # Errors
    /// As [`Client::scatter`].
    pub async fn list<T: IntoValue>(
        self,
        values: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Future<T>>, ClientError> {
        let mut values = values.into_iter().peekable();
        let mut futures = Vec::new();
        while values.peek().is_some() {
            let (mut wave, mut bytes) = (Vec::new(), 0);
            while wave.len() < ITEMS_MAX
                && bytes < WAVE_BYTES
                && let Some(value) = values.next()
            {
                let value = encode(value)?;
                bytes += value.bytes.len() as u64;
                wave.push(value);
            }
            futures.extend(self.bring(upload::items(wave).await).await?);
        }
        Ok(futures)
    }

    /// The values of a map; gives a map of their futures.
    ///
    /// # Errors
    /// As [`Client::scatter`].
    pub async fn map<K: Ord, T: IntoValue>(
        self,
        values: BTreeMap<K, T>,
    ) -> Result<BTreeMap<K, Future<T>>, ClientError> {
        let (keys, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Ok(keys.into_iter().zip(self.list(values).await?).collect())
    }

    /// The values of a hash map; gives a hash map of their futures.
    ///
    /// # Errors
    /// As [`Client::scatter`].
    pub async fn hash_map<K: Eq + Hash, T: IntoValue>(
        self,
        values: HashMap<K, T>,
    ) -> Result<HashMap<K, Future<T>>, ClientError> {
        let (keys, values): (Vec<_>, Vec<_>) = values.into_iter().unzip();
        Ok(keys.into_iter().zip(self.list(values).await?).collect())
    }

    /// The bytes of a file, from its beginning, without holding them in memory. The file is read
    /// twice and must not change meanwhile.
    ///
    /// # Errors
    /// [`ClientError::File`] when it cannot be read; else as [`Client::scatter`].
    pub async fn file(self, file: std::fs::File) -> Result<Future<Raw>, ClientError> {
        let read = tokio::task::spawn_blocking(move || Source::of_file(file)).await;
        let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        let item =
            read.map_err(|error| ClientError::File(format!("the file cannot be read: {error}")))?;
        Ok(self.bring(vec![item]).await?.remove(0))
    }

    /// Places and uploads items, at most [`ITEMS_MAX`].
    async fn bring<T>(&self, items: Vec<Item>) -> Result<Vec<Future<T>>, ClientError> {
        let link = self.client.link();
        let futures: Vec<Future<T>> =
            items.iter().map(|item| Future::new(link, item.key)).collect();
        let items = Arc::new(items);
        let mut keys = HashSet::new();
        // Equal values are one.
        let mut left: Vec<usize> =
            (0..items.len()).filter(|place| keys.insert(items[*place].key)).collect();
        let mut failed = Vec::<WorkerId>::new();
        let mut reason = String::new();
        for _ in 0..TRIES_MAX {
            let homes = self.find_homes(&items, &left, &failed).await?;
            let uploaded = upload_all(link, &items, &futures, homes).await;
            left.clear();
            for Uploaded { worker, rest, error } in uploaded {
                left.extend(rest);
                if let Some(error) = error {
                    failed.push(worker);
                    reason = error.to_string();
                }
            }
            if left.is_empty() {
                left = lost(&items, &futures).await?;
            }
            if left.is_empty() {
                self.replicate(&items).await?;
                return Ok(futures);
            }
        }
        let key = items[left[0]].key.short();
        Err(ClientError::Value(format!("`{key}` could not be brought to any worker: {reason}")))
    }

    async fn replicate(&self, items: &[Item]) -> Result<(), ClientError> {
        if self.copies == 1 && self.to.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = items.iter().map(|item| item.key).collect();
        self.client.replicate_to(&keys, self.copies, self.to.clone()).await?;
        Ok(())
    }

    /// Asks where these items go, until some worker takes data. Gives the items by their workers.
    async fn find_homes(
        &self,
        items: &[Item],
        left: &[usize],
        failed: &[WorkerId],
    ) -> Result<BTreeMap<WorkerId, (Holder, Vec<usize>)>, ClientError> {
        let link = self.client.link();
        let until = Instant::now() + self.timeout;
        let mut backoff = Backoff::new(WAIT_FIRST, WAIT_MAX, u64::from(items[0].key.0[0]));
        let homes = loop {
            let request = link.next_request();
            // What was let go of before must not be taken for this.
            link.flush_releases().await?;
            let answer = link.question(request, None);
            link.send(FromClient::Scatter(Message {
                request,
                items: left.iter().map(|place| items[*place].named()).collect(),
                to: self.to.clone(),
                failed: failed.to_vec(),
            }))
            .await?;
            match link.answered(answer.await) {
                Ok(Answer::Scattered(homes)) => break homes,
                Ok(other) => return Err(unexpected(&other)),
                Err(ClientError::Refused(refusal @ Refusal::NoWorker { .. })) => {
                    let wait = backoff.next_wait();
                    if Instant::now() + wait >= until {
                        return Err(refusal.into());
                    }
                    tokio::time::sleep(wait).await;
                }
                Err(error) => return Err(error),
            }
        };
        let mut by_worker = BTreeMap::new();
        for (place, home) in left.iter().zip(homes) {
            if let Some(home) = home {
                let (_, places) =
                    by_worker.entry(home.worker).or_insert_with(|| (home, Vec::new()));
                places.push(*place);
            }
        }
        Ok(by_worker)
    }
}

/// Waits until the grid knows that it has the items. Gives those whose worker died before it had said so.
async fn lost<T>(items: &[Item], futures: &[Future<T>]) -> Result<Vec<usize>, ClientError> {
    let mut lost = Vec::new();
    for (place, future) in futures.iter().enumerate() {
        future.wait().await;
        match future.slot().failure() {
            None => {}
            Some(ClientError::Failed(failure)) if failure.kind == FailureKind::LostData => {
                tracing::info!(key = %items[place].key, "data is lost as soon as it was brought");
                lost.push(place);
            }
            Some(error) => return Err(error),
        }
    }
    Ok(lost)
}

/// Uploads to all workers at the same time.
async fn upload_all<T>(
    link: &Arc<Link>,
    items: &Arc<Vec<Item>>,
    futures: &[Future<T>],
    homes: BTreeMap<WorkerId, (Holder, Vec<usize>)>,
) -> Vec<Uploaded> {
    let mut uploads = JoinSet::new();
    for (home, places) in homes.into_values() {
        // The last to arrive: as long as it has not, it fails when the worker is gone.
        let gone = places.last().map(|place| is_lost(futures[*place].untyped()));
        let gone = async move {
            match gone {
                Some(gone) => gone.await,
                None => std::future::pending().await,
            }
        };
        uploads.spawn(upload::to_worker(Arc::clone(link), Arc::clone(items), home, places, gone));
    }
    uploads.join_all().await
}

/// Waits until the grid says that this data is lost, which it knows before a connection has been silent
/// for so long that it ends.
async fn is_lost(future: Future<()>) {
    future.wait().await;
    match future.slot().failure() {
        Some(ClientError::Failed(failure)) if failure.kind == FailureKind::LostData => {}
        // It has arrived, or there will be nothing to wait for.
        _ => std::future::pending().await,
    }
}

impl Item {
    fn named(&self) -> (Key, grid_proto::ObjectMeta) {
        (self.key, self.meta)
    }
}
