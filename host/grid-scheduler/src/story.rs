//! What happened to each call and why: the last steps of all calls, in a ring.

use std::collections::VecDeque;

use grid_proto::message::{FromClient, FromWorker};
use grid_proto::report::StoryStep;
use grid_proto::{Attempt, ClientId, Key, WorkerId};

use crate::answer::begins_with;
use crate::call::{Queue, State};
use crate::config::Now;
use crate::counts;

#[derive(Debug)]
pub(crate) struct Story {
    steps: VecDeque<Step>,
    steps_max: usize,
    /// What is being handled.
    pub(crate) cause: Cause,
}

#[derive(Debug)]
struct Step {
    at: Now,
    key: Key,
    attempt: Attempt,
    kind: u8,
    worker: Option<WorkerId>,
    cause: Cause,
}

/// What a step was taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cause {
    Client(ClientId, &'static str),
    Worker(WorkerId, &'static str),
    /// The machine's own doing: a turn of placement, or time that has passed.
    Own(&'static str),
}

impl Story {
    pub(crate) fn new(steps_max: usize) -> Self {
        Self { steps: VecDeque::new(), steps_max, cause: Cause::Own("start") }
    }

    pub(crate) fn tell(&mut self, at: Now, key: &Key, attempt: Attempt, state: &State) {
        if self.steps_max == 0 {
            return;
        }
        let worker = match state {
            State::Queued { at: Queue::Of(worker), .. } => Some(*worker),
            State::Processing(processing) => Some(processing.worker),
            State::Arriving(arrival) => Some(arrival.home),
            _ => None,
        };
        let kind = u8::try_from(counts::kind(state)).unwrap_or_default();
        if matches!(state, State::Memory { .. } | State::Erred(_))
            && let Some(last) = self.steps.back_mut()
            && (last.at, last.key, last.cause) == (at, *key, self.cause)
            && usize::from(last.kind) == counts::RELEASED
        {
            // An attempt leaves its worker and has ended: one step, of that attempt.
            last.kind = kind;
            return;
        }
        if self.steps.len() >= self.steps_max {
            self.steps.pop_front();
        }
        self.steps.push_back(Step { at, key: *key, attempt, kind, worker, cause: self.cause });
    }

    /// The steps of calls whose keys begin with this prefix, oldest first.
    pub(crate) fn of(
        &self,
        prefix: &str,
        now: Now,
        worker_name: impl Fn(WorkerId) -> String,
    ) -> Vec<StoryStep> {
        let told = self.steps.iter().filter(|step| begins_with(&step.key, prefix));
        told.map(|step| StoryStep {
            ago_us: now.0.saturating_sub(step.at.0),
            key: step.key,
            attempt: step.attempt,
            state: counts::LABELS[usize::from(step.kind)].to_owned(),
            worker: step.worker.map(&worker_name),
            cause: match step.cause {
                Cause::Client(id, what) => format!("client {}: {what}", id.0),
                Cause::Worker(id, what) => format!("worker `{}`: {what}", worker_name(id)),
                Cause::Own(what) => what.to_owned(),
            },
        })
        .collect()
    }
}

impl Cause {
    pub(crate) fn of_client(id: ClientId, message: &FromClient) -> Self {
        let what = match message {
            FromClient::Submit(_) => "submit",
            FromClient::Retry { .. } => "retry",
            FromClient::Coordinate { .. } | FromClient::Took(_) | FromClient::Abandon(_) => {
                "coordination"
            }
            FromClient::Scatter(_) => "scatter",
            FromClient::Replicate { .. } => "replicate",
            FromClient::Rebalance { .. } => "rebalance",
            FromClient::Release(_) => "release",
            FromClient::Cancel { .. } => "cancel",
            FromClient::Locate { .. } => "asked where the result is",
            FromClient::WorkerEnded { .. } => "said that a worker's process has ended",
            FromClient::Query { .. } => "query",
        };
        Self::Client(id, what)
    }

    pub(crate) fn of_worker(id: WorkerId, message: &FromWorker) -> Self {
        let what = match message {
            FromWorker::Register(_) => "connected",
            FromWorker::Started(_) => "began to execute",
            FromWorker::Finished { .. } => "finished",
            FromWorker::Output { .. } => "output",
            FromWorker::MissingInputs { .. } => "could not get inputs",
            FromWorker::Holds(_) => "has copies",
            FromWorker::NotAcquired(_) => "could not get a copy",
            FromWorker::Missing(_) => "does not hold a result",
            FromWorker::Inspected { .. } => "inspected a bundle",
            FromWorker::FromTask { .. } => "a call of its own said something",
            FromWorker::Waits { .. } => "waits or goes on; its slot is free while it waits",
            FromWorker::Withdrawn { .. } => "gave it back",
            FromWorker::ActorLost { .. } => "lost the actor",
            FromWorker::Heartbeat { .. } => "heartbeat",
            FromWorker::Paused(true) => "memory nearly full",
            FromWorker::Paused(false) => "memory free again",
            FromWorker::Leaving => "is leaving",
        };
        Self::Worker(id, what)
    }
}
