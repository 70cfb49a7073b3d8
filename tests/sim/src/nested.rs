//! Executions that submit calls of their own: what the real worker's sessions and slots do.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, Submission, ToClient};
use grid_proto::{Attempt, CallOptions, CallSpec, Key, RequestId, TaskRef};

use crate::task::{self, BUNDLE, Child, Hash, Kind};
use crate::worker::SimWorker;

/// What an execution submitted, and what it has been told.
#[derive(Debug)]
pub(crate) struct Nested {
    children: Vec<Child>,
    ended: BTreeMap<Key, Result<Hash, String>>,
}

impl Nested {
    pub(crate) fn all_ended(&self) -> bool {
        self.children.iter().all(|child| self.ended.contains_key(&child.key))
    }

    /// The parent's result from its own part; a child's failure is its own.
    pub(crate) fn gather(&self, own: Hash) -> Result<Hash, String> {
        let ended = |child: &Child| match self.ended.get(&child.key) {
            Some(ended) => ended.clone(),
            None => Err(format!("{} has not ended", child.key.short())),
        };
        let children: Result<Vec<_>, _> = self.children.iter().map(ended).collect();
        Ok(task::gathered(own, children?))
    }

    /// All of them in one submission, all wanted.
    fn submission(&self) -> Submission {
        let mut submission = Submission { request: RequestId(1), ..Submission::default() };
        for child in &self.children {
            submission.wanted.push(child.key);
            if submission.calls.iter().any(|call| call.key == child.key) {
                continue;
            }
            let task = u32::try_from(submission.tasks.len()).expect("children are few");
            submission.tasks.push(TaskRef { bundle: BUNDLE, task: child.task.clone() });
            let (args, options) = (child.args.clone(), CallOptions::default());
            submission.calls.push(CallSpec { key: child.key, task, args, options });
        }
        submission
    }
}

impl SimWorker {
    /// A parent whose own part is done submits its children and gives its slot back. Says whether
    /// this was one.
    pub(crate) fn begins_to_wait(&mut self, number: u64) -> bool {
        let Some(executing) = self.executing.get_mut(&number) else { return false };
        let execution = &executing.execution;
        let parent = Kind::of(&execution.task.name) == Some(Kind::Parent);
        if !parent || executing.nested.is_some() || executing.stopped {
            return false;
        }
        let (key, attempt) = (execution.key, execution.attempt);
        let children = task::children(&key, &execution.args);
        let nested = Nested { children, ended: BTreeMap::new() };
        let submission = nested.submission();
        executing.nested = Some(nested);
        executing.running = false;
        self.agent.on_said(key, attempt, FromClient::Submit(submission));
        self.agent.on_waits(key, attempt, true);
        true
    }

    /// News for an execution. When all its children have ended it wants its slot again, before
    /// others.
    pub(crate) fn on_told(&mut self, key: Key, attempt: Attempt, message: ToClient) {
        let ended = match message {
            ToClient::Ready { key, meta, .. } => (key, Ok(meta.hash)),
            ToClient::Failed { key: child, failure } => {
                let parent = key.short();
                let message = format!("a child of {parent} at {attempt} failed: {failure}");
                (child, Err(message))
            }
            ToClient::Refused { error, .. } => panic!("a child was refused: {error}"),
            ToClient::Accepted(_)
            | ToClient::Again(_)
            | ToClient::Topic { .. }
            | ToClient::Output { .. } => return,
            ToClient::Answer { request, answer } => {
                return self.on_answered(key, attempt, request, &answer);
            }
        };
        let spoke = self.executing.iter_mut().find(|(_, executing)| {
            (executing.execution.key, executing.execution.attempt) == (key, attempt)
        });
        let Some((number, executing)) = spoke else { return };
        let Some(nested) = &mut executing.nested else { return };
        let waited = !nested.all_ended();
        nested.ended.insert(ended.0, ended.1);
        if waited && nested.all_ended() {
            self.queue.push_front(*number);
        }
    }
}
