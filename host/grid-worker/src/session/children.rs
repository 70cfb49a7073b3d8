//! What an attempt knows of the calls that it submitted, or was given by what is shared.

use std::collections::BTreeMap;

use grid_proto::message::{Answer, Holder, ToClient};
use grid_proto::{BundleHash, Failure, Key, ObjectMeta, RequestId, Value};
use grid_sandbox::GridError;

/// How a call stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Pending,
    /// The result came with the news.
    Here(Value),
    Elsewhere(ObjectMeta, Vec<Holder>),
    Failed(Box<Failure>),
    /// The scheduler did not take the submission.
    Refused(String),
}

#[derive(Debug)]
struct Child {
    standing: Standing,
    /// How often its key was given and not released.
    holds: usize,
    /// Bytes of arguments that were submitted for it.
    bytes: usize,
}

/// The calls that an attempt submitted or was given, and has not let go of.
#[derive(Debug, Default)]
pub(crate) struct Children {
    held: BTreeMap<Key, Child>,
    holds: usize,
    bytes: usize,
    /// Let go of, and not yet told.
    released: Vec<Key>,
    requests: u64,
    /// Submissions that the scheduler has not judged.
    submitted: BTreeMap<RequestId, Vec<Key>>,
    pub(crate) answers: BTreeMap<RequestId, Answer>,
    pub(crate) bundles: BTreeMap<String, BundleHash>,
}

impl Children {
    pub(crate) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(crate) fn unjudged(&self) -> usize {
        self.submitted.len()
    }

    /// Keys that were given and not released, and bytes of arguments behind them.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.holds, self.bytes)
    }

    pub(crate) fn is_held(&self, key: &Key) -> bool {
        self.held.contains_key(key)
    }

    /// A submission is on its way.
    pub(crate) fn on_submitted(&mut self, request: RequestId, keys: &[Key], bytes: usize) {
        self.hold(keys, bytes);
        self.submitted.insert(request, keys.to_vec());
    }

    /// These calls are held once more, each until it is released; so many bytes of arguments are
    /// behind them.
    pub(crate) fn hold(&mut self, keys: &[Key], mut bytes: usize) {
        for key in keys {
            let child = self.held.entry(*key).or_insert_with(|| Child {
                standing: Standing::Pending,
                holds: 0,
                bytes: 0,
            });
            child.holds += 1;
            self.holds += 1;
            // The first answers for all.
            self.bytes += bytes;
            child.bytes += std::mem::take(&mut bytes);
        }
    }

    pub(crate) fn on_message(&mut self, message: ToClient) {
        match message {
            ToClient::Accepted(request) => {
                self.submitted.remove(&request);
            }
            ToClient::Refused { request, error } => {
                for key in self.submitted.remove(&request).unwrap_or_default() {
                    if !self.has_ended(&key) {
                        self.set(key, Standing::Refused(error.to_string()));
                    }
                }
            }
            ToClient::Ready { key, inline: Some(value), .. } => {
                self.set(key, Standing::Here(value));
            }
            ToClient::Ready { key, meta, holders, inline: None } => {
                self.set(key, Standing::Elsewhere(meta, holders));
            }
            ToClient::Failed { key, failure } => self.set(key, Standing::Failed(Box::new(failure))),
            ToClient::Answer { request, answer } => {
                self.answers.insert(request, answer);
            }
            ToClient::Again(keys) => {
                keys.into_iter().for_each(|key| self.set(key, Standing::Pending));
            }
            // It subscribes to none.
            ToClient::Topic { .. } => {}
            // It is for people; a parent that wants it has the child return it.
            ToClient::Output { .. } => {}
        }
    }

    fn set(&mut self, key: Key, standing: Standing) {
        if let Some(child) = self.held.get_mut(&key) {
            child.standing = standing;
        }
    }

    /// Fetching failed: the scheduler is asked where the result is now.
    pub(crate) fn ask_again(&mut self, key: Key) {
        self.set(key, Standing::Pending);
    }

    pub(crate) fn standing(&self, key: &Key) -> Standing {
        self.held.get(key).map_or(Standing::Pending, |child| child.standing.clone())
    }

    pub(crate) fn has_ended(&self, key: &Key) -> bool {
        let standing = self.held.get(key).map(|child| &child.standing);
        standing.is_some_and(|standing| !matches!(standing, Standing::Pending))
    }

    pub(crate) fn first_ended(&self, keys: &[Key]) -> Option<u32> {
        let position = keys.iter().position(|key| self.has_ended(key))?;
        u32::try_from(position).ok()
    }

    pub(crate) fn check_held(&self, keys: &[Key]) -> Result<(), GridError> {
        match keys.iter().find(|key| !self.is_held(key)) {
            None => Ok(()),
            Some(key) => Err(GridError::Refused(format!(
                "`{}` is no call that this call submitted or was given, or it was released",
                key.short()
            ))),
        }
    }

    pub(crate) fn release(&mut self, keys: &[Key]) {
        for key in keys {
            let Some(child) = self.held.get_mut(key) else { continue };
            child.holds -= 1;
            self.holds -= 1;
            if child.holds == 0 {
                self.bytes -= child.bytes;
                self.held.remove(key);
                self.released.push(*key);
            }
        }
    }

    pub(crate) fn take_released(&mut self) -> Vec<Key> {
        let released = std::mem::take(&mut self.released);
        // A key that was let go of and taken up again is still wanted.
        released.into_iter().filter(|key| !self.held.contains_key(key)).collect()
    }

    pub(crate) fn put_back(&mut self, keys: Vec<Key>) {
        self.released.extend(keys);
    }
}
