//! A worker's message that comes again, or late, changes a counter and nothing else.

use grid_proto::WorkerId;
use grid_proto::message::FromWorker;

use crate::world::World;

impl World {
    /// Tells a message that was told before, about attempts that are over.
    pub(crate) fn again(&mut self, id: WorkerId, message: FromWorker) -> Result<(), String> {
        let repeatable = matches!(message, FromWorker::Started(_));
        self.log(&format!("again, {id}: {message:?}"));
        let (before, stale) = (self.calls(), self.machine.stale_messages());
        self.tell_of_worker(id, message)?;
        let counted = self.machine.stale_messages() - stale;
        if self.calls() != before {
            return Err("replays: a message that came again changed a call".to_owned());
        }
        match counted {
            1 => Ok(()),
            0 if repeatable => Ok(()),
            _ => Err(format!("replays: a message that came again was counted {counted} times")),
        }
    }

    pub(crate) fn is_current(&mut self, message: &FromWorker) -> bool {
        let attempts = match message {
            FromWorker::Finished { key, attempt, .. }
            | FromWorker::Output { key, attempt, .. }
            | FromWorker::MissingInputs { key, attempt, .. } => vec![(*key, *attempt)],
            FromWorker::Started(attempts) => attempts.clone(),
            _ => Vec::new(),
        };
        let calls = self.calls();
        attempts.iter().any(|(key, attempt)| {
            calls.iter().any(|call| {
                call.key == *key && call.attempt == *attempt && call.state == "processing"
            })
        })
    }
}
