//! Who wants what: futures that come and go, cancel, clients that leave.

use grid_proto::{ClientId, Key, WorkerId};

use crate::call::{CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

impl Scheduler {
    /// A client holds a future on this call from now on. Says whether it did not before.
    pub(crate) fn add_interest(&mut self, client: ClientId, id: CallId) -> bool {
        let Some(known) = self.clients.get_mut(&client) else { return false };
        known.wants.insert(id, self.age);
        let clients = &mut self.calls[id].clients;
        let newly = !clients.contains(&client);
        if newly {
            clients.push(client);
        }
        newly
    }

    /// A client that holds a future on this call is told how it stands; a call that is not on its
    /// way starts.
    pub(crate) fn act_on_interest(&mut self, client: ClientId, id: CallId) {
        // It may have let go of it meanwhile.
        let holds = self.calls.contains(id) && self.calls[id].clients.contains(&client);
        if !holds {
            return;
        }
        match self.calls[id].state {
            State::Released => self.activate(id),
            _ if self.mutated(Mutation::LateClientNotTold) => {}
            State::Memory { .. } | State::Erred(_) => self.announce_to(client, id, None),
            State::Arriving(_)
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::Processing(_) => {}
        }
    }

    pub(crate) fn drop_interest(&mut self, client: ClientId, id: CallId) -> bool {
        if let Some(known) = self.clients.get_mut(&client) {
            known.wants.remove(&id);
        }
        if !self.calls.contains(id) {
            return false;
        }
        self.stop_bringing(client, id);
        let clients = &mut self.calls[id].clients;
        let before = clients.len();
        clients.retain(|other| *other != client);
        clients.len() < before
    }

    pub(crate) fn on_release(&mut self, client: ClientId, keys: &[Key]) {
        for key in keys {
            if let Some(id) = self.calls.find(key) {
                self.stage_released(client, id);
                self.drop_interest(client, id);
                self.release_unless_staged(id);
            }
        }
    }

    pub(crate) fn on_client_gone(&mut self, client: ClientId) {
        let Some(gone) = self.clients.remove(&client) else {
            return;
        };
        if let Some(partial) = gone.partial {
            self.abandon_submission(client, partial);
        }
        self.started.push_back(gone.let_go.into_iter());
        // In the turns to come: there may be a million.
        if !self.mutated(Mutation::GoneClientWants) {
            self.departed.push_back((client, gone.wants));
        }
        self.forget_client(client);
        self.forget_requests(client);
    }

    /// Drops one interest of a client that is gone. Says whether there was one.
    pub(crate) fn forget_departed(&mut self) -> bool {
        let Some((client, wants)) = self.departed.front_mut() else { return false };
        let (client, next) = (*client, wants.pop_first().map(|(id, _)| id));
        if wants.is_empty() {
            self.departed.pop_front();
        }
        // A forced cancel may have been there before.
        if let Some(id) = next
            && self.drop_interest(client, id)
        {
            self.release_unwanted(id);
        }
        true
    }

    /// A client could not read results where it was told they are. It is told once more, and who
    /// holds them is asked: a client alone is not believed, since what is gone is computed again.
    pub(crate) fn on_locate(&mut self, client: ClientId, keys: &[Key], failed: &[(Key, WorkerId)]) {
        self.doubt(client, failed);
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
