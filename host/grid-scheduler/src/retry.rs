//! Failed calls that are asked to run again: from the calls whose failure it is, down to all that
//! failed because of them.

use std::collections::BTreeSet;

use grid_proto::limits::RETRY_KEYS_MAX;
use grid_proto::message::{Answer, Refusal, ToClient};
use grid_proto::{ClientId, FailureKind, Key, RequestId};

use crate::call::{CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

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
        let again = self.failed_with(asked);
        let retried = again.iter().map(|id| self.calls[*id].key).collect();
        self.start_again(again);
        self.answer(client, request, Answer::Retried(retried));
    }

    /// The failed ones of these calls, the failed calls that they need, and the failed calls that
    /// depend on those.
    fn failed_with(&self, asked: Vec<CallId>) -> BTreeSet<CallId> {
        let mut reached = BTreeSet::new();
        let mut stack = asked;
        while let Some(id) = stack.pop() {
            if self.has_failed(id) && reached.insert(id) {
                stack.extend(self.calls[id].dependencies.iter().copied());
            }
        }
        stack.extend(&reached);
        while let Some(id) = stack.pop() {
            for dependent in self.calls[id].dependents.iter() {
                if self.has_failed(dependent) && reached.insert(dependent) {
                    stack.push(dependent);
                }
            }
        }
        reached
    }

    /// What is lost with an actor is not to be had again: it would not be what it was.
    fn has_failed(&self, id: CallId) -> bool {
        matches!(&self.calls[id].state, State::Erred(failure) if failure.kind != FailureKind::ActorLost)
            && !self.actors.has_lived(id)
    }

    /// Failed calls start over, as if they had never run.
    pub(crate) fn start_again(&mut self, failed: BTreeSet<CallId>) {
        for id in &failed {
            // The call whose failure it was may have been released since; it is not to be told by
            // its state.
            let site = match &self.calls[*id].state {
                State::Erred(failure) => failure.site.as_ref().map(|site| site.key),
                _ => None,
            };
            let root = site.and_then(|key| self.calls.find(&key)).unwrap_or(*id);
            for id in [root, *id] {
                if let Some(wishes) = &mut self.calls[id].wishes {
                    wishes.retries_left = wishes.retries;
                    wishes.deaths.clear();
                }
            }
            self.set_state(*id, State::Released);
            let key = self.calls[*id].key;
            if self.mutated(Mutation::AgainNotTold) {
                continue;
            }
            for client in self.calls[*id].clients.clone() {
                self.send_client(client, ToClient::Again(vec![key]));
            }
        }
        for id in failed {
            self.activate(id);
            self.release_unwanted(id);
        }
    }
}
