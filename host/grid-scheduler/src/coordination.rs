//! What clients share by name: datasets, variables, queues, locks, semaphores, events and topics.
//!
//! All of it belongs to clients by their number only: whether that is a connection or a call that
//! speaks as a client makes no difference here. What a client holds or waits for ends with it.
//!
//! Every operation that waits goes the same way: it becomes a waiter at a place, the place is served
//! (first come, first served), and a waiter that is still there when its time is over is told so.

mod check;
mod datasets;
mod events;
mod handovers;
mod items;
mod leases;
mod listing;
mod queues;
mod topics;
mod variables;
mod waiters;

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::bounds::has_control;
use grid_proto::coordination::{
    Coordinated, LeaseOperation, NAME_BYTES_MAX, NamedKind, OPEN_PER_CLIENT_MAX, Operation,
    TopicOperation,
};
use grid_proto::message::{Answer, Refusal};
use grid_proto::{ClientId, RequestId};

use crate::call::CallId;
use crate::config::Now;
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use handovers::Handover;
use items::Held;
use leases::Leases;
use queues::Queue;
use topics::Topic;
use waiters::{Place, Waiter, WaiterId, Waiters, Wish};

/// What an operation gives: an answer, nothing yet, or a refusal.
type Given = Result<Option<Coordinated>, Refusal>;

/// What everything that has a name costs, beside what it holds.
const ENTRY_BYTES: u64 = 128;

/// Who asks, as which request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Asker {
    client: ClientId,
    request: RequestId,
}

/// All that has a name.
#[derive(Debug, Default)]
pub(crate) struct Coordination {
    datasets: BTreeMap<String, Vec<CallId>>,
    /// Those that are set, and those that somebody waits for.
    variables: BTreeMap<String, Option<Held>>,
    queues: BTreeMap<String, Queue>,
    leases: Leases,
    /// Whether they are set; those that are not set are waited for.
    events: BTreeMap<String, bool>,
    topics: BTreeMap<String, Topic>,
    /// The topics that each client has subscribed to.
    subscriptions: BTreeMap<ClientId, BTreeSet<String>>,
    waiters: Waiters,
    handovers: BTreeMap<Asker, Handover>,
    /// Bytes of all of it, within `Config::coordination_bytes_max`.
    pub(crate) bytes: u64,
}

impl Scheduler {
    pub(crate) fn on_coordinate(
        &mut self,
        client: ClientId,
        request: RequestId,
        operation: Operation,
    ) {
        let asker = Asker { client, request };
        match self.judge(asker, &operation).and_then(|()| self.coordinate(asker, operation)) {
            Ok(Some(given)) => self.give(asker, given),
            Ok(None) => {}
            Err(refusal) => self.answer(client, request, Answer::Refused(refusal)),
        }
    }

    fn give(&mut self, asker: Asker, given: Coordinated) {
        self.answer(asker.client, asker.request, Answer::Coordinated(given));
    }

    /// What is wrong with an operation whatever there is.
    fn judge(&self, asker: Asker, operation: &Operation) -> Result<(), Refusal> {
        let shared = &self.coordination;
        let over = |message: String| Err(Refusal::OverBound { message });
        if shared.waiters.of_asker(asker).is_some() || shared.handovers.contains_key(&asker) {
            return over(format!("request {} is open already", asker.request));
        }
        let open = shared.waiters.count_of(asker.client)
            + shared.leases.count_of(asker.client)
            + shared.subscriptions.get(&asker.client).map_or(0, BTreeSet::len)
            + handovers::of_client(&shared.handovers, asker.client).count();
        // It may always give something up.
        let gives_up = matches!(
            operation,
            Operation::Lease {
                operation: LeaseOperation::Release(_) | LeaseOperation::Renew(_),
                ..
            } | Operation::Topic { operation: TopicOperation::Unsubscribe, .. }
        );
        if open >= OPEN_PER_CLIENT_MAX && !gives_up {
            return over(format!(
                "this client waits for, holds or listens to {open} things: give some up first"
            ));
        }
        match name_of(operation) {
            Some((kind, "")) => over(format!("a {kind} needs a name")),
            Some((kind, name)) if name.len() > NAME_BYTES_MAX => over(format!(
                "the name of a {kind} has at most {NAME_BYTES_MAX} bytes; this one has {}",
                name.len()
            )),
            Some((kind, name)) if has_control(name) => {
                over(format!("the name {name:?} of a {kind} has a control character: leave it out"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn coordinate(&mut self, asker: Asker, operation: Operation) -> Given {
        match operation {
            Operation::List(kind) => Ok(Some(Coordinated::List(self.named(kind)))),
            Operation::Describe { kind, name } => self.describe(kind, name),
            Operation::Dataset { name, operation } => self.on_dataset(asker, name, operation),
            Operation::Variable { name, operation } => self.on_variable(asker, name, operation),
            Operation::Queue { name, operation } => self.on_queue(asker, name, operation),
            Operation::Lease { kind, name, operation } => {
                self.on_lease(asker, kind, name, operation)
            }
            Operation::Event { name, operation } => self.on_event(asker, name, operation),
            Operation::Topic { name, operation } => self.on_topic(asker, name, operation),
        }
    }

    /// Waits at a place; whoever can be served there is.
    fn wait(&mut self, asker: Asker, wait_ms: Option<u64>, place: Place, wish: Wish) -> Given {
        let until = wait_ms.map(|ms| self.now.after(ms.saturating_mul(1_000)));
        let waiter = Waiter { asker, until, place: place.clone(), wish };
        let id = self.coordination.waiters.add(waiter);
        self.serve(&place);
        if wait_ms == Some(0) {
            self.end_wait(id);
        }
        Ok(None)
    }

    /// Gives what there is at a place to whoever waits for it, in the order of their coming.
    fn serve(&mut self, place: &Place) {
        match place {
            Place::Variable(name) => self.serve_variable(name),
            Place::Getters(name) | Place::Putters(name) => self.serve_queue(name),
            Place::Lease(kind, name) => self.serve_lease(*kind, name),
            Place::Event(name) => self.serve_event(name),
        }
    }

    /// A waiter, if it still waits, gets nothing.
    fn end_wait(&mut self, id: WaiterId) {
        if let Some(waiter) = self.coordination.waiters.take(id) {
            self.give(waiter.asker, Coordinated::TimedOut);
            self.dismiss(waiter);
        }
    }

    /// Forgets what a waiter brought, and the place if it existed for its sake. Others may come to
    /// their turn.
    fn dismiss(&mut self, waiter: Waiter) {
        if let Wish::Put(held) = waiter.wish {
            self.drop_held(held);
        }
        match &waiter.place {
            Place::Variable(name) => self.forget_unset_variable(name),
            Place::Event(name) => self.forget_unset_event(name),
            Place::Lease(kind, name) => self.forget_idle_lease(*kind, name),
            Place::Getters(_) | Place::Putters(_) => {}
        }
        self.serve(&waiter.place);
    }

    pub(crate) fn on_abandon(&mut self, client: ClientId, request: RequestId) {
        let asker = Asker { client, request };
        match self.coordination.waiters.of_asker(asker) {
            Some(id) => self.end_wait(id),
            None => self.hand_back(asker),
        }
    }

    /// What this client waits for, in words.
    pub(crate) fn awaited_name(&self, client: ClientId) -> Option<String> {
        self.coordination.waiters.place_of(client).map(Place::to_string)
    }

    /// A client is gone, and with it all that it waits for and holds.
    pub(crate) fn forget_client(&mut self, client: ClientId) {
        // All of its waiters first: nothing shall be given to it now.
        let mut gone = Vec::new();
        for id in self.coordination.waiters.of_client(client) {
            gone.extend(self.coordination.waiters.take(id));
        }
        for waiter in gone {
            self.dismiss(waiter);
        }
        let open: Vec<_> = handovers::of_client(&self.coordination.handovers, client).collect();
        for asker in open {
            if !self.mutated(Mutation::ItemsKept) {
                self.hand_back(asker);
            }
        }
        for lease in self.coordination.leases.of_client(client) {
            if !self.mutated(Mutation::LeaseKept) {
                self.end_lease(lease);
            }
        }
        self.unsubscribe_all(client);
    }

    pub(crate) fn coordination_timeout(&self) -> Option<Now> {
        let (waiters, leases) = (&self.coordination.waiters, &self.coordination.leases);
        [waiters.next_end(), leases.next_end()].into_iter().flatten().min()
    }

    pub(crate) fn on_coordination_timeout(&mut self) {
        // Leases first: who waited until the same moment gets what they leave.
        while let Some(lease) = self.coordination.leases.ended(self.now) {
            self.end_lease(lease);
        }
        while let Some(id) = self.coordination.waiters.ended(self.now) {
            self.end_wait(id);
        }
    }

    /// Takes up bytes, within the bound.
    fn charge(&mut self, bytes: u64) -> Result<(), Refusal> {
        let sum = self.coordination.bytes.saturating_add(bytes);
        let bytes_max = self.config.coordination_bytes_max;
        if sum > bytes_max {
            let message = format!(
                "what is shared by name takes {} of {bytes_max} bytes, and this needs {bytes} more: \
                 delete something, or share futures instead of values",
                self.coordination.bytes
            );
            return Err(Refusal::OverBound { message });
        }
        self.coordination.bytes = sum;
        Ok(())
    }

    fn refund(&mut self, bytes: u64) {
        self.coordination.bytes -= bytes;
    }
}

fn entry_bytes(name: &str) -> u64 {
    ENTRY_BYTES + name.len() as u64
}

fn unknown(kind: NamedKind, name: String) -> Refusal {
    Refusal::UnknownName { kind, name }
}

fn name_of(operation: &Operation) -> Option<(NamedKind, &str)> {
    match operation {
        Operation::List(_) => None,
        Operation::Describe { kind, name } => Some((*kind, name)),
        Operation::Dataset { name, .. } => Some((NamedKind::Dataset, name)),
        Operation::Variable { name, .. } => Some((NamedKind::Variable, name)),
        Operation::Queue { name, .. } => Some((NamedKind::Queue, name)),
        Operation::Lease { kind, name, .. } => Some((kind.named(), name)),
        Operation::Event { name, .. } => Some((NamedKind::Event, name)),
        Operation::Topic { name, .. } => Some((NamedKind::Topic, name)),
    }
}
