//! What an attempt shares by name with others, through its line to the scheduler.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use grid_proto::coordination::{
    Coordinated, DatasetOperation, Item, LeaseKind, LeaseOperation, Operation, QueueOperation,
    VariableOperation,
};
use grid_proto::limits::NESTED_CALLS_MAX;
use grid_proto::message::{Answer, FromClient, Refusal};
use grid_proto::{Key, LeaseId, RequestId};
use grid_sandbox::GridError;

use super::{Said, Session};

/// An answer that comes within this is waited for on the slot: what is free is had without giving the
/// slot away and taking another.
const LOOK: Duration = Duration::from_millis(2);
/// The request of what nobody waits for; those that are waited for count from 1.
const UNASKED: RequestId = RequestId(0);

/// A lock or a semaphore.
type Place = (LeaseKind, String);

/// The leases of an attempt; the scheduler bounds their number.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    held: BTreeMap<LeaseId, Place>,
    /// Given back, and not yet told.
    ended: Vec<Ended>,
}

/// A lease that was given back.
#[derive(Debug)]
pub(crate) struct Ended(LeaseId, Place);

impl Leases {
    fn end(&mut self, id: LeaseId) {
        // One that is unknown was another attempt's: an actor may remember it.
        if let Some(place) = self.held.remove(&id) {
            self.ended.push(Ended(id, place));
        }
    }

    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }
}

impl From<Ended> for FromClient {
    fn from(Ended(id, (kind, name)): Ended) -> Self {
        let operation = Operation::Lease { kind, name, operation: LeaseOperation::Release(id) };
        Self::Coordinate { request: UNASKED, operation }
    }
}

impl Session {
    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn carry_out(&self, operation: Operation) -> Result<Coordinated, GridError> {
        self.children().check_held(shared_by(&operation))?;
        let place = place_of(&operation);
        let request = self.children().next_request();
        self.tell(FromClient::Coordinate { request, operation }).await?;
        match (self.answer(request).await?, place) {
            (Answer::Coordinated(Coordinated::Lease(id)), Some(place)) => {
                self.leases().held.insert(id, place);
                Ok(Coordinated::Lease(id))
            }
            (Answer::Coordinated(Coordinated::Items(items)), _) => {
                self.take_over(request, items).await
            }
            (Answer::Coordinated(given), _) => Ok(given),
            (Answer::Refused(refusal), _) => Err(why(&refusal)),
            _ => Err(GridError::Unavailable("the scheduler answered something else".to_owned())),
        }
    }

    /// Waits for an answer, aside if it takes its time.
    async fn answer(&self, request: RequestId) -> Result<Answer, GridError> {
        let answer = || self.until(move |children| children.answers.remove(&request));
        if let Ok(answer) = tokio::time::timeout(LOOK, answer()).await {
            return Ok(answer);
        }
        let Err(refused) = self.seats.suspend(self.call()) else {
            return self.suspended(answer()).await;
        };
        // Nothing is lost: what came meanwhile is taken, but for items, which are handed back.
        self.tell(FromClient::Abandon(request)).await?;
        match answer().await {
            Answer::Coordinated(Coordinated::TimedOut | Coordinated::Items(_)) => {
                Err(GridError::OverLimit(refused))
            }
            answer => Ok(answer),
        }
    }

    /// Holds the calls among the items as if it had submitted them, and says that it has all.
    async fn take_over(
        &self,
        request: RequestId,
        items: Vec<Item>,
    ) -> Result<Coordinated, GridError> {
        let call = |item: &Item| match item {
            Item::Call(key) => Some(*key),
            Item::Value(_) => None,
        };
        let keys: Vec<_> = items.iter().filter_map(call).collect();
        let held = self.children().in_use().0;
        if held + keys.len() > NESTED_CALLS_MAX {
            self.tell(FromClient::Abandon(request)).await?;
            return Err(GridError::OverLimit(format!(
                "a call may hold {NESTED_CALLS_MAX} calls at a time: this one has {held}, and here \
                 are {} more; let go of some first, or share the result of a call that joins them",
                keys.len()
            )));
        }
        // Before it is told how they stand.
        self.children().hold(&keys, 0);
        self.tell(FromClient::Took(request)).await?;
        Ok(Coordinated::Items(items))
    }

    pub(super) fn release_lease(&self, id: LeaseId) {
        let mut leases = self.leases();
        leases.end(id);
        let mut ended = leases.take_ended().into_iter();
        while let Some(Ended(id, place)) = ended.next() {
            let release = Ended(id, place.clone()).into();
            if self.line.try_send(Said::Grid(self.key, self.attempt, release)).is_err() {
                // They go with what is said next, or with the attempt's end.
                leases.ended.push(Ended(id, place));
                leases.ended.extend(ended);
                return;
            }
        }
    }
}

/// Calls that an operation names: they have to be the attempt's own.
fn shared_by(operation: &Operation) -> &[Key] {
    match operation {
        Operation::Dataset { operation: DatasetOperation::Publish { keys, .. }, .. } => keys,
        Operation::Variable { operation: VariableOperation::Set(item), .. }
        | Operation::Queue { operation: QueueOperation::Put { item, .. }, .. } => match item {
            Item::Call(key) => std::slice::from_ref(key),
            Item::Value(_) => &[],
        },
        Operation::List(_)
        | Operation::Describe { .. }
        | Operation::Dataset { .. }
        | Operation::Variable { .. }
        | Operation::Queue { .. }
        | Operation::Lease { .. }
        | Operation::Event { .. }
        | Operation::Topic { .. } => &[],
    }
}

fn place_of(operation: &Operation) -> Option<Place> {
    match operation {
        Operation::Lease { kind, name, .. } => Some((*kind, name.clone())),
        _ => None,
    }
}

fn why(refusal: &Refusal) -> GridError {
    let message = refusal.to_string();
    match refusal {
        Refusal::OverBound { .. } => GridError::OverLimit(message),
        Refusal::Unavailable { .. } => GridError::Unavailable(message),
        _ => GridError::Refused(message),
    }
}
