//! Answers to questions about the grid.

use std::collections::BTreeMap;

use grid_proto::message::{Answer, Query};
use grid_proto::report::{CallInfo, GridStatus, WorkerInfo};
use grid_proto::{ClientId, RequestId, WorkerId};

use crate::call::{Call, CallId, State};
use crate::machine::Scheduler;

/// More calls than this are never listed in one answer: it has to fit a frame.
const CALLS_LISTED_MAX: usize = 10_000;

impl Scheduler {
    pub(crate) fn on_query(&mut self, client: ClientId, request: RequestId, query: Query) {
        let answer = match query {
            Query::Status => Answer::Status(self.status()),
            Query::Workers => Answer::Workers(self.worker_infos()),
            Query::Counts => Answer::Counts(self.tasks.iter().map(|task| task.counts()).collect()),
            Query::Calls { prefix, state, count_max } => {
                let count_max = (count_max as usize).min(CALLS_LISTED_MAX);
                Answer::Calls(self.call_infos(&prefix, state.as_deref(), count_max))
            }
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
        let mut calls = BTreeMap::<String, u64>::new();
        for (_, call) in self.calls.iter() {
            *calls.entry(self.label(call).to_owned()).or_default() += 1;
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        GridStatus {
            clients: count(self.clients.len() - self.sessions.len()),
            workers: count(self.workers.len()),
            slots: self.workers.iter().map(|(_, worker)| worker.slots).sum(),
            calls,
            stale_messages: self.stale_messages,
            ..GridStatus::default()
        }
    }

    fn worker_infos(&self) -> Vec<WorkerInfo> {
        let info = |(id, worker): (WorkerId, &crate::worker::Worker)| WorkerInfo {
            id,
            name: worker.name.clone(),
            address: worker.address.clone(),
            pid: worker.pid,
            slots: worker.slots,
            in_hand: u32::try_from(worker.in_hand.len()).unwrap_or(u32::MAX),
            executing: worker.executing,
            objects: worker.holds.len() as u64,
            object_bytes: worker.held_bytes,
            resident_bytes: worker.resident_bytes,
            descriptors: worker.descriptors,
        };
        self.workers.iter().map(info).collect()
    }

    fn call_infos(&self, prefix: &str, state: Option<&str>, count_max: usize) -> Vec<CallInfo> {
        self.calls
            .iter()
            .filter(|(_, call)| prefix.is_empty() || call.key.to_string().starts_with(prefix))
            .filter(|(_, call)| state.is_none_or(|state| state == self.label(call)))
            .take(count_max)
            .map(|(id, call)| self.call_info(id, call))
            .collect()
    }

    fn call_info(&self, id: CallId, call: &Call) -> CallInfo {
        let name = |id: &WorkerId| self.workers.of(*id).map(|worker| worker.name.clone());
        let (workers, size_bytes, failure) = match &call.state {
            State::Processing { worker, .. } => (name(worker).into_iter().collect(), None, None),
            State::Memory { meta, holders } => {
                (holders.iter().filter_map(name).collect(), Some(meta.size), None)
            }
            State::Erred(failure) => (Vec::new(), None, Some(failure.as_ref().clone())),
            State::Released | State::Waiting { .. } | State::Queued => (Vec::new(), None, None),
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

    fn label(&self, call: &Call) -> &'static str {
        match call.state {
            State::Queued if self.workers.is_empty() => "no-worker",
            _ => call.state.label(),
        }
    }

    /// Why a call is where it is, from the state alone.
    fn explain(&self, id: CallId) -> String {
        let call = &self.calls[id];
        match &call.state {
            State::Released => "kept because others may need it computed again".to_owned(),
            State::Waiting { missing } => {
                let input = call.dependencies.iter().find(|id| !self.calls[**id].in_memory());
                let input = input.map_or_else(String::new, |id| {
                    let input = &self.calls[*id];
                    let task = &self.tasks.of(input.task).label;
                    format!(
                        ", for instance `{}` ({task}, {})",
                        input.key.short(),
                        self.label(input)
                    )
                });
                format!("waits for {missing} of {} inputs{input}", call.dependencies.len())
            }
            State::Queued if self.workers.is_empty() => "no worker is connected".to_owned(),
            State::Queued => {
                let ahead = self.unbound.range(..(call.priority, id)).count();
                format!("{ahead} calls are before it; it goes to the first worker with room")
            }
            State::Processing { worker, executing, .. } => {
                let name = self.workers.of(*worker).map_or("?", |worker| worker.name.as_str());
                let waits =
                    self.workers.of(*worker).is_some_and(|worker| worker.waiting.contains(&id));
                match executing {
                    _ if waits => format!("waits on `{name}` for calls that it submitted"),
                    true => format!("executing on `{name}`"),
                    false => format!("handed to `{name}`, not known to have begun"),
                }
            }
            State::Memory { holders, .. } => {
                format!("its result is on {} of {} workers", holders.len(), self.workers.len())
            }
            State::Erred(failure) => match &failure.site {
                Some(site) if site.key != call.key => {
                    format!("its input `{}` ({}) failed: {failure}", site.key.short(), site.task)
                }
                _ => failure.to_string(),
            },
        }
    }
}
