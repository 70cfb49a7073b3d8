//! Clients' connections, and what they read from workers.

use grid_proto::Key;
use grid_proto::message::{FromClient, ToClient};

use crate::agenda::{ClientEvent, Event, LinkId};
use crate::client::Standing;
use crate::network::Peer;
use crate::peers::place_of;
use crate::world::World;

impl World {
    pub(crate) fn on_client_event(&mut self, place: usize, event: ClientEvent) {
        match event {
            ClientEvent::Connect => {
                let network = &mut self.streams.network;
                let slow = network.chance(self.faults.slow_link_percent);
                let link = self.network.open(Peer::Client(place), slow, network);
                self.clients[place].link = Some(link);
                let at = self.network.up(link, self.agenda.now, network);
                self.agenda.at(at, Event::ClientOpened(link));
            }
            ClientEvent::Turn => {
                if self.clients[place].large.is_some() {
                    return self.large_turn(place);
                }
                if self.clients[place].link.is_none() || self.faults.quiet || !self.deployed {
                    return;
                }
                let poison = self.faults.poison_percent;
                let clients = &mut self.streams.clients;
                let batch = self.clients[place].turn(&mut self.oracle, poison, clients);
                for message in batch {
                    self.send_from_client(place, message);
                }
            }
            ClientEvent::Read(key) => self.read(place, key),
            ClientEvent::Bring { link, values, failed } => {
                self.bring_again(place, link, values, failed);
            }
        }
    }

    pub(crate) fn send_from_client(&mut self, place: usize, message: FromClient) {
        if let Some(link) = self.clients[place].link {
            let at = self.network.up(link, self.agenda.now, &mut self.streams.network);
            self.agenda.at(at, Event::FromClient(link, vec![message]));
        }
    }

    pub(crate) fn on_to_client(
        &mut self,
        link: LinkId,
        batch: Vec<ToClient>,
    ) -> Result<(), String> {
        let state = self.network.link(link);
        let Peer::Client(place) = state.peer else { return Ok(()) };
        if state.cut || state.lost_by_peer || self.clients[place].link != Some(link) {
            return Ok(());
        }
        for message in batch {
            let read = self.clients[place].on_message(message, &mut self.oracle);
            if let Some(key) = read.map_err(|broken| format!("client {place}: {broken}"))? {
                let delay = self.streams.network.range(20, 5_000);
                self.agenda.after(delay, Event::Client(place, ClientEvent::Read(key)));
            }
        }
        self.go_on_bringing(place, link)?;
        let dropped = std::mem::take(&mut self.clients[place].dropped);
        if !dropped.is_empty() {
            self.send_from_client(place, FromClient::Release(dropped));
        }
        Ok(())
    }

    /// A client reads a result from a holder, or asks where it is by now.
    pub(crate) fn read(&mut self, place: usize, key: Key) {
        let Some(Standing::Elsewhere(meta, holders)) = self.clients[place].futures.get(&key) else {
            return;
        };
        let (meta, holders) = (*meta, holders.clone());
        let faults = &mut self.streams.faults;
        let found = holders.iter().any(|holder| {
            let lost = self.faults.strikes(self.faults.fetch_fail_percent, faults);
            let at = place_of(&self.workers, &holder.address).map(|place| &self.workers[place]);
            at.is_some_and(|at| !lost && at.alive && at.store.get(&key) == Some(&meta))
        });
        let standing = if found { Standing::Here } else { Standing::Pending };
        self.clients[place].futures.insert(key, standing);
        if !found {
            let failed = holders.iter().map(|holder| (key, holder.worker)).collect();
            let bringing = &mut self.clients[place].bringing;
            bringing.asked.extend(bringing.unknown.get(&key).copied());
            self.send_from_client(place, FromClient::Locate { keys: vec![key], failed });
        }
    }
}
