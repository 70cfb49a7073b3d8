//! Executions that share by name while they run: what the real worker's sessions and slots do.

use grid_proto::coordination::{
    Coordinated, Item, LeaseKind, LeaseOperation, Operation, QueueOperation,
};
use grid_proto::message::{Answer, FromClient};
use grid_proto::{Attempt, Codec, Key, LeaseId, RequestId, Value};

use crate::task::{Kind, lot};
use crate::worker::SimWorker;

/// All users of the queue say the same.
const ITEMS_MAX: u32 = 4;
const LEASES_MAX: u32 = 2;
/// How long one waits for the queue: nobody may ever come.
const WAIT_MS: u64 = 20;

/// What an execution does with what is shared: it waits at a queue, or not, and then for a lease,
/// with which it computes once more.
#[derive(Debug)]
pub(crate) struct Sharing {
    key: Key,
    asked: u64,
    place: (LeaseKind, String),
    lease: Option<LeaseId>,
}

impl Sharing {
    fn of(key: Key) -> Self {
        let kind = match lot(&key, "lease", 0) {
            0..70 => LeaseKind::Lock,
            _ => LeaseKind::Semaphore,
        };
        let name = format!("lease-{}", lot(&key, "name", 0) % 2);
        Self { key, asked: 0, place: (kind, name), lease: None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.lease.is_some()
    }

    fn at_queue(&self) -> Option<Operation> {
        let (items_max, wait_ms) = (ITEMS_MAX, Some(WAIT_MS));
        let operation = match lot(&self.key, "queue", 0) {
            0..35 => {
                let value = Value { codec: Codec::Raw, bytes: self.key.0.to_vec() };
                QueueOperation::Put { item: Item::Value(value), items_max, wait_ms }
            }
            35..70 => QueueOperation::Get { count_max: 2, items_max, wait_ms },
            _ => return None,
        };
        Some(Operation::Queue { name: "queue".to_owned(), operation })
    }

    fn on_lease(&self, operation: LeaseOperation) -> Operation {
        let (kind, name) = self.place.clone();
        Operation::Lease { kind, name, operation }
    }

    /// The next thing that it asks for.
    fn next(&mut self) -> FromClient {
        self.asked += 1;
        let queue = if self.asked == 1 { self.at_queue() } else { None };
        let operation = queue.unwrap_or_else(|| {
            // Nothing is asked for behind it.
            self.asked = 2;
            let leases_max = if self.place.0 == LeaseKind::Lock { 1 } else { LEASES_MAX };
            self.on_lease(LeaseOperation::Acquire { leases_max, lease_ms: None, wait_ms: None })
        });
        FromClient::Coordinate { request: RequestId(self.asked), operation }
    }

    /// What it says about an answer; some do not say that they took what they got.
    fn took(&self, request: RequestId, answer: &Answer) -> Option<FromClient> {
        let items = matches!(answer, Answer::Coordinated(Coordinated::Items(_)));
        (items && lot(&self.key, "takes", 0) < 80).then_some(FromClient::Took(request))
    }

    /// What it says before it ends; half of them leave their lease to the end of the attempt.
    pub(crate) fn last_words(&self) -> Option<FromClient> {
        let lease = self.lease.filter(|_| lot(&self.key, "releases", 0) < 50)?;
        let operation = self.on_lease(LeaseOperation::Release(lease));
        Some(FromClient::Coordinate { request: RequestId(0), operation })
    }
}

impl SimWorker {
    /// A sharer whose own part is done asks for what it shares and gives its slot back. Says whether
    /// this was one.
    pub(crate) fn begins_to_share(&mut self, number: u64) -> bool {
        let Some(executing) = self.executing.get_mut(&number) else { return false };
        let execution = &executing.execution;
        let sharer = Kind::of(&execution.task.name) == Some(Kind::Sharer);
        if !sharer || executing.sharing.is_some() || executing.stopped {
            return false;
        }
        let (key, attempt) = (execution.key, execution.attempt);
        let mut sharing = Sharing::of(key);
        let first = sharing.next();
        executing.sharing = Some(sharing);
        executing.running = false;
        self.agent.on_said(key, attempt, first);
        self.agent.on_waits(key, attempt, true);
        true
    }

    /// An answer for an execution. With its lease it wants its slot again, before others.
    pub(crate) fn on_answered(
        &mut self,
        key: Key,
        attempt: Attempt,
        request: RequestId,
        answer: &Answer,
    ) {
        let asked = self.executing.iter_mut().find(|(_, executing)| {
            (executing.execution.key, executing.execution.attempt) == (key, attempt)
        });
        let Some((number, executing)) = asked else { return };
        let Some(sharing) = &mut executing.sharing else { return };
        if executing.stopped || request.0 != sharing.asked || sharing.is_done() {
            return;
        }
        let took = sharing.took(request, answer);
        let next = match answer {
            Answer::Coordinated(Coordinated::Lease(lease)) => {
                sharing.lease = Some(*lease);
                self.queue.push_front(*number);
                None
            }
            Answer::Coordinated(_) => Some(sharing.next()),
            other => panic!("what is shared was refused: {other:?}"),
        };
        for message in took.into_iter().chain(next) {
            self.agent.on_said(key, attempt, message);
        }
    }
}
