//! Calls that are wanted whatever clients hold: by a dataset, a variable or a queue that names them,
//! or because they were detached. Each such reason counts once in `Call::kept`.

use grid_proto::FailureKind;
use grid_proto::message::ToWorker;

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

    /// Tells the worker that has the call in hand to stop it.
    pub(crate) fn stop(&mut self, id: CallId) {
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
            self.reset_failed(id);
            self.activate(id);
            self.release_unwanted(id);
        }
    }

    pub(crate) fn is_cancelled(&self, id: CallId) -> bool {
        matches!(&self.calls[id].state, State::Erred(failure) if failure.kind == FailureKind::Cancelled)
            && !self.actors.has_lived(id)
    }
}
