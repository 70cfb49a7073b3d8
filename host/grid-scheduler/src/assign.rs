//! From a decision to messages: what a worker is given, after what it must know to understand it.

use grid_proto::message::{Assignment, ToWorker};
use grid_proto::{Arg, ClientId, Key, WorkerId};

use crate::call::{CallId, Processing, Queue, State};
use crate::machine::Scheduler;
use crate::sessions::Sessions;

/// One message carries at most about this much of inline arguments, so that frames stay small.
const RUN_BYTES_MAX: usize = 1 << 20;
/// Calls between a resident one and who wants it that are looked at: deeper than graphs and nesting
/// usually are, and some microseconds.
const BEHIND_MAX: usize = 128;
/// Readers of one call that are looked at.
const READERS_MAX: usize = 8;

/// A worker is told so many that have an input; should all of them fail, it is told others.
const SOURCES_MAX: usize = 8;

impl Scheduler {
    /// The client on whose behalf a resident task runs: the first that wants it, or wants what reads
    /// it; of a call that another submitted, the one behind that.
    fn client_behind(&self, id: CallId) -> Option<ClientId> {
        if !self.tasks.of(self.calls[id].task).definition.resident {
            return None;
        }
        let mut behind = id;
        for _ in 0..BEHIND_MAX {
            let call = &self.calls[behind];
            behind = match call.clients.first() {
                Some(client) => match self.sessions.call_of(*client) {
                    Some(parent) => parent,
                    None => return Some(*client).filter(|client| !Sessions::are_of(*client)),
                },
                None => {
                    let mut readers = call.dependents.iter().take(READERS_MAX);
                    readers.find(|reader| self.calls[*reader].is_active())?
                }
            };
        }
        None
    }

    /// Gives a call to a worker, from wherever it is held back.
    pub(crate) fn assign(&mut self, id: CallId, worker: WorkerId) {
        if self.workers.of(worker).is_none() {
            return self.contradicted("it is given to a worker that is not there", id);
        }
        let call = &self.calls[id];
        let expected_us = self.tasks.of(call.task).expected_us();
        let inputs = call
            .dependencies
            .iter()
            .map(|input| &self.calls[*input])
            .filter(|input| !input.holders().contains(&worker))
            .map(|input| (input.key, self.nearest_first(input.holders(), worker)))
            .collect();
        let assignment = Assignment {
            key: call.key,
            attempt: call.attempt,
            task: call.task,
            priority: call.priority,
            args: self.args_of(call),
            inputs,
            limits: call.limits(),
            instance: self.instance_of(id),
            client: self.client_behind(id),
        };
        let needs = call.needs().cloned();
        if let Some(wishes) = &mut self.calls[id].wishes {
            wishes.moves = false;
        }
        self.calls.expect(id);
        // Out of the worker's own backlog in one and the same change.
        let held_back_us = match self.calls[id].state {
            State::Queued { at: Queue::Of(at), expected_us } if at == worker => Some(expected_us),
            _ => {
                self.dequeue(id);
                None
            }
        };
        let entry = (self.calls[id].priority, id);
        let now = self.now;
        self.workers.change(worker, |worker| {
            if let Some(held_back_us) = held_back_us {
                let resources = needs.as_ref().map_or(&[][..], |needs| &needs.resources);
                worker.backlog.remove(entry, resources, held_back_us);
            }
            if worker.at_slots() < worker.slots as usize {
                worker.progressed(now);
            }
            worker.in_hand.insert(id);
            worker.load_us += expected_us;
            if let Some(needs) = &needs {
                worker.take(&needs.resources);
            }
            worker.outbox.push(assignment);
        });
        let processing = Processing { worker, expected_us, executing: false, withdrawing: false };
        self.set_state(id, State::Processing(processing));
    }

    /// Some that have an object, as a worker shall ask them: on its own host first.
    pub(crate) fn nearest_first(&self, holders: &[WorkerId], worker: WorkerId) -> Vec<WorkerId> {
        let mut holders = holders.to_vec();
        if holders.len() > 1 {
            let host = |id: WorkerId| self.workers.of(id).map(|worker| worker.host.as_str());
            let own = host(worker);
            holders.sort_by_key(|holder| host(*holder) != own);
            holders.truncate(SOURCES_MAX);
        }
        holders
    }

    /// Sends what this round placed on a worker.
    pub(crate) fn send_assignments(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.of_mut(id) else {
            return;
        };
        let assignments = std::mem::take(&mut worker.outbox);
        let mut tasks = Vec::new();
        let mut peers = Vec::<WorkerId>::new();
        for assignment in &assignments {
            if worker.known_tasks.insert(assignment.task) {
                tasks.push(self.tasks.of(assignment.task).definition.clone());
            }
            let holders = assignment.inputs.iter().flat_map(|(_, holders)| holders);
            peers.extend(holders.filter(|holder| worker.known_peers.insert(**holder)));
        }
        if !tasks.is_empty() {
            self.send_worker(id, ToWorker::Define(tasks));
        }
        self.send_peers(id, &peers);
        let mut run = Vec::new();
        let mut bytes = 0;
        for assignment in assignments {
            let size = inline_bytes(&assignment.args);
            if bytes + size > RUN_BYTES_MAX && !run.is_empty() {
                self.send_worker(id, ToWorker::Run(std::mem::take(&mut run)));
                bytes = 0;
            }
            bytes += size;
            run.push(assignment);
        }
        if !run.is_empty() {
            self.send_worker(id, ToWorker::Run(run));
        }
    }

    /// Tells a worker where others listen, unless it knows.
    pub(crate) fn tell_peers(&mut self, id: WorkerId, peers: &[WorkerId]) {
        let Some(worker) = self.workers.of_mut(id) else { return };
        let news = peers.iter().copied().filter(|peer| worker.known_peers.insert(*peer));
        let news: Vec<_> = news.collect();
        self.send_peers(id, &news);
    }

    fn send_peers(&mut self, id: WorkerId, peers: &[WorkerId]) {
        if !peers.is_empty() {
            let peers = self.addresses(peers);
            self.send_worker(id, ToWorker::Peers(peers));
        }
    }
}

fn inline_bytes(args: &[Arg]) -> usize {
    let size = |arg: &Arg| match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(_) => size_of::<Key>(),
    };
    args.iter().map(size).sum()
}
