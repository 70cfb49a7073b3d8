//! Where calls run. Calls without inputs are held back until a worker has room; the others go at
//! once to where they are expected to start earliest.

use std::collections::BTreeSet;

use grid_proto::message::{Assignment, ToWorker};
use grid_proto::{Arg, Key, WorkerId};
use smallvec::SmallVec;

use crate::call::{CallId, State};
use crate::config::Config;
use crate::machine::Scheduler;

/// What a transfer costs however small it is.
const TRANSFER_LATENCY_US: u64 = 200;
/// One message carries at most about this much of inline arguments, so that frames stay small.
const RUN_BYTES_MAX: usize = 1 << 20;

/// A worker that could run a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) worker: WorkerId,
    /// Until one of its slots is free.
    pub(crate) load_us: u64,
    /// Inputs that it does not hold.
    pub(crate) missing_bytes: u64,
    pub(crate) missing_inputs: u64,
}

/// The candidate with the earliest expected start; among equals the one that lacks least, then the
/// oldest worker.
pub(crate) fn choose(candidates: &[Candidate], config: &Config) -> Option<WorkerId> {
    let start = |candidate: &Candidate| {
        let bandwidth = config.bandwidth_bytes_per_us.max(1);
        let moving = candidate.missing_bytes / bandwidth
            + candidate.missing_inputs.min(1) * TRANSFER_LATENCY_US;
        candidate.load_us.saturating_add(moving)
    };
    candidates
        .iter()
        .min_by_key(|candidate| (start(candidate), candidate.missing_bytes, candidate.worker))
        .map(|candidate| candidate.worker)
}

impl Scheduler {
    /// One round: all calls with inputs, then as many without as the workers have room for.
    pub(crate) fn place(&mut self) {
        let mut touched = BTreeSet::new();
        self.place_elsewhere(&mut touched);
        while !self.workers.is_empty()
            && let Some((_, id)) = self.bound.pop_first()
        {
            let candidates = self.candidates(id);
            let Some(worker) = choose(&candidates, &self.config) else {
                continue;
            };
            self.assign(id, worker);
            touched.insert(worker);
        }
        while let Some((priority, _)) = self.unbound.first()
            && let Some((worker, state)) = self.workers.least_loaded()
            && (state.has_room(&self.config) || state.has_room_for_nested(*priority))
            && let Some((_, id)) = self.unbound.pop_first()
        {
            self.assign(id, worker);
            touched.insert(worker);
        }
        for worker in touched {
            self.send_assignments(worker);
        }
    }

    /// The holders of its inputs, and whoever is least loaded.
    fn candidates(&self, id: CallId) -> SmallVec<[Candidate; 8]> {
        let inputs = &self.calls[id].dependencies;
        let mut workers = SmallVec::<[WorkerId; 8]>::new();
        for input in inputs {
            for holder in self.calls[*input].holders() {
                if !workers.contains(holder) {
                    workers.push(*holder);
                }
            }
        }
        if let Some((idle, _)) = self.workers.by_load().find(|(id, _)| !workers.contains(id)) {
            workers.push(idle);
        }
        let candidate = |worker: WorkerId| {
            let load_us = self.workers.of(worker)?.load_per_slot_us();
            let missing = || {
                inputs.iter().filter(move |input| !self.calls[**input].holders().contains(&worker))
            };
            Some(Candidate {
                worker,
                load_us,
                missing_bytes: missing().map(|input| self.calls[*input].size()).sum(),
                missing_inputs: missing().count() as u64,
            })
        };
        workers.into_iter().filter_map(candidate).collect()
    }

    pub(crate) fn assign(&mut self, id: CallId, worker: WorkerId) {
        let call = &self.calls[id];
        let expected_us = self.tasks.of(call.task).expected_us();
        let inputs = call
            .dependencies
            .iter()
            .map(|input| &self.calls[*input])
            .filter(|input| !input.holders().contains(&worker))
            .map(|input| (input.key, input.holders().to_vec()))
            .collect();
        let assignment = Assignment {
            key: call.key,
            attempt: call.attempt,
            task: call.task,
            priority: call.priority,
            args: call.args.to_vec(),
            inputs,
            limits: call.limits,
        };
        self.calls[id].state = State::Processing { worker, executing: false, expected_us };
        self.workers.change_load(worker, |worker| {
            worker.in_hand.insert(id);
            worker.load_us += expected_us;
            worker.outbox.push(assignment);
        });
    }

    /// Sends what this round placed on a worker, after what it must know to understand it.
    fn send_assignments(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.of_mut(id) else {
            return;
        };
        let assignments = std::mem::take(&mut worker.outbox);
        let mut tasks = Vec::new();
        let mut peers = Vec::new();
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
        if !peers.is_empty() {
            let peers = self.addresses(&peers);
            self.send_worker(id, ToWorker::Peers(peers));
        }
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
        self.send_worker(id, ToWorker::Run(run));
    }
}

fn inline_bytes(args: &[Arg]) -> usize {
    let size = |arg: &Arg| match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(_) => size_of::<Key>(),
    };
    args.iter().map(size).sum()
}
