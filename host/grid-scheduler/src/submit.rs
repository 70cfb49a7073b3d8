//! Submissions: they come in pieces, so that a large one keeps nobody waiting. What a piece names is
//! made known and nothing more; only when the last piece is there and all of it holds does any of
//! it start.

use std::sync::Arc;

use grid_proto::message::{Refusal, Submission, ToClient};
use grid_proto::{
    Arg, CallOptions, CallSpec, ClientId, Key, Priority, RequestId, TaskDescription, TaskId,
    TaskLimits, TaskRef,
};
use smallvec::SmallVec;

use crate::admission;
use crate::call::{Argument, Call, CallId, Needs, State, Wishes};
use crate::machine::Scheduler;
use crate::mutation::Mutation;
use crate::sessions::nested;

/// A submission of which more is to come.
#[derive(Debug)]
pub(crate) struct Partial {
    request: RequestId,
    number: u32,
    /// The priority of the call that submits, if it is one.
    parent: Option<Priority>,
    tasks: Vec<(TaskId, Arc<TaskDescription>)>,
    /// Calls so far; the position of the next.
    position: u32,
    /// What the client holds futures on, and whether it did not before.
    wanted: Vec<(CallId, bool)>,
    /// Calls that shall run to their end, and calls that are known only because they were cancelled.
    detached: Vec<CallId>,
    cancelled: Vec<CallId>,
    /// All calls that it names, and what those read of others': they are not forgotten meanwhile.
    staged: Vec<CallId>,
}

/// A submission that is whole, or refused, and on its way to start, or to be forgotten.
#[derive(Debug)]
pub(crate) struct Starting {
    client: ClientId,
    wanted: std::vec::IntoIter<(CallId, bool)>,
    staged: std::vec::IntoIter<CallId>,
    refused: bool,
}

impl Partial {
    pub(crate) fn staged(&self) -> &[CallId] {
        &self.staged
    }
}

impl Starting {
    pub(crate) fn staged(&self) -> &[CallId] {
        self.staged.as_slice()
    }
}

impl Scheduler {
    pub(crate) fn on_submit(&mut self, client: ClientId, piece: Submission) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        let (request, more) = (piece.request, piece.more);
        if known.skips_rest == Some(request) {
            known.skips_rest = more.then_some(request);
            return;
        }
        let before = known.partial.take_if(|partial| partial.request != request);
        if let Some(unfinished) = before {
            let message = "another submission began before its last piece".to_owned();
            let error = Refusal::BadSubmission { message };
            self.send_client(client, ToClient::Refused { request: unfinished.request, error });
            self.abandon_submission(client, unfinished);
        }
        let Some(known) = self.clients.get_mut(&client) else { return };
        let mut partial = match known.partial.take() {
            Some(partial) => partial,
            None => {
                if self.calls.is_empty() {
                    // Nothing is older: the numbers last for ever.
                    self.submissions = 0;
                }
                let number = self.submissions;
                self.submissions = self.submissions.wrapping_add(1);
                let parent = match self.parent_priority(client) {
                    Ok(parent) => parent,
                    Err(error) => {
                        return self.refuse(client, request, more, error);
                    }
                };
                Partial {
                    request,
                    number,
                    parent,
                    tasks: Vec::new(),
                    position: 0,
                    wanted: Vec::new(),
                    detached: Vec::new(),
                    cancelled: Vec::new(),
                    staged: Vec::new(),
                }
            }
        };
        let mut taken = self.take_piece(client, &mut partial, piece);
        if !more {
            taken = taken.and_then(|()| self.refuse_circles(client, &partial.wanted));
        }
        let Some(known) = self.clients.get_mut(&client) else { return };
        match taken {
            Ok(()) if more => known.partial = Some(partial),
            Ok(()) => {
                self.send_client(client, ToClient::Accepted(partial.request));
                for id in partial.cancelled {
                    self.revive_cancelled(id);
                }
                for id in partial.detached {
                    self.detach(id);
                }
                self.begin(client, partial.wanted, partial.staged, false);
            }
            Err(error) => {
                self.refuse(client, partial.request, more, error);
                self.abandon_submission(client, partial);
            }
        }
    }

    fn refuse(&mut self, client: ClientId, request: RequestId, more: bool, error: Refusal) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.skips_rest = more.then_some(request);
        }
        self.send_client(client, ToClient::Refused { request, error });
    }

    /// None of its calls will start because of it.
    pub(crate) fn abandon_submission(&mut self, client: ClientId, partial: Partial) {
        self.begin(client, partial.wanted, partial.staged, true);
    }

    fn begin(
        &mut self,
        client: ClientId,
        wanted: Vec<(CallId, bool)>,
        staged: Vec<CallId>,
        refused: bool,
    ) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.starting += 1;
        }
        let (wanted, staged) = (wanted.into_iter(), staged.into_iter());
        self.starting.push_back(Starting { client, wanted, staged, refused });
    }

    /// One step of a submission that starts, of each in turn. Says whether there was one.
    pub(crate) fn start_submission(&mut self) -> bool {
        let Some(mut starting) = self.starting.pop_front() else { return false };
        if let Some((id, newly)) = starting.wanted.next() {
            match starting.refused {
                true if newly => drop(self.drop_interest(starting.client, id)),
                true => {}
                false => self.act_on_interest(starting.client, id),
            }
        }
        if starting.wanted.len() > 0 {
            self.starting.push_back(starting);
            return true;
        }
        self.started.push_back(starting.staged);
        self.note_started(starting.client);
        true
    }

    /// A client lets go of this after it has submitted what may read it: it stays as it is, in memory or
    /// running, until that is on its way. A call that is known already may lack inputs that only the
    /// client's hold keeps.
    pub(crate) fn stage_released(&mut self, client: ClientId, id: CallId) {
        let call = &mut self.calls[id];
        if !call.clients.contains(&client) || matches!(call.state, State::Erred(_)) {
            return;
        }
        let Some(known) = self.clients.get_mut(&client) else { return };
        if known.starting > 0 || known.partial.is_some() {
            known.let_go.push(id);
        } else if !self.to_start.is_empty() && !call.is_active() {
            // Those that it reads may be on the list, which is everybody's: nobody's call runs on for it.
            self.started.push_back(vec![id].into_iter());
        } else {
            return;
        }
        self.calls[id].staged += 1;
    }

    /// A submission is on its way, or will never be.
    fn note_started(&mut self, client: ClientId) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        known.starting -= 1;
        if known.starting == 0 && known.partial.is_none() && !known.let_go.is_empty() {
            self.started.push_back(std::mem::take(&mut known.let_go).into_iter());
        }
    }

    /// Lets go of one call of a submission that has started. Says whether there was one. While calls
    /// are still to start, results that only they will read must not be freed.
    pub(crate) fn end_submission(&mut self) -> bool {
        if !self.to_start.is_empty() {
            return false;
        }
        let Some(mut staged) = self.started.pop_front() else { return false };
        if let Some(id) = staged.next() {
            self.calls[id].staged -= u32::from(!self.mutated(Mutation::StagedLeaked));
            // What leads to no wanted output is not kept.
            self.release_unwanted(id);
        }
        if staged.len() > 0 {
            self.started.push_back(staged);
        }
        true
    }

    fn take_piece(
        &mut self,
        client: ClientId,
        partial: &mut Partial,
        piece: Submission,
    ) -> Result<(), Refusal> {
        let count = partial.position as usize + piece.calls.len();
        if count > self.config.submission_calls_max {
            let message = format!(
                "a submission holds at most {} calls: cut the graph into parts",
                self.config.submission_calls_max
            );
            return Err(Refusal::BadSubmission { message });
        }
        for task in &piece.tasks {
            // Positions count over the tables of all pieces.
            partial.tasks.push(self.resolve_task(task)?);
        }
        self.calls.approach(piece.calls.iter().map(|spec| &spec.key));
        let mut calls = piece.calls.into_iter();
        while let Some(spec) = calls.next() {
            let Some((task, described)) = partial.tasks.get(spec.task as usize) else {
                let message = format!("call `{}` names task {} of none", spec.key, spec.task);
                return Err(Refusal::BadSubmission { message });
            };
            let priority = Priority {
                user: spec.options.priority.saturating_neg(),
                submission: partial.number,
                position: partial.position,
                nesting: 0,
                child: 0,
            };
            let priority = partial.parent.map_or(priority, |parent| nested(parent, priority));
            let own = spec.key;
            let id = self
                .find_or_create(client, spec, *task, described, priority)
                .map_err(|error| admission::in_order(error, own, calls.as_slice()))?;
            partial.position += 1;
            self.calls[id].staged += 1;
            partial.staged.push(id);
            if matches!(self.calls[id].state, State::Released) {
                self.stage_inputs(id, partial);
            }
            if self.is_cancelled(id) {
                partial.cancelled.push(id);
            }
        }
        for key in &piece.detached {
            let unknown = || Refusal::UnknownKey { key: key.to_string() };
            let id = self.calls.find(key).ok_or_else(unknown)?;
            self.calls[id].staged += 1;
            partial.staged.push(id);
            partial.detached.push(id);
        }
        for key in &piece.wanted {
            let unknown = || Refusal::UnknownKey { key: key.to_string() };
            let id = self.calls.find(key).ok_or_else(unknown)?;
            let newly = self.add_interest(client, id);
            partial.wanted.push((id, newly));
        }
        Ok(())
    }

    /// What a call that is to run reads of earlier submissions stays, though its client lets go of it
    /// meanwhile: it may be data that is only there, or the failure of what does not run twice.
    fn stage_inputs(&mut self, id: CallId, partial: &mut Partial) {
        for input in self.calls[id].dependencies.clone() {
            // A call's own siblings have its number.
            let other = self.calls[input].priority.submission != partial.number;
            if other || partial.parent.is_some() {
                self.calls[input].staged += 1;
                partial.staged.push(input);
            }
        }
    }

    fn resolve_task(&mut self, task: &TaskRef) -> Result<(TaskId, Arc<TaskDescription>), Refusal> {
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
        let described = Arc::new(described.clone());
        let (name, label) = (bundle.name.clone(), bundle.label());
        let id = self.tasks.intern(task.bundle, &name, &label, index, &described);
        Ok((id, described))
    }

    /// The call, if an equal one is known; else a new node.
    fn find_or_create(
        &mut self,
        client: ClientId,
        spec: CallSpec,
        task: TaskId,
        described: &TaskDescription,
        priority: Priority,
    ) -> Result<CallId, Refusal> {
        if let Some(id) = self.calls.find(&spec.key) {
            let known = &self.calls[id];
            let key_of = |position: usize| self.calls[known.dependencies[position]].key;
            let same = known.task == task
                && self.instance_of(id) == spec.options.instance
                && known.args.len() == spec.args.len()
                && known.args.iter().zip(&spec.args).all(|(known, arg)| known.is(arg, key_of));
            if same {
                return Ok(id);
            }
            return Err(Refusal::KeyClash {
                key: spec.key,
                known: self.recipe(known.task, &self.args_of(known)),
                new: self.recipe(task, &spec.args),
            });
        }
        admission::check(&spec, described)?;
        let (args, mut dependencies) = self.resolve_args(spec.args)?;
        let instance = self.find_instance(&spec.options, task)?;
        dependencies.extend(instance.actor());
        let retries = spec.options.retries.unwrap_or(self.tasks.of(task).retries);
        let id = self.calls.insert(Call {
            args,
            dependencies: dependencies.clone(),
            attempt: self.fences.first(&spec.key),
            wishes: wishes(spec.options, retries),
            ..Call::new(spec.key, task, priority)
        });
        self.actors.on_created(id, instance, client);
        self.counts.change(task, None, Some(&State::Released));
        for dependency in dependencies {
            self.calls[dependency].dependents.add(id);
        }
        Ok(id)
    }

    /// Arguments as they are kept, and the distinct calls among them.
    #[expect(clippy::type_complexity, reason = "two parts of a call")]
    fn resolve_args(
        &self,
        args: Vec<Arg>,
    ) -> Result<(Box<[Argument]>, SmallVec<[CallId; 2]>), Refusal> {
        /// Above this a search through the list costs more than a tree.
        const SEARCHED_MAX: usize = 16;
        let mut dependencies = SmallVec::<[CallId; 2]>::new();
        let mut positions = std::collections::BTreeMap::new();
        let mut kept = Vec::with_capacity(args.len());
        for arg in args {
            kept.push(match arg {
                Arg::Value(value) => Argument::Value(value.codec, value.bytes.into_boxed_slice()),
                Arg::Key(key) => {
                    let unknown = || Refusal::UnknownKey { key: key.to_string() };
                    let id = self.calls.find(&key).ok_or_else(unknown)?;
                    self.refuse_as_argument(id)?;
                    let known = match dependencies.len() <= SEARCHED_MAX {
                        true => dependencies.iter().position(|other| *other == id),
                        false => positions.get(&id).copied(),
                    };
                    let position = known.unwrap_or_else(|| {
                        dependencies.push(id);
                        positions.insert(id, dependencies.len() - 1);
                        dependencies.len() - 1
                    });
                    Argument::Input(u32::try_from(position).unwrap_or(u32::MAX))
                }
            });
        }
        Ok((kept.into_boxed_slice(), dependencies))
    }

    /// A call's arguments as they travel.
    pub(crate) fn args_of(&self, call: &Call) -> Vec<Arg> {
        let key_of = |position: usize| -> Key { self.calls[call.dependencies[position]].key };
        call.args.iter().map(|arg| arg.to_arg(key_of)).collect()
    }

    pub(crate) fn recipe(&self, task: TaskId, args: &[Arg]) -> String {
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

/// What a caller says about a call, if it says anything.
fn wishes(options: CallOptions, retries: u32) -> Option<Box<Wishes>> {
    let needs = Needs::new(options.pins, options.resources);
    let plain = options.limits == TaskLimits::default() && retries == 0 && needs.is_empty();
    let wishes = || Wishes {
        limits: options.limits,
        retries,
        retries_left: retries,
        needs,
        ..Wishes::default()
    };
    (!plain).then(|| Box::new(wishes()))
}
