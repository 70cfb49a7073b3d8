//! What is written down of a machine that has to stop: enough to find the mistake, and little enough
//! to send.

use std::collections::BTreeMap;

use grid_proto::report::{CallInfo, GridStatus, StoryStep, WorkerInfo};
use serde::Serialize;

use crate::call::CallId;
use crate::machine::Scheduler;

/// Calls next to the one that shows a contradiction, of each kind.
const NEIGHBOURS_MAX: usize = 16;

/// The machine's state around a contradiction.
#[derive(Debug, Serialize)]
pub struct Dump {
    /// The contradiction, if the machine has found one itself.
    pub fault: Option<String>,
    /// Microseconds since the host's start.
    pub now_us: u64,
    /// The grid at a glance, with the calls by state.
    pub status: GridStatus,
    /// How much is in the machine's queues.
    pub queues: BTreeMap<&'static str, usize>,
    /// The workers.
    pub workers: Vec<WorkerInfo>,
    /// The call of the contradiction, the one that an event named last, their inputs and their readers.
    pub calls: Vec<CallInfo>,
    /// What is remembered of the story of these calls.
    pub story: Vec<StoryStep>,
}

impl Scheduler {
    /// The last events in words, oldest first; the last of them is the one that was being handled.
    #[must_use]
    pub fn recent_events(&self) -> Vec<String> {
        self.recent.words()
    }

    /// Writes down the state. In a state that contradicts itself this may panic.
    #[must_use]
    pub fn dump(&self) -> Dump {
        let ids = self.calls_involved();
        let queues = BTreeMap::from([
            ("unbound", self.unbound.len()),
            ("homeless", self.homeless.len()),
            ("elsewhere", self.elsewhere.len()),
            ("to_start", self.to_start.len()),
            ("to_release", self.to_release.len()),
            ("starting", self.starting.len()),
            ("started", self.started.len()),
            ("news", self.news.len()),
            ("lost", self.lost.len()),
            ("cancels", self.cancels.len()),
            ("retries", self.retries.len()),
            ("withdrawing", self.withdrawing),
        ]);
        Dump {
            fault: self.fault().map(ToOwned::to_owned),
            now_us: self.now.0,
            status: self.status(),
            queues,
            workers: self.worker_infos(),
            story: ids.iter().flat_map(|id| self.story_of_call(*id)).collect(),
            calls: ids.into_iter().map(|id| self.call_info(id, &self.calls[id])).collect(),
        }
    }

    fn calls_involved(&self) -> Vec<CallId> {
        let shown = self.faults.found.as_ref().and_then(|fault| fault.key);
        let named = shown.into_iter().chain(self.recent.key());
        let mut ids = Vec::new();
        for id in named.filter_map(|key| self.calls.find(&key)) {
            let call = &self.calls[id];
            ids.push(id);
            ids.extend(call.dependencies.iter().copied().take(NEIGHBOURS_MAX));
            ids.extend(call.dependents.iter().take(NEIGHBOURS_MAX));
        }
        ids.retain(|id| self.calls.contains(*id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn story_of_call(&self, id: CallId) -> Vec<StoryStep> {
        self.story_steps(&self.calls[id].key.to_string())
    }
}
