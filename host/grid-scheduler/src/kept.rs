//! Calls that are wanted whatever clients hold: by a dataset, a variable or a queue that names them,
//! or because they were detached. Each such reason counts once in `Call::kept`.

use std::collections::BTreeSet;
use std::sync::Arc;

use grid_proto::message::ToWorker;
use grid_proto::{Failure, FailureKind};

use crate::call::{CallId, Processing, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

impl Scheduler {
    /// One more reason to keep a call; it is computed if it is not.
    pub(crate) fn keep(&mut self, id: CallId) {
        self.calls[id].kept += 1;
        if matches!(self.calls[id].state, State::Released) {
            self.activate(id);
        }
    }

    /// One reason less.
    pub(crate) fn keep_no_more(&mut self, id: CallId) {
        self.calls[id].kept -= 1;
        self.release_unwanted(id);
    }

    /// The call runs to its end, whoever leaves.
    pub(crate) fn detach(&mut self, id: CallId) {
        let call = &mut self.calls[id];
        let ended = matches!(call.state, State::Memory { .. } | State::Erred(_));
        if !ended && !call.detached {
            call.detached = true;
            self.keep(id);
        }
    }

    /// A call has ended: that it was detached is no reason to keep it any more.
    pub(crate) fn end_detachment(&mut self, id: CallId) {
        let kept = self.mutated(Mutation::DetachmentKept);
        let call = &mut self.calls[id];
        if std::mem::take(&mut call.detached) && !kept {
            call.kept -= 1;
        }
    }

    /// A forced cancel: detached calls are so no more, and those that are kept under a name fail
    /// as cancelled. Everything that depends on one of `affected` is among them, and no client wants
    /// them any more.
    pub(crate) fn cancel_kept(&mut self, affected: &BTreeSet<CallId>) {
        let failure = Arc::new(Failure::new(FailureKind::Cancelled, "the call was cancelled"));
        for id in affected {
            self.end_detachment(*id);
        }
        for id in affected {
            let kept = self.calls.contains(*id) && self.calls[*id].kept > 0;
            if kept && self.calls[*id].is_active() {
                self.stop(*id);
                self.fail(*id, Arc::clone(&failure));
            }
        }
        for id in affected {
            if self.calls.contains(*id) {
                self.release_unwanted(*id);
            }
        }
        self.release_all();
        for id in affected {
            // Nobody reads it now: what depends on it has failed or was released.
            if self.calls.contains(*id) && self.calls[*id].in_memory() {
                self.free(*id, self.calls[*id].key);
                self.set_state(*id, State::Erred(Arc::clone(&failure)));
            }
        }
    }

    /// Tells the worker that has the call in hand to stop it.
    fn stop(&mut self, id: CallId) {
        if let Some(Processing { worker, .. }) = self.calls[id].processing() {
            let (key, attempt) = (self.calls[id].key, self.calls[id].attempt);
            self.fences.pass(&key, attempt);
            self.send_worker(worker, ToWorker::Cancel(vec![(key, attempt)]));
        }
    }

    /// A call that is known only because it was cancelled while something names it is submitted
    /// anew: then it runs.
    pub(crate) fn revive_cancelled(&mut self, id: CallId) {
        if self.is_cancelled(id) {
            self.start_again(BTreeSet::from([id]));
        }
    }

    pub(crate) fn is_cancelled(&self, id: CallId) -> bool {
        matches!(&self.calls[id].state, State::Erred(failure) if failure.kind == FailureKind::Cancelled)
            && !self.actors.has_lived(id)
    }
}
