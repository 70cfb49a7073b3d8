//! Partitions of something as graphs of calls: one for each, a few to choose, a tree to put together.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use grid_proto::Key;
use grid_sdk::{ArgNode, Call, CallNode, FromValue, IntoArg, Value};

use crate::client::Client;
use crate::error::ClientError;
use crate::future::Future;
use crate::value::{codec_of, decode};

/// The partitions of something, in order: values, results on the grid, or calls that nobody has submitted.
/// Made by [`Client::partitions`].
///
/// ```no_run
/// # mod flights {
/// #   #[grid_sdk::task] pub fn plan(url: String) -> Vec<u64> { vec![url.len() as u64] }
/// #   #[grid_sdk::task] pub fn delays(part: u64) -> f64 { part as f64 }
/// #   #[grid_sdk::task] pub fn add(a: f64, b: f64) -> f64 { a + b }
/// # }
/// # async fn run(client: grid_client::Client) -> Result<(), grid_client::ClientError> {
/// let parts = client.submit(flights::plan::call("s3://flights/2013/*.csv")).await?.result().await?;
/// let delays = client.partitions(parts).map(flights::delays::call);
/// let sum = delays.reduce(2, |pair| flights::add::call(&pair[0], &pair[1])).await?;
/// println!("{}", sum.result().await?);
/// # Ok(()) }
/// ```
///
/// What [`map`](Self::map) makes is part of the graph that is submitted later, as a whole, by whatever is
/// awaited: `persist`, `filter`, `reduce` or `gather`. Each submits it anew; equal pure calls run once, and
/// [`persist`](Self::persist) is for what should run once in any case.
///
/// Results on the grid stay there while these partitions exist, or others that were made of them.
pub struct Partitions<T> {
    client: Client,
    pieces: Vec<Piece<T>>,
    /// What on the grid the pieces are, or what calls among them need.
    held: Vec<Future<()>>,
}

/// One partition, as an argument of calls.
pub struct Piece<T> {
    arg: ArgNode,
    output: PhantomData<fn() -> T>,
}

impl<T> Piece<T> {
    fn of(arg: ArgNode) -> Self {
        Self { arg, output: PhantomData }
    }
}

impl<T> Clone for Piece<T> {
    fn clone(&self) -> Self {
        Self::of(self.arg.clone())
    }
}

impl<T> fmt::Debug for Piece<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Piece").field(&self.arg).finish()
    }
}

impl<T> IntoArg<T> for Piece<T> {
    fn into_arg(self) -> ArgNode {
        self.arg
    }
}

impl<T> IntoArg<T> for &Piece<T> {
    fn into_arg(self) -> ArgNode {
        self.arg.clone()
    }
}

impl<T> fmt::Debug for Partitions<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Partitions").field("pieces", &self.pieces).finish_non_exhaustive()
    }
}

impl Client {
    /// Takes values, calls, or references to futures as the partitions of something.
    pub fn partitions<T>(&self, parts: impl IntoIterator<Item = impl IntoArg<T>>) -> Partitions<T> {
        let pieces: Vec<_> = parts.into_iter().map(|part| Piece::of(part.into_arg())).collect();
        let held = held(self, &pieces);
        Partitions { client: self.clone(), pieces, held }
    }
}

/// Holds those that are results on the grid.
fn held<T>(client: &Client, pieces: &[Piece<T>]) -> Vec<Future<()>> {
    let keys = pieces.iter().filter_map(|piece| match piece.arg {
        ArgNode::Key(key) => Some(Key(key)),
        ArgNode::Value { .. } | ArgNode::Call(_) | ArgNode::Unencodable { .. } => None,
    });
    keys.map(|key| Future::claim(client.link(), key)).collect()
}

impl<T> Partitions<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// A call for each partition. Nothing is submitted yet.
    #[must_use = "the calls run when they are persisted, filtered, reduced or gathered"]
    pub fn map<R>(&self, mut call: impl FnMut(Piece<T>) -> Call<R>) -> Partitions<R> {
        self.map_numbered(|_, piece| call(piece))
    }

    /// As [`Self::map`], for calls that are told the number of their partition, from 0: to write the part of
    /// that number.
    #[must_use = "the calls run when they are persisted, filtered, reduced or gathered"]
    pub fn map_numbered<R>(&self, mut call: impl FnMut(u32, Piece<T>) -> Call<R>) -> Partitions<R> {
        let pieces = self.pieces.iter().cloned();
        let called = (0..).zip(pieces).map(|(number, piece)| call(number, piece).into_node());
        let pieces = called.map(|node| Piece::of(ArgNode::Call(node))).collect();
        Partitions { client: self.client.clone(), pieces, held: self.held.clone() }
    }

    /// Submits the calls, at once, and gives the same partitions as results that stay on the grid.
    /// Does not wait for them. Values stay values.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub async fn persist(&self) -> Result<Self, ClientError> {
        let calls: Vec<_> = self.pieces.iter().filter_map(|piece| node_of(&piece.arg)).collect();
        // A future for each call, in order.
        let mut futures: Vec<Future<()>> = Vec::with_capacity(calls.len());
        for (plan, keys) in self.client.plan(&calls).await? {
            futures.extend(self.client.submit_plan(plan, keys).await?);
        }
        let mut keys = futures.iter().map(Future::key);
        let submitted = |piece: &Piece<T>| match node_of(&piece.arg).and_then(|_| keys.next()) {
            Some(key) => Piece::of(ArgNode::Key(key.0)),
            None => piece.clone(),
        };
        let pieces: Vec<_> = self.pieces.iter().map(submitted).collect();
        let held = held(&self.client, &pieces);
        Ok(Self { client: self.client.clone(), pieces, held })
    }

    /// Keeps the partitions of which a call says so: submits and persists them, with one call for each, and
    /// waits for its answer. It chooses among partitions; a task chooses among their rows.
    ///
    /// # Errors
    /// As [`Client::submit`] and [`Client::gather`].
    pub async fn filter(
        &self,
        call: impl FnMut(Piece<T>) -> Call<bool>,
    ) -> Result<Self, ClientError> {
        let all = self.persist().await?;
        let wanted = all.map(call).gather().await?;
        let pieces = all.pieces.iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let pieces: Vec<_> = pieces.map(|(piece, _)| piece.clone()).collect();
        let held = held(&self.client, &pieces);
        Ok(Self { client: self.client.clone(), pieces, held })
    }
}

/// A call that nobody has submitted.
fn node_of(arg: &ArgNode) -> Option<Arc<CallNode>> {
    match arg {
        ArgNode::Call(node) => Some(Arc::clone(node)),
        ArgNode::Value { .. } | ArgNode::Key(_) | ArgNode::Unencodable { .. } => None,
    }
}

impl<T: FromValue> Partitions<T> {
    /// Puts all partitions together in a tree, submitted at once: `combine` makes a call of each `fan_in`
    /// neighbours, of fewer at the end of a level but at least two, and of its calls again, until one is
    /// left. Their order is kept and depends on nothing else, so sums of numbers with fractions are the
    /// same in each run. One partition alone is what comes out.
    ///
    /// # Errors
    /// [`ClientError::Value`] if there are no partitions, or `fan_in` is less than 2; else as
    /// [`Client::submit`].
    pub async fn reduce(
        &self,
        fan_in: usize,
        mut combine: impl FnMut(&[Piece<T>]) -> Call<T>,
    ) -> Result<Future<T>, ClientError> {
        if fan_in < 2 {
            let message = format!("a tree with a fan-in of {fan_in} has no end: take 2 or more");
            return Err(ClientError::Value(message));
        }
        let mut level = self.pieces.clone();
        while level.len() > 1 {
            let groups = level.chunks(fan_in);
            level = groups
                .map(|group| match group {
                    [alone] => alone.clone(),
                    group => Piece::of(ArgNode::Call(combine(group).into_node())),
                })
                .collect();
        }
        let Some(root) = level.pop() else {
            let message = "there are no partitions to put together";
            return Err(ClientError::Value(message.to_owned()));
        };
        self.one(root).await
    }

    /// A future on one of them, or on what was made of them.
    async fn one(&self, piece: Piece<T>) -> Result<Future<T>, ClientError> {
        let key = match piece.arg {
            ArgNode::Value { codec, bytes } => {
                // Held until the future below is.
                let data = self.client.scatter(Value { codec, bytes }).await?;
                return Ok(Future::claim(self.client.link(), data.key()));
            }
            ArgNode::Unencodable { message } => return Err(unencodable(&message)),
            ArgNode::Key(key) => Key(key),
            ArgNode::Call(node) => {
                let plans = self.client.plan(&[node]).await?;
                let mut futures = Vec::new();
                for (plan, keys) in plans {
                    futures.extend(self.client.submit_plan(plan, keys).await?);
                }
                return Ok(futures.remove(0));
            }
        };
        Ok(Future::claim(self.client.link(), key))
    }

    /// Submits the calls and waits for all results, in order; see [`Client::gather`].
    ///
    /// # Errors
    /// As [`Client::submit`] and [`Client::gather`].
    pub async fn gather(&self) -> Result<Vec<T>, ClientError> {
        let all = self.persist().await?;
        let future = |piece: &Piece<T>| match piece.arg {
            ArgNode::Key(key) => Some(Future::claim(self.client.link(), Key(key))),
            ArgNode::Value { .. } | ArgNode::Call(_) | ArgNode::Unencodable { .. } => None,
        };
        let futures: Vec<_> = all.pieces.iter().filter_map(future).collect();
        let mut results = self.client.gather(&futures).await?.into_iter();
        let result = |piece: Piece<T>| match piece.arg {
            ArgNode::Value { codec, bytes } => {
                let value = grid_proto::Value { codec: codec_of(codec), bytes };
                decode(value).map_err(|error| ClientError::Value(error.to_string()))
            }
            ArgNode::Unencodable { message } => Err(unencodable(&message)),
            ArgNode::Key(_) | ArgNode::Call(_) => {
                let none = || ClientError::Net("a result has come to nothing".to_owned());
                results.next().ok_or_else(none)
            }
        };
        // `all` holds the results until here, but for its pieces.
        let pieces = all.pieces.clone();
        pieces.into_iter().map(result).collect()
    }
}

fn unencodable(message: &str) -> ClientError {
    ClientError::Value(format!("a partition cannot be encoded: {message}"))
}
