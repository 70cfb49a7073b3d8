//! The last events in a few words each, for the dump of a machine that has to stop.

use std::collections::VecDeque;

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::{Attempt, Key};

use crate::config::Now;
use crate::event::Event;
use crate::story::Cause;

/// Events that are remembered.
const EVENTS_MAX: usize = 256;

/// The ring; its last entry is what is being handled.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    told: VecDeque<Told>,
    /// All events that there ever were.
    count: u64,
}

#[derive(Debug)]
struct Told {
    at: Now,
    cause: Cause,
    about: About,
}

/// What an event names: one call of perhaps many.
#[derive(Clone, Copy, Debug, Default)]
struct About {
    key: Option<Key>,
    attempt: Option<Attempt>,
    /// How many calls it names.
    calls: usize,
}

impl Recent {
    /// Something happens.
    pub(crate) fn tell(&mut self, at: Now, cause: Cause, event: Option<&Event>) {
        if self.told.len() == EVENTS_MAX {
            self.told.pop_front();
        }
        self.count += 1;
        self.told.push_back(Told { at, cause, about: event.map(about).unwrap_or_default() });
    }

    /// The call that was named last.
    pub(crate) fn key(&self) -> Option<Key> {
        self.told.iter().rev().find_map(|told| told.about.key)
    }

    /// In words, oldest first.
    pub(crate) fn words(&self) -> Vec<String> {
        let first = self.count - self.told.len() as u64;
        self.told.iter().zip(first..).map(|(told, number)| told.words(number)).collect()
    }
}

impl Told {
    fn words(&self, number: u64) -> String {
        let (source, what) = match self.cause {
            Cause::Client(id, what) => (format!("client {id}"), what),
            Cause::Worker(id, what) => (format!("worker {id}"), what),
            Cause::Own(what) => ("own".to_owned(), what),
        };
        let mut words = format!("{number} at {} us, {source}: {what}", self.at.0);
        if let Some(key) = self.about.key {
            words.push_str(&format!(", call {key}"));
        }
        if let Some(attempt) = self.about.attempt {
            words.push_str(&format!(", attempt {attempt}"));
        }
        if self.about.calls > 1 {
            words.push_str(&format!(", of {} calls", self.about.calls));
        }
        words
    }
}

fn about(event: &Event) -> About {
    match event {
        Event::Client(_, message) => about_client(message),
        Event::Worker(_, message) => about_worker(message),
        Event::ClientConnected(_)
        | Event::ClientGone(_)
        | Event::WorkerConnected(..)
        | Event::WorkerGone(_)
        | Event::BundleStored { .. }
        | Event::BundleRestored { .. } => About::default(),
    }
}

fn about_client(message: &FromClient) -> About {
    match message {
        FromClient::Submit(piece) => {
            let key = piece.calls.first().map(|spec| spec.key);
            About { key, attempt: None, calls: piece.calls.len() }
        }
        FromClient::Scatter(scattering) => {
            let key = scattering.items.first().map(|(key, _)| *key);
            About { key, attempt: None, calls: scattering.items.len() }
        }
        FromClient::Retry { keys, .. }
        | FromClient::Replicate { keys, .. }
        | FromClient::Rebalance { keys, .. }
        | FromClient::Release(keys)
        | FromClient::Cancel { keys, .. }
        | FromClient::Locate { keys, .. } => many(keys),
        FromClient::Coordinate { .. }
        | FromClient::Took(_)
        | FromClient::Abandon(_)
        | FromClient::WorkerEnded { .. }
        | FromClient::Query { .. } => About::default(),
    }
}

fn about_worker(message: &FromWorker) -> About {
    match message {
        FromWorker::Finished { key, attempt, .. }
        | FromWorker::Output { key, attempt, .. }
        | FromWorker::MissingInputs { key, attempt, .. }
        | FromWorker::FromTask { key, attempt, .. }
        | FromWorker::Waits { key, attempt, .. }
        | FromWorker::Withdrawn { key, attempt } => {
            About { key: Some(*key), attempt: Some(*attempt), calls: 1 }
        }
        FromWorker::ActorLost { key, .. } => About { key: Some(*key), attempt: None, calls: 1 },
        FromWorker::Holds(copies) => {
            About { key: copies.first().map(|(key, _)| *key), attempt: None, calls: copies.len() }
        }
        FromWorker::NotAcquired(keys) | FromWorker::Missing(keys) => many(keys),
        FromWorker::Started(attempts) => {
            let first = attempts.first();
            About {
                key: first.map(|(key, _)| *key),
                attempt: first.map(|(_, attempt)| *attempt),
                calls: attempts.len(),
            }
        }
        FromWorker::Register(_)
        | FromWorker::Inspected { .. }
        | FromWorker::Heartbeat { .. }
        | FromWorker::Paused(_)
        | FromWorker::Leaving => About::default(),
    }
}

fn many(keys: &[Key]) -> About {
    About { key: keys.first().copied(), attempt: None, calls: keys.len() }
}
