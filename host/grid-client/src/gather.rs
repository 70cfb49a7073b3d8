//! The results of many futures: all or the first failure, those that there are, or each one's.

use std::collections::HashMap;
use std::sync::Arc;

use grid_proto::Key;
use grid_sdk::FromValue;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::error::ClientError;
use crate::future::Future;
use crate::link::Link;

impl Client {
    /// Waits for all results and gives them in order, or ends at the first failure in time: as soon
    /// as any of the calls is known to have no result, whichever results are still awaited.
    ///
    /// # Errors
    /// That failure; others when a result cannot be had.
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
        let mut results = Vec::with_capacity(futures.len());
        for future in futures {
            match future.result().await {
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
        let mut results = Vec::with_capacity(futures.len());
        for future in futures {
            results.push(future.result().await);
        }
        results
    }
}

async fn in_order<T: FromValue>(futures: &[Future<T>]) -> Result<Vec<T>, ClientError> {
    let mut results = Vec::with_capacity(futures.len());
    for future in futures {
        results.push(future.result().await?);
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
