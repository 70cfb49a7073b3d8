//! What workers report: starts, ends, copies, and their own coming and going.

use std::sync::Arc;

use grid_proto::message::{Holder, Outcome, ToClient, ToWorker};
use grid_proto::{
    Attempt, Death, Failure, FailureKind, FailureSite, Key, ObjectMeta, Spent, Version, WorkerId,
};

use crate::call::{CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// Why a worker is no longer there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaving {
    /// It said so before: nothing that it ran is to blame.
    Planned,
    /// Its connection ended or it fell silent.
    Died,
}

impl Scheduler {
    /// The call that this worker has in hand as this attempt; otherwise the message is too late.
    pub(crate) fn current(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
    ) -> Option<CallId> {
        let found = self.calls.find(&key).filter(|id| {
            let call = &self.calls[*id];
            (call.attempt == attempt || self.mutated(Mutation::StaleAccepted))
                && call.processing().is_some_and(|processing| processing.worker == worker)
        });
        if found.is_none() {
            self.stale_messages += 1;
        }
        found
    }

    pub(crate) fn on_started(&mut self, worker: WorkerId, attempts: &[(Key, Attempt)]) {
        for (key, attempt) in attempts {
            let Some(id) = self.current(worker, *key, *attempt) else {
                continue;
            };
            if let State::Processing(processing) = &mut self.calls[id].state
                && !processing.executing
            {
                processing.executing = true;
                let now = self.now;
                self.workers.change(worker, |worker| {
                    worker.executing += 1;
                    worker.progressed(now);
                });
            }
        }
    }

    /// Passes what a call wrote on to whoever wants its result.
    pub(crate) fn on_output(&mut self, worker: WorkerId, key: Key, attempt: Attempt, text: &str) {
        let Some(id) = self.current(worker, key, attempt) else { return };
        for client in self.calls[id].clients.clone() {
            self.send_client(client, ToClient::Output { key, text: text.to_owned() });
        }
    }

    pub(crate) fn on_finished(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
        outcome: Outcome,
        spent: Spent,
    ) {
        let Some(id) = self.current(worker, key, attempt) else {
            if matches!(outcome, Outcome::Memory { .. }) {
                self.free_stray(worker, key);
            }
            return;
        };
        let task = self.calls[id].task;
        match outcome {
            Outcome::Memory { meta, inline } => {
                self.tasks.of_mut(task).count(None, &spent);
                self.complete(id, worker, meta, inline.as_ref());
            }
            Outcome::Reschedule => self.on_rescheduled(id, worker),
            Outcome::Failed(failure) => {
                self.tasks.of_mut(task).count(Some(&failure), &spent);
                self.on_failed(id, worker, failure);
            }
        }
    }

    fn on_failed(&mut self, id: CallId, worker: WorkerId, mut failure: Failure) {
        let name = self.workers.of(worker).map(|worker| worker.name.clone()).unwrap_or_default();
        self.count_strike(id, &name, &failure);
        if may_be_retried(&failure.kind)
            && !self.has_lost_its_actor(id)
            && !self.mutated(Mutation::RetryForgotten)
            && let Some(wishes) = &mut self.calls[id].wishes
            && wishes.retries_left > 0
        {
            wishes.retries_left -= 1;
            self.start_over(id);
            return;
        }
        failure.site = Some(self.site(id, name));
        self.fail(id, Arc::new(failure));
    }

    pub(crate) fn site(&self, id: CallId, worker: String) -> FailureSite {
        let call = &self.calls[id];
        let task = self.tasks.of(call.task).label.clone();
        FailureSite { key: call.key, task, worker, attempt: call.attempt }
    }

    /// A worker stored something that is not expected of it. Where it has the call in hand again it
    /// drops the old result by itself, and must not be told to drop the new one.
    fn free_stray(&mut self, worker: WorkerId, key: Key) {
        let expected = self.calls.find(&key).is_some_and(|id| match &self.calls[id].state {
            State::Memory { holders, .. } => holders.contains(&worker),
            State::Processing(processing) => processing.worker == worker,
            State::Arriving(arrival) => arrival.home == worker,
            State::Released | State::Waiting { .. } | State::Queued { .. } | State::Erred(_) => {
                false
            }
        });
        if !expected {
            self.send_free(worker, key);
        }
    }

    pub(crate) fn is_processing(&self, id: CallId) -> bool {
        self.calls.contains(id) && self.calls[id].processing().is_some()
    }

    /// A worker has copies. One that was asked for before its result was lost and computed anew may be of
    /// the earlier result: it is as good as none.
    pub(crate) fn on_holds(&mut self, worker: WorkerId, copies: &[(Key, Version)]) {
        // What was to be freed before is not what it says now.
        self.send_frees(worker);
        if let Some(worker) = self.workers.of_mut(worker) {
            worker.holds_heard += 1;
        }
        for (key, version) in copies {
            match self.calls.find(key) {
                Some(_) if self.mutated(Mutation::CopyForgotten) => {}
                Some(id) if self.is_in_memory(id, *version) => {
                    self.add_holder(id, worker);
                    self.copied(id, worker, true);
                    self.note_unread(id);
                }
                Some(id) if self.complete_arrival(id, worker) => {}
                Some(id) => {
                    self.copied(id, worker, false);
                    self.free_stray(worker, *key);
                }
                None => self.free_stray(worker, *key),
            }
        }
    }

    /// Whether this is the result that is in memory.
    fn is_in_memory(&self, id: CallId, version: Version) -> bool {
        let State::Memory { meta, .. } = &self.calls[id].state else { return false };
        meta.version() == version
    }

    /// A worker that comes back brings a result along. Says whether it is of use.
    pub(crate) fn adopt_replica(&mut self, worker: WorkerId, key: Key, meta: ObjectMeta) -> bool {
        let Some(id) = self.calls.find(&key).filter(|id| !self.ran_once(*id)) else {
            return false;
        };
        match &self.calls[id].state {
            State::Memory { meta: known, .. } => {
                let same = *known == meta;
                if same {
                    self.add_holder(id, worker);
                    self.note_unread(id);
                }
                same
            }
            State::Arriving(arrival) => arrival.meta == meta && self.complete_arrival(id, worker),
            State::Waiting { .. } | State::Queued { .. } => {
                self.complete(id, worker, meta, None);
                true
            }
            State::Processing(processing) => {
                let (busy, attempt) = (processing.worker, self.calls[id].attempt);
                self.fences.pass(&key, attempt);
                self.send_worker(busy, ToWorker::Cancel(vec![(key, attempt)]));
                self.complete(id, worker, meta, None);
                true
            }
            State::Released | State::Erred(_) => false,
        }
    }

    /// The worker died while it executed this call.
    pub(crate) fn on_death(&mut self, id: CallId, worker: &str, why: &str) {
        let attempt = self.calls[id].attempt;
        let allowed = self.config.allowed_failures;
        let allowed = allowed - usize::from(self.mutated(Mutation::DeathTooFew));
        let deaths = &mut self.calls[id].wishes_mut().deaths;
        deaths.push(Death { worker: worker.to_owned(), attempt, why: why.to_owned() });
        if deaths.len() <= allowed {
            self.start_over(id);
            return;
        }
        let deaths = deaths.clone();
        let name = |death: &Death| match death.why.as_str() {
            "" => death.worker.clone(),
            why => format!("{} ({why})", death.worker),
        };
        let names: Vec<_> = deaths.iter().map(name).collect();
        let message = format!(
            "{} workers died while they executed this call: {}",
            deaths.len(),
            names.join(", ")
        );
        let mut failure = Failure::new(FailureKind::KilledWorker { deaths }, message);
        failure.site = Some(self.site(id, worker.to_owned()));
        self.count_strike(id, worker, &failure);
        self.fail(id, Arc::new(failure));
    }

    /// A worker gave back what it had not begun.
    pub(crate) fn on_withdrawn(&mut self, worker: WorkerId, key: Key, attempt: Attempt) {
        if let Some(id) = self.current(worker, key, attempt)
            && !self.mutated(Mutation::WithdrawnDropped)
        {
            self.note_given_back(id, worker);
            self.start_over(id);
        }
    }

    pub(crate) fn addresses(&self, workers: &[WorkerId]) -> Vec<Holder> {
        workers
            .iter()
            .filter_map(|id| {
                let address = self.workers.of(*id)?.address.clone();
                Some(Holder { worker: *id, address })
            })
            .collect()
    }
}

/// Retries are for what may differ next time, or what the user asked to try again; a cancelled call
/// or one with unreadable arguments stays what it is.
fn may_be_retried(kind: &FailureKind) -> bool {
    match kind {
        FailureKind::User
        | FailureKind::Trap { .. }
        | FailureKind::OutOfMemory { .. }
        | FailureKind::Deadline { .. }
        | FailureKind::ResultTooLarge { .. }
        | FailureKind::LostData
        | FailureKind::KilledWorker { .. } => true,
        FailureKind::Cancelled
        | FailureKind::HostDenied { .. }
        | FailureKind::Rescheduled
        | FailureKind::ActorLost
        | FailureKind::Quarantined { .. }
        | FailureKind::BadArgument { .. }
        | FailureKind::BundleInvalid => false,
    }
}
