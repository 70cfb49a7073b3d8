//! What comes from the scheduler.

use std::sync::{Arc, Weak};

use grid_net::Inbox;
use grid_proto::Key;
use grid_proto::message::ToClient;

use crate::error::ClientError;
use crate::link::{Link, Submitted};
use crate::slot::Standing;

impl Link {
    fn on_message(&self, message: ToClient) {
        match message {
            ToClient::Ready { key, inline: Some(value), .. } => {
                self.set(key, Standing::Here(value));
            }
            ToClient::Ready { key, meta, holders, inline: None } => {
                self.set(key, Standing::Elsewhere(meta, holders));
            }
            ToClient::Output { key, text } => {
                if let Some(slot) = self.slot(&key) {
                    slot.set_output(text);
                }
            }
            ToClient::Failed { key, failure } => {
                self.set(key, Standing::Failed(Box::new(failure)));
                self.tell_failure(key);
            }
            ToClient::Accepted(request) => {
                let submitted = self.end_submission(request);
                // Most submitters do not listen: their futures tell.
                let _ = submitted.map(|submitted| submitted.told.send(Ok(())));
            }
            ToClient::Refused { request, error } => {
                let submitted = self.end_submission(request);
                let Some(Submitted { keys, told }) = submitted else { return };
                for key in keys {
                    self.set_if_pending(key, Standing::Lost(ClientError::Refused(error.clone())));
                    self.tell_failure(key);
                }
                let _ = told.send(Err(error.into()));
            }
            ToClient::Again(keys) => {
                for slot in keys.iter().filter_map(|key| self.slot(key)) {
                    slot.set_again();
                }
            }
            ToClient::Topic { name, message } => self.state().telling.hear(&name, message),
            ToClient::Answer { request, answer } => {
                let question = self.state().questions.remove(&request);
                if let Some(lease) = question.and_then(|question| question.answer(answer)) {
                    self.tell_later(|telling| telling.release(lease));
                }
            }
        }
    }

    fn set(&self, key: Key, standing: Standing) {
        if let Some(slot) = self.slot(&key) {
            slot.set(standing);
        }
    }

    fn set_if_pending(&self, key: Key, standing: Standing) {
        if let Some(slot) = self.slot(&key).filter(|slot| slot.is_pending()) {
            slot.set(standing);
        }
    }

    /// The connection is gone: nothing more will be told.
    fn on_lost(&self, error: &ClientError) {
        let slots: Vec<_> = {
            let mut state = self.state();
            state.lost = Some(error.clone());
            state.questions.clear();
            state.submitted.clear();
            state.telling.end();
            state.futures.values().map(|interest| Arc::clone(&interest.slot)).collect()
        };
        for slot in slots.into_iter().filter(|slot| slot.is_pending()) {
            slot.set(Standing::Lost(error.clone()));
        }
    }
}

/// Hears until the connection ends.
pub(crate) async fn listen(link: Weak<Link>, mut inbox: Inbox<ToClient>) {
    loop {
        let received = inbox.recv().await;
        let Some(link) = link.upgrade() else { return };
        match received {
            Ok(Some(batch)) => {
                for message in batch {
                    link.on_message(message);
                }
            }
            Ok(None) | Err(_) => {
                let reason = link.scheduler.closed().await;
                let error = ClientError::Net(format!(
                    "the connection to the scheduler at `{}` is lost: {reason}",
                    link.address
                ));
                link.on_lost(&error);
                return;
            }
        }
    }
}
