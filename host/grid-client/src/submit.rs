//! Submitting: one call, many calls, graphs; kept, persisted or detached.

use std::sync::Arc;

use grid_proto::Key;
use grid_sdk::{Call, CallNode, FromValue};

use crate::client::Client;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::lost;
use crate::plan::{Plan, RawCall};

/// Calls of one [`Client::map`] that are submitted together, when they do not share inputs: the
/// first run while the last are still on their way.
const CALLS_PER_SUBMISSION: usize = 1_000;

impl Client {
    /// Submits one call, with the calls among its arguments. What the scheduler refuses, the
    /// future tells.
    ///
    /// # Errors
    /// When the bundle of a task is not on the grid, or an argument cannot be encoded.
    pub async fn submit<T: FromValue>(&self, call: Call<T>) -> Result<Future<T>, ClientError> {
        let mut futures = self.map([call]).await?;
        Ok(futures.remove(0))
    }

    /// Submits many calls; gives their futures in the same order.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn map<T: FromValue>(
        &self,
        calls: impl IntoIterator<Item = Call<T>>,
    ) -> Result<Vec<Future<T>>, ClientError> {
        let nodes: Vec<_> = calls.into_iter().map(Call::into_node).collect();
        let mut futures = Vec::with_capacity(nodes.len());
        for (plan, keys) in self.plan(&nodes).await? {
            futures.extend(self.submit_plan(plan, keys).await?);
        }
        Ok(futures)
    }

    /// Submits calls whose results stay on the grid while their futures exist, and takes note of
    /// them: where one of them is part of a graph that this client submits later, be it this very
    /// `Call`, a clone of it, or a reference to it, the graph names its result instead of computing
    /// it anew. For pure calls that only saves the way; impure ones would run again.
    ///
    /// ```no_run
    /// # mod table { #[grid_sdk::task] pub fn load(n: i64) -> i64 { n }
    /// #   #[grid_sdk::task] pub fn count(n: i64) -> i64 { n } }
    /// # async fn run(client: grid_client::Client) -> Result<(), grid_client::ClientError> {
    /// let loaded = table::load::call(1).impure();
    /// let kept = client.persist([loaded.clone()]).await?;
    /// let count = client.submit(table::count::call(&loaded)).await?;
    /// # let _ = (kept, count); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn persist<T: FromValue>(
        &self,
        calls: impl IntoIterator<Item = Call<T>>,
    ) -> Result<Vec<Future<T>>, ClientError> {
        let calls: Vec<_> = calls.into_iter().collect();
        let futures = self.map(calls.iter().cloned()).await?;
        for (call, future) in calls.iter().zip(&futures) {
            self.link().persist(call.node(), future.key());
        }
        Ok(futures)
    }

    /// Submits a call that runs to its end, with its retries, even if this client leaves. Its result
    /// is freed then, unless somebody wants it: detached calls are for what they do. Only a forced
    /// [`Self::cancel`] stops it. Returns when the grid has accepted it.
    ///
    /// # Errors
    /// As [`Self::submit`], and what the scheduler refuses.
    pub async fn detach<T>(&self, call: Call<T>) -> Result<Key, ClientError> {
        let nodes = [call.into_node()];
        let mut last = Key([0; 32]);
        for (plan, keys) in self.plan(&nodes).await? {
            last = keys[0];
            self.detach_plan(plan, keys).await?;
        }
        Ok(last)
    }

    /// As [`Self::detach`], for calls that are known by name and encoded value only.
    ///
    /// # Errors
    /// What the scheduler refuses; when the connection is lost.
    pub async fn detach_raw(
        &self,
        calls: impl IntoIterator<Item = RawCall>,
    ) -> Result<Vec<Key>, ClientError> {
        let mut plan = Plan::default();
        let keys: Vec<_> =
            calls.into_iter().map(|call| plan.add_raw(call)).collect::<Result<_, _>>()?;
        self.detach_plan(plan, keys.clone()).await?;
        Ok(keys)
    }

    /// A future on a call or data that the grid knows, whoever made it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the grid does not know the key.
    pub async fn future<T>(&self, key: Key) -> Result<Future<T>, ClientError> {
        let mut futures = self.futures(&[key]).await?;
        Ok(futures.remove(0))
    }

    /// The same for many.
    ///
    /// # Errors
    /// As [`Self::future`].
    pub async fn futures<T>(&self, keys: &[Key]) -> Result<Vec<Future<T>>, ClientError> {
        let futures = keys.iter().map(|key| Future::claim(self.link(), *key)).collect();
        let pieces = Plan::default().into_pieces(keys.to_vec(), Vec::new());
        let accepted = self.link().submit(pieces, keys).await?.await;
        accepted.unwrap_or_else(|_| Err(self.link().why_lost().unwrap_or_else(lost)))?;
        Ok(futures)
    }

    /// Submits calls that are known by name and encoded value only.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn submit_raw(
        &self,
        calls: impl IntoIterator<Item = RawCall>,
    ) -> Result<Vec<Future<grid_sdk::Value>>, ClientError> {
        let mut calls = calls.into_iter().peekable();
        let mut futures = Vec::new();
        while calls.peek().is_some() {
            let mut plan = Plan::default();
            let mut keys = Vec::new();
            while plan.len() < CALLS_PER_SUBMISSION
                && let Some(call) = calls.next()
            {
                keys.push(plan.add_raw(call)?);
            }
            futures.extend(self.submit_plan(plan, keys).await?);
        }
        Ok(futures)
    }

    /// Plans of submissions, with the keys of the calls that each of them is for.
    pub(crate) async fn plan(
        &self,
        nodes: &[Arc<CallNode>],
    ) -> Result<Vec<(Plan, Vec<Key>)>, ClientError> {
        let nested = |node: &Arc<CallNode>| {
            node.args.iter().any(|arg| matches!(arg, grid_sdk::ArgNode::Call(_)))
        };
        // What shares inputs is one submission: they are wanted until all their readers are known.
        let together = match nodes.iter().any(nested) {
            true => nodes.len().max(1),
            false => CALLS_PER_SUBMISSION,
        };
        for name in bundle_names(nodes) {
            if self.link().known_bundle(name).is_none() {
                self.bundle(name).await?;
            }
        }
        let find = |name: &str| {
            let known = self.link().known_bundle(name).map(|info| info.hash);
            known.ok_or_else(|| ClientError::Value(format!("bundle `{name}` is not known")))
        };
        let persisted = |node: &Arc<CallNode>| self.link().persisted(node);
        let planned = |part: &[Arc<CallNode>]| {
            let mut plan = Plan::default();
            let keys = part.iter().map(|node| plan.add_tree(node, &find, &persisted));
            let keys = keys.collect::<Result<_, _>>()?;
            Ok((plan, keys))
        };
        nodes.chunks(together).map(planned).collect()
    }

    pub(crate) async fn submit_plan<T>(
        &self,
        plan: Plan,
        keys: Vec<Key>,
    ) -> Result<Vec<Future<T>>, ClientError> {
        let futures = keys.iter().map(|key| Future::claim(self.link(), *key)).collect();
        self.link().submit(plan.into_pieces(keys.clone(), Vec::new()), &keys).await?;
        Ok(futures)
    }

    async fn detach_plan(&self, plan: Plan, keys: Vec<Key>) -> Result<(), ClientError> {
        let pieces = plan.into_pieces(Vec::new(), keys);
        let accepted = self.link().submit(pieces, &[]).await?.await;
        accepted.unwrap_or_else(|_| Err(self.link().why_lost().unwrap_or_else(lost)))
    }
}

/// The bundles that calls name, each once.
fn bundle_names(roots: &[Arc<CallNode>]) -> Vec<&'static str> {
    let mut names = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut stack: Vec<_> = roots.iter().collect();
    while let Some(node) = stack.pop() {
        if !seen.insert(Arc::as_ptr(node)) {
            continue;
        }
        if !names.contains(&node.bundle) {
            names.push(node.bundle);
        }
        for arg in &node.args {
            if let grid_sdk::ArgNode::Call(input) = arg {
                stack.push(input);
            }
        }
    }
    names
}
