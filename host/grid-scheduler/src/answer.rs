//! Answers to questions about the grid.

use std::collections::BTreeMap;

use grid_proto::bounds::check_resources;
use grid_proto::message::{Answer, Query, Refusal};
use grid_proto::report::{CallInfo, GridStatus, StoryStep, TaskCounts, WorkerInfo};
use grid_proto::{Amount, ClientId, Key, RequestId, WorkerId};

use crate::call::{Call, CallId, State};
use crate::counts::Counts;
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// More calls than this are never listed in one answer: it has to fit a frame.
const CALLS_LISTED_MAX: usize = 10_000;

impl Scheduler {
    pub(crate) fn on_query(&mut self, client: ClientId, request: RequestId, query: Query) {
        let answer = match query {
            Query::Status => Answer::Status(self.status()),
            Query::Workers => Answer::Workers(self.worker_infos()),
            Query::Counts => Answer::Counts(self.task_counts()),
            Query::Calls { prefix, state, count_max } => {
                let count_max = (count_max as usize).min(CALLS_LISTED_MAX);
                Answer::Calls(self.call_infos(&prefix, state.as_deref(), count_max))
            }
            Query::Story { prefix } => self.story_of(&prefix),
            Query::WhoHas(keys) => self.who_has(&keys),
            Query::HasWhat { worker, count_max } => self.has_what(worker.as_deref(), count_max),
            Query::SetResources { worker, resources } => self.on_set_resources(&worker, resources),
            Query::Quarantine => Answer::Quarantine(self.quarantined()),
            Query::ClearQuarantine { task } => match self.clear_quarantine(task.as_deref()) {
                0 if task.is_some() => {
                    let task = task.unwrap_or_default();
                    let message = format!("task `{task}` is not in quarantine");
                    Answer::Refused(Refusal::Unavailable { message })
                }
                cleared => Answer::Cleared(cleared),
            },
            Query::Bundles => Answer::Bundles(self.bundles.infos()),
            Query::Bundle(name) => match self.bundles.find(&name) {
                Ok(info) => Answer::Bundle(info),
                Err(refusal) => Answer::Refused(refusal),
            },
            Query::Deploy { hash, replace } => {
                return self.on_deploy(client, request, hash, replace);
            }
        };
        self.answer(client, request, answer);
    }

    /// The machine's part of the status; the host adds what is its own.
    #[must_use]
    pub fn status(&self) -> GridStatus {
        let calls: BTreeMap<String, u64> =
            Counts::labelled(self.counts.total(), !self.workers.is_empty())
                .map(|(label, count)| (label.to_owned(), count))
                .collect();
        GridStatus {
            clients: count(self.clients.len() - self.sessions.len()),
            workers: count(self.workers.len()),
            slots: self.workers.iter().fold(0, |sum: u32, (_, w)| sum.saturating_add(w.slots)),
            calls,
            stale_messages: self.stale_messages,
            ..GridStatus::default()
        }
    }

    /// Messages that were dropped because their attempt was over.
    #[must_use]
    pub fn stale_messages(&self) -> u64 {
        self.stale_messages
    }

    fn task_counts(&self) -> Vec<TaskCounts> {
        let any_worker = !self.workers.is_empty();
        let counts = self.tasks.iter().map(|task| {
            let states = Counts::labelled(self.counts.of(task.definition.id), any_worker);
            let states = states.map(|(label, count)| (label.to_owned(), count)).collect();
            TaskCounts { states, ..task.counts() }
        });
        counts.collect()
    }

    fn story_of(&self, prefix: &str) -> Answer {
        const DIGITS_MIN: usize = 4;
        if prefix.len() < DIGITS_MIN {
            let key = prefix.to_owned();
            return Answer::Refused(Refusal::UnknownKey { key });
        }
        Answer::Story(self.story_steps(prefix))
    }

    pub(crate) fn story_steps(&self, prefix: &str) -> Vec<StoryStep> {
        let name = |id| {
            let name = self.workers.of(id).map(|worker| worker.name.clone());
            name.unwrap_or_else(|| format!("worker {id}, gone"))
        };
        self.story.of(prefix, self.now, name)
    }

    fn on_set_resources(&mut self, name: &str, resources: Vec<(String, Amount)>) -> Answer {
        if let Err(refusal) = check_resources(&resources) {
            return Answer::Refused(refusal);
        }
        let found = self.workers.iter().find(|(_, worker)| worker.name == name);
        let Some(id) = found.map(|(id, _)| id) else {
            let message = format!("no worker `{name}` is connected; `grid workers` lists them");
            return Answer::Refused(Refusal::Unavailable { message });
        };
        if !self.mutated(Mutation::ResourcesNotSet) {
            self.workers.set_resources(id, resources);
        }
        if !self.mutated(Mutation::TunedNotRehoused) {
            self.rehouse_all_of(id);
        }
        if !self.mutated(Mutation::TunedHomelessForgotten) {
            self.look_for_homeless(id);
        }
        Answer::Workers(self.worker_infos())
    }

    pub(crate) fn worker_infos(&self) -> Vec<WorkerInfo> {
        let info = |(id, worker): (WorkerId, &crate::worker::Worker)| WorkerInfo {
            id,
            name: worker.name.clone(),
            address: worker.address.clone(),
            host: worker.host.clone(),
            labels: worker.labels.clone(),
            resources: worker.resource_uses(),
            memory_bytes: worker.memory_bytes,
            held_back: count(worker.backlog.len()),
            pid: worker.pid,
            slots: worker.slots,
            in_hand: count(worker.in_hand.len()),
            executing: worker.executing,
            objects: worker.holds.len() as u64,
            object_bytes: worker.held_bytes,
            resident_bytes: worker.resident_bytes,
            memory: worker.memory,
            paused: worker.paused,
            descriptors: worker.descriptors,
        };
        self.workers.iter().map(info).collect()
    }

    fn call_infos(&self, prefix: &str, state: Option<&str>, count_max: usize) -> Vec<CallInfo> {
        self.calls
            .iter()
            .filter(|(_, call)| begins_with(&call.key, prefix))
            .filter(|(_, call)| state.is_none_or(|state| state == self.label(call)))
            .take(count_max)
            .map(|(id, call)| self.call_info(id, call))
            .collect()
    }

    pub(crate) fn call_info(&self, id: CallId, call: &Call) -> CallInfo {
        let name = |id: &WorkerId| self.workers.of(*id).map(|worker| worker.name.clone());
        let (workers, size_bytes, failure) = match &call.state {
            State::Processing(processing) => {
                (name(&processing.worker).into_iter().collect(), None, None)
            }
            State::Memory { meta, holders } => {
                (holders.iter().filter_map(name).collect(), Some(meta.size), None)
            }
            State::Erred(failure) => (Vec::new(), None, Some(failure.as_ref().clone())),
            State::Arriving(arrival) => {
                (name(&arrival.home).into_iter().collect(), Some(arrival.meta.size), None)
            }
            State::Released | State::Waiting { .. } | State::Queued { .. } => {
                (Vec::new(), None, None)
            }
        };
        CallInfo {
            key: call.key,
            task: self.tasks.of(call.task).label.clone(),
            state: self.label(call).to_owned(),
            attempt: call.attempt,
            workers,
            size_bytes,
            failure,
            explanation: self.explain(id),
        }
    }

    pub(crate) fn label(&self, call: &Call) -> &'static str {
        match call.state {
            State::Queued { .. } if self.workers.is_empty() => "no-worker",
            _ => call.state.label(),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Whether a key begins with these hexadecimal digits. A question may have to look at a million.
pub(crate) fn begins_with(key: &Key, digits: &str) -> bool {
    let nibbles = key.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let mut own = nibbles.map(|nibble| char::from_digit(nibble.into(), 16));
    digits.chars().all(|digit| own.next() == Some(Some(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_begins_with_its_digits_and_no_others() {
        let key = Key([0xa3; 32]);
        let text = key.to_string();
        let same = |digits: &str| begins_with(&key, digits) == text.starts_with(digits);
        assert!((0..=64).all(|length| begins_with(&key, &text[..length])));
        assert!(["b", "a4", "A3", "g", "\u{e9}", &format!("{text}a")].into_iter().all(same));
        assert!(!begins_with(&key, &format!("{text}a")) && !begins_with(&key, "a4"));
    }
}
