//! Items on their way to a client: kept until it says that it has them.

use std::collections::BTreeMap;

use grid_proto::coordination::Coordinated;
use grid_proto::message::ToClient;
use grid_proto::{ClientId, Failure, FailureKind, RequestId};

use super::Asker;
use super::items::Held;
use super::waiters::{Place, all_of};
use crate::call::CallId;
use crate::machine::Scheduler;

#[derive(Debug)]
pub(super) struct Handover {
    pub(super) items: Vec<Held>,
    /// The queue that they go back to if the client does not take them.
    pub(super) queue: Option<String>,
}

pub(super) fn of_client(
    handovers: &BTreeMap<Asker, Handover>,
    client: ClientId,
) -> impl Iterator<Item = Asker> {
    handovers.range(all_of(client)).map(|(asker, _)| *asker)
}

impl Scheduler {
    pub(super) fn hand_over(&mut self, asker: Asker, items: Vec<Held>, queue: Option<String>) {
        let shown = items.iter().map(|held| self.item(held)).collect();
        self.coordination.handovers.insert(asker, Handover { items, queue });
        self.give(asker, Coordinated::Items(shown));
    }

    /// The client has them: it holds futures on the calls among them from now on. A call that speaks
    /// as a client is told at once that what waits for it gives it no result.
    pub(crate) fn on_took(&mut self, client: ClientId, request: RequestId) {
        let Some(handover) = self.coordination.handovers.remove(&Asker { client, request }) else {
            return;
        };
        for held in handover.items {
            if let Some(id) = held.call() {
                match self.find_circle(client, std::iter::once(id)) {
                    Some(_) => self.refuse_circle(client, id),
                    None => {
                        self.add_interest(client, id);
                        self.act_on_interest(client, id);
                    }
                }
            }
            self.drop_held(held);
        }
    }

    fn refuse_circle(&mut self, client: ClientId, id: CallId) {
        let what = "the result of a call that waits for this one".to_owned();
        let call = &self.calls[id];
        let message = format!(
            "`{}` ({}) waits for the call that asks for its result",
            self.tasks.of(call.task).label,
            call.key.short()
        );
        let failure = Failure::new(FailureKind::HostDenied { what }, message);
        let key = call.key;
        self.send_client(client, ToClient::Failed { key, failure });
    }

    /// The client does not want them, or is gone: what came from a queue is its front again.
    pub(super) fn hand_back(&mut self, asker: Asker) {
        let Some(Handover { items, queue }) = self.coordination.handovers.remove(&asker) else {
            return;
        };
        let there = queue.filter(|name| self.coordination.queues.contains_key(name));
        let Some(name) = there else {
            return items.into_iter().for_each(|held| self.drop_held(held));
        };
        if let Some(queue) = self.coordination.queues.get_mut(&name) {
            for held in items.into_iter().rev() {
                queue.items.push_front(held);
            }
        }
        self.serve(&Place::Getters(name));
    }
}
