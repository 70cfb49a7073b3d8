//! Calls that speak while they run: an attempt that submits calls of its own, or shares by name, is a
//! client like any other, for as long as it runs. Nothing else in the machine tells the two apart.

use std::collections::BTreeMap;

use grid_proto::message::{FromClient, Query, Refusal, ToClient, ToWorker};
use grid_proto::{Attempt, ClientId, Key, Priority, WorkerId};

use crate::call::{CallId, Processing, State};
use crate::check::ensure;
use crate::event::Action;
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// The host numbers its connections below it.
const FIRST: u32 = 1 << 31;

/// All calls that are clients.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_call: BTreeMap<CallId, ClientId>,
    by_client: BTreeMap<ClientId, Session>,
    /// Their attempts are over; what they want is dropped at the end of the event, so that no walk
    /// over the graph runs inside of another.
    ended: Vec<ClientId>,
    opened: u32,
}

#[derive(Debug)]
struct Session {
    call: CallId,
    worker: WorkerId,
    key: Key,
    attempt: Attempt,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Whether the number is a call's, though that may have ended.
    pub(crate) fn are_of(client: ClientId) -> bool {
        client.0 >= FIRST
    }

    /// The call that this client is, if it is one.
    pub(crate) fn call_of(&self, client: ClientId) -> Option<CallId> {
        self.by_client.get(&client).map(|session| session.call)
    }

    /// The client that this call is, if it has spoken.
    pub(crate) fn client_of(&self, call: CallId) -> Option<ClientId> {
        self.by_call.get(&call).copied()
    }

    fn open(&mut self, session: Session) -> ClientId {
        let client = loop {
            let client = ClientId(FIRST | self.opened);
            self.opened = self.opened.wrapping_add(1) & !FIRST;
            if !self.by_client.contains_key(&client) && !self.ended.contains(&client) {
                break client;
            }
        };
        self.by_call.insert(session.call, client);
        self.by_client.insert(client, session);
        client
    }
}

impl Scheduler {
    /// A running attempt says something as a client.
    pub(crate) fn on_from_task(
        &mut self,
        worker: WorkerId,
        key: Key,
        attempt: Attempt,
        message: FromClient,
    ) {
        let Some(call) = self.current(worker, key, attempt) else {
            // It would wait for an answer for ever.
            if self.workers.of(worker).is_some() {
                self.fences.pass(&key, attempt);
                self.send_worker(worker, ToWorker::Cancel(vec![(key, attempt)]));
            }
            return;
        };
        if !may_say(&message) {
            // No worker of ours passes it on.
            self.stale_messages += 1;
            return;
        }
        let client = match self.sessions.by_call.get(&call) {
            Some(client) => *client,
            None => {
                let client = self.sessions.open(Session { call, worker, key, attempt });
                self.clients.entry(client).or_default();
                client
            }
        };
        self.on_client(client, message);
    }

    /// An attempt waits for calls of its own or for what is shared and takes no slot, or goes on.
    pub(crate) fn on_waits(&mut self, worker: WorkerId, key: Key, attempt: Attempt, waits: bool) {
        let Some(id) = self.current(worker, key, attempt) else { return };
        let waited = self.workers.of(worker).is_some_and(|worker| worker.waiting.contains(&id));
        let State::Processing(Processing { executing, expected_us, .. }) =
            &mut self.calls[id].state
        else {
            return;
        };
        if waits == waited {
            return;
        }
        let executed = std::mem::replace(executing, !waits);
        // How long it still takes once it goes on, nobody knows.
        let expected_us = std::mem::take(expected_us);
        let now = self.now;
        self.workers.change(worker, |worker| {
            match waits {
                true => worker.waiting.insert(id),
                false => worker.waiting.remove(&id),
            };
            worker.load_us = worker.load_us.saturating_sub(expected_us);
            worker.executing += u32::from(!waits);
            worker.executing -= u32::from(executed);
            worker.progressed(now);
        });
    }

    /// The way of a message to a client; none where it is gone, or a call whose attempt is over.
    pub(crate) fn addressed(&self, client: ClientId, message: ToClient) -> Option<Action> {
        if client.0 < FIRST {
            let known = self.clients.contains_key(&client);
            return known.then_some(Action::ToClient(client, message));
        }
        let Session { worker, key, attempt, .. } = self.sessions.by_client.get(&client)?;
        // Its worker may be gone, and the call not know it yet.
        self.workers.of(*worker)?;
        if matches!(message, ToClient::Output { .. }) {
            // It is for people.
            return None;
        }
        let message = Box::new(message);
        let message = ToWorker::ToTask { key: *key, attempt: *attempt, message };
        Some(Action::ToWorker(*worker, message))
    }

    /// The call's attempt is over.
    pub(crate) fn end_session(&mut self, call: CallId) {
        if self.mutated(Mutation::SessionNotEnded) {
            return;
        }
        if let Some(client) = self.sessions.by_call.remove(&call) {
            self.sessions.by_client.remove(&client);
            self.sessions.ended.push(client);
        }
    }

    /// What calls wanted whose attempts are over goes; that may end further attempts.
    pub(crate) fn drop_ended_sessions(&mut self) {
        while let Some(client) = self.sessions.ended.pop() {
            self.on_client_gone(client);
        }
    }

    /// The priority of the call that this client is, if it is one.
    ///
    /// # Errors
    /// Its calls would be nested too deeply.
    pub(crate) fn parent_priority(&self, client: ClientId) -> Result<Option<Priority>, Refusal> {
        let Some(session) = self.sessions.by_client.get(&client) else {
            return Ok(None);
        };
        let parent = &self.calls[session.call];
        let depth_max = self.config.nesting_max.min(i16::MAX.unsigned_abs().into());
        if u32::from(parent.priority.nesting.unsigned_abs()) >= depth_max {
            let message = format!(
                "`{}` is nested {depth_max} deep, which is the limit: its calls cannot submit \
                 further ones; end the recursion earlier, or raise `--nesting-max` of the scheduler",
                self.tasks.of(parent.task).label,
            );
            return Err(Refusal::BadSubmission { message });
        }
        Ok(Some(parent.priority))
    }

    /// What a call waits for that is shared by name, in words.
    pub(crate) fn awaited_by(&self, call: CallId) -> Option<String> {
        self.awaited_name(*self.sessions.by_call.get(&call)?)
    }

    /// Verifies what holds of sessions.
    pub(crate) fn check_sessions(&self) -> Result<(), String> {
        let Sessions { by_call, by_client, ended, .. } = &self.sessions;
        ensure(ended.is_empty(), "a session has ended and is not dropped")?;
        ensure(by_call.len() == by_client.len(), "sessions are not one for each call")?;
        for (client, session) in by_client {
            ensure(by_call.get(&session.call) == Some(client), "a session is not its call's")?;
            ensure(self.calls.contains(session.call), "a session of a forgotten call")?;
            let call = &self.calls[session.call];
            let by = call.processing().map(|processing| processing.worker);
            let current = by == Some(session.worker)
                && (call.key, call.attempt) == (session.key, session.attempt);
            ensure(current, "a session outlived its attempt")?;
            ensure(self.clients.contains_key(client), "a session is no client")?;
        }
        let own = self.clients.range(ClientId(FIRST)..).count();
        ensure(own == by_client.len(), "a client is left of a session")
    }
}

/// The priority of a call that a call of priority `parent` submits: before all that is younger than
/// the parent, after all that is older. It can lower itself.
pub(crate) fn nested(parent: Priority, own: Priority) -> Priority {
    let user = parent.user.saturating_add(own.user.max(0));
    // Depth first, and siblings in the order of their graph.
    let child = u16::try_from(own.position).unwrap_or(u16::MAX);
    Priority { user, nesting: parent.nesting.saturating_sub(1), child, ..parent }
}

/// What a call may say: it submits, waits and lets go, and finds bundles. The rest is for people
/// and programs outside.
fn may_say(message: &FromClient) -> bool {
    match message {
        FromClient::Submit(_) | FromClient::Release(_) | FromClient::Locate { .. } => true,
        FromClient::Cancel { force, .. } => !force,
        FromClient::Query { query, .. } => matches!(query, Query::Bundle(_)),
        FromClient::Coordinate { .. } | FromClient::Took(_) | FromClient::Abandon(_) => true,
        FromClient::Retry { .. }
        | FromClient::Scatter(_)
        | FromClient::Replicate { .. }
        | FromClient::Rebalance { .. }
        | FromClient::WorkerEnded { .. } => false,
    }
}
