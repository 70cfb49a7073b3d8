//! Who wants what: futures that come and go, cancel, clients that leave.

use std::collections::BTreeSet;

use grid_proto::{ClientId, Key, WorkerId};

use crate::call::{CallId, State};
use crate::machine::Scheduler;

impl Scheduler {
    /// A client holds a future on this call from now on.
    pub(crate) fn add_interest(&mut self, client: ClientId, id: CallId) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.wants.insert(id);
        }
        let call = &mut self.calls[id];
        if !call.clients.contains(&client) {
            call.clients.push(client);
        }
        match call.state {
            State::Released => self.activate(id),
            State::Memory { .. } | State::Erred(_) => self.announce_to(client, id, None),
            State::Waiting { .. } | State::Queued | State::Processing { .. } => {}
        }
    }

    fn drop_interest(&mut self, client: ClientId, id: CallId) -> bool {
        if let Some(known) = self.clients.get_mut(&client) {
            known.wants.remove(&id);
        }
        let clients = &mut self.calls[id].clients;
        let before = clients.len();
        clients.retain(|other| *other != client);
        clients.len() < before
    }

    pub(crate) fn on_release(&mut self, client: ClientId, keys: &[Key]) {
        for key in keys {
            if let Some(id) = self.calls.find(key) {
                self.drop_interest(client, id);
                self.release_unwanted(id);
            }
        }
    }

    pub(crate) fn on_client_gone(&mut self, client: ClientId) {
        let Some(gone) = self.clients.remove(&client) else {
            return;
        };
        for id in &gone.wants {
            self.calls[*id].clients.retain(|other| *other != client);
        }
        for id in gone.wants {
            self.release_unwanted(id);
        }
        self.forget_client(client);
    }

    /// Drops interest in calls and in all that depends on them; what nobody wants then stops. With
    /// `force`, what is kept under a name fails as cancelled, and keeps its name.
    pub(crate) fn on_cancel(&mut self, client: ClientId, keys: &[Key], force: bool) {
        let roots: Vec<_> = keys.iter().filter_map(|key| self.calls.find(key)).collect();
        let affected = self.with_dependents(roots);
        for id in &affected {
            let interested = match force {
                true => self.calls[*id].clients.to_vec(),
                false => vec![client],
            };
            for other in interested {
                if self.drop_interest(other, *id) && !self.has_ended(*id) {
                    self.announce_cancelled(other, self.calls[*id].key);
                }
            }
        }
        if force {
            self.cancel_kept(&affected);
        }
        for id in affected {
            self.release_unwanted(id);
        }
    }

    fn has_ended(&self, id: CallId) -> bool {
        matches!(self.calls[id].state, State::Memory { .. } | State::Erred(_))
    }

    fn with_dependents(&self, roots: Vec<CallId>) -> BTreeSet<CallId> {
        let mut reached = BTreeSet::new();
        let mut stack = roots;
        while let Some(id) = stack.pop() {
            if reached.insert(id) {
                stack.extend(self.calls[id].dependents.iter().copied());
            }
        }
        reached
    }

    /// A client could not read results where it was told they are.
    pub(crate) fn on_locate(
        &mut self,
        client: ClientId,
        keys: &[Key],
        _failed: &[(Key, WorkerId)],
    ) {
        for key in keys {
            let wanted =
                self.calls.find(key).filter(|id| self.calls[*id].clients.contains(&client));
            match wanted {
                Some(id) => self.announce_to(client, id, None),
                // Somebody cancelled it for all after the news was sent.
                None => self.announce_cancelled(client, *key),
            }
        }
    }
}
