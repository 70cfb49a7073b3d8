//! Submissions: all of one is judged before any of it happens.

use grid_proto::limits::{ARGUMENTS_MAX, INLINE_ARGUMENT_BYTES_MAX};
use grid_proto::message::{Refusal, Submission, ToClient};
use grid_proto::{Arg, CallSpec, ClientId, Priority, TaskDescription, TaskId, TaskRef};
use smallvec::SmallVec;

use crate::call::{Call, CallId, State};
use crate::client::Client;
use crate::machine::Scheduler;
use crate::sessions::nested;

impl Scheduler {
    pub(crate) fn on_submit(&mut self, client: ClientId, piece: Submission) {
        let request = piece.request;
        let Some(submission) = self.complete_submission(client, piece) else {
            return;
        };
        let mut created = Vec::with_capacity(submission.calls.len());
        let accepted = self
            .create_all(client, submission.tasks, submission.calls, &mut created)
            .and_then(|()| self.find_wanted(&submission.wanted))
            .and_then(|wanted| self.refuse_circles(client, wanted));
        match accepted {
            Ok(wanted) => {
                self.send_client(client, ToClient::Accepted(request));
                for id in wanted {
                    self.add_interest(client, id);
                }
                // What leads to no wanted output is not kept.
                for id in created.into_iter().rev() {
                    self.release_unwanted(id);
                }
            }
            Err(error) => {
                for id in created.into_iter().rev() {
                    self.release_unwanted(id);
                }
                self.send_client(client, ToClient::Refused { request, error });
            }
        }
    }

    /// Joins the pieces of a submission; `None` while more is to come.
    fn complete_submission(&mut self, client: ClientId, piece: Submission) -> Option<Submission> {
        let Client { partial, skips_rest, .. } = self.clients.get_mut(&client)?;
        let more = piece.more;
        if *skips_rest {
            *skips_rest = more;
            return None;
        }
        let whole = match partial.take() {
            None => piece,
            Some(mut whole) => {
                // Positions count over the tables of all pieces.
                whole.tasks.extend(piece.tasks);
                whole.calls.extend(piece.calls);
                whole.wanted.extend(piece.wanted);
                whole
            }
        };
        if whole.calls.len() > self.config.submission_calls_max {
            let message = format!(
                "a submission holds at most {} calls: cut the graph into parts",
                self.config.submission_calls_max
            );
            let error = Refusal::BadSubmission { message };
            *skips_rest = more;
            self.send_client(client, ToClient::Refused { request: whole.request, error });
            return None;
        }
        if more {
            *partial = Some(whole);
            return None;
        }
        Some(whole)
    }

    fn create_all(
        &mut self,
        client: ClientId,
        tasks: Vec<TaskRef>,
        specs: Vec<CallSpec>,
        created: &mut Vec<CallId>,
    ) -> Result<(), Refusal> {
        let tasks: Vec<_> =
            tasks.into_iter().map(|task| self.resolve_task(&task)).collect::<Result<_, _>>()?;
        let parent = self.parent_priority(client)?;
        let submission = self.submissions;
        self.submissions = self.submissions.wrapping_add(1);
        for (position, spec) in specs.into_iter().enumerate() {
            let Some((task, described)) = tasks.get(spec.task as usize) else {
                let message = format!("call `{}` names task {} of none", spec.key, spec.task);
                return Err(Refusal::BadSubmission { message });
            };
            let priority = Priority {
                user: spec.options.priority.saturating_neg(),
                submission,
                position: u32::try_from(position).unwrap_or(u32::MAX),
                nesting: 0,
            };
            let priority = parent.map_or(priority, |parent| nested(parent, priority));
            if let Some(id) = self.create(spec, *task, described, priority)? {
                created.push(id);
            }
        }
        Ok(())
    }

    fn resolve_task(&mut self, task: &TaskRef) -> Result<(TaskId, TaskDescription), Refusal> {
        let Some(bundle) = self.bundles.described(task.bundle) else {
            return Err(Refusal::UnknownBundle { bundle: task.bundle.to_string() });
        };
        let Some((index, described)) = bundle.task(&task.task) else {
            let known: Vec<_> = bundle.tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(Refusal::UnknownTask {
                bundle: bundle.label(),
                task: task.task.clone(),
                known: known.join(", "),
            });
        };
        let described = described.clone();
        let (name, label) = (bundle.name.clone(), bundle.label());
        let id = self.tasks.intern(task.bundle, &name, &label, index, &described);
        Ok((id, described))
    }

    /// A new node, or nothing if the same call is known.
    fn create(
        &mut self,
        spec: CallSpec,
        task: TaskId,
        described: &TaskDescription,
        priority: Priority,
    ) -> Result<Option<CallId>, Refusal> {
        if let Some(id) = self.calls.find(&spec.key) {
            let known = &self.calls[id];
            if known.task == task && *known.args == *spec.args {
                return Ok(None);
            }
            return Err(Refusal::KeyClash {
                key: spec.key,
                known: self.recipe(known.task, &known.args),
                new: self.recipe(task, &spec.args),
            });
        }
        check_arguments(&spec, described)?;
        let mut dependencies = SmallVec::<[CallId; 2]>::new();
        for arg in &spec.args {
            let Arg::Key(key) = arg else { continue };
            let Some(id) = self.calls.find(key) else {
                return Err(Refusal::UnknownKey { key: key.to_string() });
            };
            dependencies.push(id);
        }
        let mut seen = std::collections::BTreeSet::new();
        dependencies.retain(|id| seen.insert(*id));
        let id = self.calls.insert(Call {
            key: spec.key,
            task,
            priority,
            args: spec.args.into_boxed_slice(),
            limits: spec.options.limits,
            dependencies: dependencies.clone(),
            dependents: std::collections::BTreeSet::new(),
            active_dependents: 0,
            clients: SmallVec::new(),
            attempt: self.fences.first(&spec.key),
            retries_left: spec.options.retries.unwrap_or(self.tasks.of(task).retries),
            deaths: Vec::new(),
            reschedules: 0,
            avoids: None,
            state: State::Released,
        });
        for dependency in dependencies {
            self.calls[dependency].dependents.insert(id);
        }
        Ok(Some(id))
    }

    fn find_wanted(&self, wanted: &[grid_proto::Key]) -> Result<Vec<CallId>, Refusal> {
        wanted
            .iter()
            .map(|key| {
                self.calls.find(key).ok_or_else(|| Refusal::UnknownKey { key: key.to_string() })
            })
            .collect()
    }

    fn recipe(&self, task: TaskId, args: &[Arg]) -> String {
        let args: Vec<_> = args
            .iter()
            .map(|arg| match arg {
                Arg::Value(value) => {
                    format!("{} bytes of {}", value.bytes.len(), value.codec.label())
                }
                Arg::Key(key) => key.short(),
            })
            .collect();
        format!("{}({})", self.tasks.of(task).label, args.join(", "))
    }
}

fn check_arguments(spec: &CallSpec, described: &TaskDescription) -> Result<(), Refusal> {
    if spec.args.len() > ARGUMENTS_MAX {
        let message = format!(
            "call `{}` has {} arguments; at most {ARGUMENTS_MAX} are allowed: reduce in a tree",
            spec.key,
            spec.args.len()
        );
        return Err(Refusal::BadArguments { message });
    }
    let inline = |arg: &Arg| match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(_) => 0,
    };
    let bytes: usize = spec.args.iter().map(inline).sum();
    if bytes > INLINE_ARGUMENT_BYTES_MAX {
        let message = format!(
            "the arguments of `{}` hold {bytes} bytes; at most {INLINE_ARGUMENT_BYTES_MAX} travel \
             with a call: let a task read or make the data, and pass its result",
            described.name
        );
        return Err(Refusal::BadArguments { message });
    }
    let values = spec.args.iter().map(|arg| match arg {
        Arg::Value(value) => Some(value),
        Arg::Key(_) => None,
    });
    described.check_arguments(values).map_err(|message| Refusal::BadArguments { message })
}
