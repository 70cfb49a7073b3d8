//! Failed calls that are asked to run again: from the calls whose failure it is, down to all that
//! failed because of them. In turns, because a million may have failed with one; none of them starts
//! before all have forgotten their failure.

use std::collections::{BTreeSet, VecDeque};

use grid_proto::limits::RETRY_KEYS_MAX;
use grid_proto::message::{Answer, Refusal, ToClient};
use grid_proto::{ClientId, FailureKind, Key, RequestId};

use crate::call::{CallId, State};
use crate::config::AT_ONCE_MAX;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::story::Cause;

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Retry {
    client: ClientId,
    request: RequestId,
    /// What failed before it was asked for has not yet taken all along.
    early: bool,
    /// Calls that it has still to look at, with what they need.
    asked: Vec<CallId>,
    /// The failed ones of them, and the failed calls that depend on those.
    failed: BTreeSet<CallId>,
    /// Those of which the dependents are still to be looked at, from a place on of the first.
    open: VecDeque<CallId>,
    from: u32,
    /// Those below this place have forgotten their failure.
    reset_below: u32,
    keys: Vec<Key>,
}

impl Retry {
    /// Calls that must not be forgotten meanwhile.
    pub(crate) fn staged(&self) -> impl Iterator<Item = &CallId> {
        self.asked.iter().chain(&self.failed)
    }
}

impl Scheduler {
    pub(crate) fn on_retry(&mut self, client: ClientId, request: RequestId, keys: &[Key]) {
        if keys.len() > RETRY_KEYS_MAX {
            let message = format!(
                "one request retries at most {RETRY_KEYS_MAX} calls; this one names {}: send several",
                keys.len()
            );
            let refusal = Refusal::BadSubmission { message };
            return self.answer(client, request, Answer::Refused(refusal));
        }
        let mut asked = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(id) = self.calls.find(key) else {
                let refusal = Refusal::UnknownKey { key: key.to_string() };
                return self.answer(client, request, Answer::Refused(refusal));
            };
            asked.push(id);
        }
        for id in &asked {
            self.calls[*id].staged += 1;
        }
        self.retries.push_back(Retry {
            client,
            request,
            early: true,
            asked,
            failed: BTreeSet::new(),
            open: VecDeque::new(),
            from: 0,
            reset_below: 0,
            keys: Vec::new(),
        });
        // Few are done with at once.
        for _ in 0..AT_ONCE_MAX {
            if !self.retry_step() {
                return;
            }
        }
    }

    /// One step of a retry. Says whether there was one.
    pub(crate) fn retry_step(&mut self) -> bool {
        let Some(mut retry) = self.retries.pop_front() else { return false };
        self.story.cause = Cause::Client(retry.client, "retry");
        retry.early &= self.news.is_failing();
        let below = retry.open.front().filter(|_| retry.asked.is_empty());
        if retry.early || below.is_some_and(|id| self.will_fail(CallId(u32::MAX), *id)) {
            self.retries.push_back(retry);
            return self.fail_a_reader();
        }
        let next = retry.failed.range(CallId(retry.reset_below)..).next().copied();
        if let Some(id) = retry.asked.pop() {
            self.look_above(&mut retry, id);
        } else if let Some(id) = retry.open.front() {
            match self.calls[*id].dependents.next_from(retry.from) {
                Some(dependent) => {
                    retry.from = dependent.0 + 1;
                    if self.has_failed(dependent) && retry.failed.insert(dependent) {
                        self.calls[dependent].staged += 1;
                        retry.open.push_back(dependent);
                    }
                }
                None => {
                    retry.open.pop_front();
                    retry.from = 0;
                }
            }
        } else if let Some(id) = next {
            retry.reset_below = id.0 + 1;
            if self.has_failed(id) {
                retry.keys.push(self.calls[id].key);
                self.reset_failed(id);
            }
        } else if let Some(id) = retry.failed.pop_first() {
            self.calls[id].staged -= 1;
            if self.has_failed(id) {
                // Somebody else started it before all inputs had forgotten their failure.
                self.reset_failed(id);
            }
            self.activate(id);
            self.release_unwanted(id);
        } else {
            self.answer(retry.client, retry.request, Answer::Retried(retry.keys));
            return true;
        }
        self.retries.push_back(retry);
        true
    }

    /// One of the calls that are meant, if it has failed, and what it needs.
    fn look_above(&mut self, retry: &mut Retry, id: CallId) {
        if !self.has_failed(id) || !retry.failed.insert(id) {
            self.calls[id].staged -= 1;
            return self.release_unwanted(id);
        }
        retry.open.push_back(id);
        for input in self.calls[id].dependencies.clone() {
            self.calls[input].staged += 1;
            retry.asked.push(input);
        }
    }

    /// What is lost with an actor is not to be had again: it would not be what it was.
    fn has_failed(&self, id: CallId) -> bool {
        matches!(&self.calls[id].state, State::Erred(failure) if failure.kind != FailureKind::ActorLost)
            && !self.actors.has_lived(id)
    }

    /// A failed call is as if it had never run.
    pub(crate) fn reset_failed(&mut self, id: CallId) {
        // The call whose failure it was may have been released since; it is not to be told by its
        // state.
        let site = match &self.calls[id].state {
            State::Erred(failure) => failure.site.as_ref().map(|site| site.key),
            _ => None,
        };
        let root = site.and_then(|key| self.calls.find(&key)).unwrap_or(id);
        for id in [root, id] {
            if let Some(wishes) = &mut self.calls[id].wishes {
                wishes.retries_left = wishes.retries;
                wishes.deaths.clear();
                wishes.reschedules = 0;
            }
        }
        self.set_state(id, State::Released);
        if self.mutated(Mutation::AgainNotTold) {
            return;
        }
        let key = self.calls[id].key;
        for client in self.calls[id].clients.clone() {
            self.send_client(client, ToClient::Again(vec![key]));
        }
    }
}
