//! The messages between neighbours. One type each way between client and scheduler, and between
//! scheduler and worker; small request and answer types for bulk streams.
//!
//! A link carries batches: `Vec<FromClient>` and so on, one frame a batch.

use rkyv::{Archive, Deserialize, Serialize};

use crate::bundle::{BundleDescription, TaskLimits};
use crate::call::{Amount, Arg, CallSpec, Instance, Priority, TaskRef};
use crate::coordination::{Coordinated, Operation, TopicMessage};
use crate::data::{Holding, Home, Scattering, Whereabouts};
use crate::failure::Failure;
use crate::id::{Attempt, BundleHash, ClientId, Key, RequestId, TaskId, WorkerId};
use crate::report::{
    BundleInfo, CallInfo, GridStatus, MemoryUse, QuarantineInfo, Spent, StoryStep, TaskCounts,
    WorkerInfo,
};
use crate::value::{ObjectMeta, Value, Version};

pub use crate::bulk::{BulkHeader, BulkRequest};
pub use crate::refusal::Refusal;

/// Output of a call that is told to whoever wants its result; the rest stays where it ran.
pub const OUTPUT_TOLD_BYTES_MAX: usize = 8 << 10;

// ---- client and scheduler ------------------------------------------------------------------

/// From a client to the scheduler.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum FromClient {
    /// New calls.
    Submit(Submission),
    /// Run these failed calls again, from the calls whose failure is theirs; answered by `Retried`.
    /// At most [`RETRY_KEYS_MAX`](crate::limits::RETRY_KEYS_MAX) of them.
    Retry {
        /// Comes back with the answer.
        request: RequestId,
        /// The calls.
        keys: Vec<Key>,
    },
    /// Something with what is shared by name; answered by `Coordinated`, at once or when the wait
    /// is over.
    Coordinate {
        /// Comes back with the answer.
        request: RequestId,
        /// What to do.
        operation: Operation,
    },
    /// The client has the items of the answer to this request and holds futures on their calls.
    Took(RequestId),
    /// The client neither waits for an answer to this request nor wants its items any more.
    Abandon(RequestId),
    /// The client brings values; answered by `Scattered`.
    Scatter(Scattering),
    /// Have so many copies of these objects until they are released; answered by `Replicated`, when
    /// there are as many as can be.
    Replicate {
        /// Comes back with the answer.
        request: RequestId,
        /// At most [`ITEMS_MAX`](crate::data::ITEMS_MAX).
        keys: Vec<Key>,
        /// Workers that shall have each, at least one; `u32::MAX` for all.
        copies: u32,
        /// Names of workers, hosts or labels that may take copies; empty for all.
        to: Vec<String>,
    },
    /// Move objects so that workers hold about equally many bytes; answered by `Rebalanced`.
    Rebalance {
        /// Comes back with the answer.
        request: RequestId,
        /// Only these, at most [`ITEMS_MAX`](crate::data::ITEMS_MAX); empty for all.
        keys: Vec<Key>,
        /// Names of workers, hosts or labels among which they move; empty for all.
        to: Vec<String>,
    },
    /// The client's last future on each of these is gone.
    Release(Vec<Key>),
    /// Drop this client's interest, or with `force` everybody's; what nobody wants then is stopped.
    Cancel {
        /// Which calls.
        keys: Vec<Key>,
        /// Everybody's interest.
        force: bool,
    },
    /// Tell where these results are once more: fetching from the places told before failed.
    Locate {
        /// Which results.
        keys: Vec<Key>,
        /// Workers that did not answer or did not have them.
        failed: Vec<(Key, WorkerId)>,
    },
    /// The process of the worker of this name has ended: told by whoever started it, sooner than
    /// its silence would tell.
    WorkerEnded {
        /// Its name.
        name: String,
        /// Why, as far as that is known.
        why: String,
    },
    /// A question.
    Query {
        /// Comes back with the answer.
        request: RequestId,
        /// What is asked.
        query: Query,
    },
}

/// Calls that belong together, dependencies before dependents.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub struct Submission {
    /// Comes back when the submission is refused.
    pub request: RequestId,
    /// The tasks that the calls name by position; pieces of one submission join their tables.
    pub tasks: Vec<TaskRef>,
    /// The calls.
    pub calls: Vec<CallSpec>,
    /// Keys on which the client holds futures: of these calls, or of calls that the grid knows.
    pub wanted: Vec<Key>,
    /// Calls that run to their end whether or not anybody holds a future on them.
    pub detached: Vec<Key>,
    /// Another piece of the same submission follows; it is judged when the last piece is there.
    pub more: bool,
}

/// A question about the grid.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// Everything at a glance.
    Status,
    /// The workers.
    Workers,
    /// Counters by task.
    Counts,
    /// Calls that begin with this many hexadecimal digits, in this state; at most `count_max`.
    Calls {
        /// Prefix of the key; empty for all.
        prefix: String,
        /// Only this state.
        state: Option<String>,
        /// At most this many.
        count_max: u32,
    },
    /// What happened to calls that begin with this many hexadecimal digits.
    Story {
        /// Prefix of the key, at least four digits.
        prefix: String,
    },
    /// Where these objects are; at most [`ITEMS_MAX`](crate::data::ITEMS_MAX).
    WhoHas(Vec<Key>),
    /// What a worker has, or each of them.
    HasWhat {
        /// Its name; none for all.
        worker: Option<String>,
        /// List at most so many objects of each.
        count_max: u32,
    },
    /// From now on this worker offers these abstract resources. Answered by the workers.
    SetResources {
        /// Its name.
        worker: String,
        /// By name.
        resources: Vec<(String, Amount)>,
    },
    /// The tasks that are refused.
    Quarantine,
    /// Take this task, `bundle@version:task`, out of quarantine, or all.
    ClearQuarantine {
        /// Which; all if none is named.
        task: Option<String>,
    },
    /// The bundles.
    Bundles,
    /// The bundle of this hash, unambiguous prefix of a hash, `name` (newest deployed) or
    /// `name@version`.
    Bundle(String),
    /// The grid has the bytes: check them and let the name point to them.
    Deploy {
        /// Which bundle.
        hash: BundleHash,
        /// Let the name move from another bundle to this one.
        replace: bool,
    },
}

/// From the scheduler to a client.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum ToClient {
    /// A submission was accepted; its calls exist.
    Accepted(RequestId),
    /// A submission was not accepted; none of its calls exist because of it.
    Refused {
        /// Which.
        request: RequestId,
        /// Why, in words that say what to do.
        error: Refusal,
    },
    /// A result that this client wants is ready, or is somewhere else now.
    Ready {
        /// Whose.
        key: Key,
        /// What it is.
        meta: ObjectMeta,
        /// Where it is.
        holders: Vec<Holder>,
        /// The result itself, if it is small.
        inline: Option<Value>,
    },
    /// What a call that this client wants wrote; before its `Ready`.
    Output {
        /// Which.
        key: Key,
        /// The end of what it wrote.
        text: String,
    },
    /// A call that this client wants has no result.
    Failed {
        /// Which.
        key: Key,
        /// Why.
        failure: Failure,
    },
    /// Calls that this client wants had failed and run again.
    Again(Vec<Key>),
    /// A message of a topic to which this client has subscribed.
    Topic {
        /// Which.
        name: String,
        /// The message.
        message: TopicMessage,
    },
    /// An answer.
    Answer {
        /// To which question.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
}

/// A worker that has a replica.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub worker: WorkerId,
    /// Where it listens.
    pub address: String,
}

/// An answer to a question or an operation.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Answer {
    /// To `Status`.
    Status(GridStatus),
    /// To `Workers`.
    Workers(Vec<WorkerInfo>),
    /// To `Counts`.
    Counts(Vec<TaskCounts>),
    /// To `Calls`.
    Calls(Vec<CallInfo>),
    /// To `Story`, oldest first.
    Story(Vec<StoryStep>),
    /// To `Quarantine`.
    Quarantine(Vec<QuarantineInfo>),
    /// To `ClearQuarantine`: how many tasks were in it.
    Cleared(u32),
    /// To `Bundles`.
    Bundles(Vec<BundleInfo>),
    /// To `Bundle` and `Deploy`.
    Bundle(BundleInfo),
    /// To `Coordinate`.
    Coordinated(Coordinated),
    /// To `Retry`: the calls that start over.
    Retried(Vec<Key>),
    /// To `Scatter`: where each value goes, in order.
    Scattered(Vec<Home>),
    /// To `Replicate`: how many copies there are of each, in order.
    Replicated(Vec<u32>),
    /// To `Rebalance`: what has moved.
    Rebalanced {
        /// How many objects.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// To `WhoHas`, in order.
    WhoHas(Vec<Whereabouts>),
    /// To `HasWhat`, by name.
    HasWhat(Vec<Holding>),
    /// To anything.
    Refused(Refusal),
}

// ---- scheduler and worker ------------------------------------------------------------------

/// From a worker to the scheduler.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum FromWorker {
    /// First on every connection.
    Register(Registration),
    /// Attempts that began to execute and are still at it.
    Started(Vec<(Key, Attempt)>),
    /// An attempt ended.
    Finished {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
        /// What it used.
        spent: Spent,
    },
    /// What an attempt that gives a result wrote to standard output and standard error, as people
    /// may read it; before its `Finished`. A failure carries its last lines itself.
    Output {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// The end of what it wrote, at most [`OUTPUT_TOLD_BYTES_MAX`].
        text: String,
    },
    /// An attempt could not get its inputs from anywhere it was told.
    MissingInputs {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// Input, and the worker that did not have it or did not answer.
        missing: Vec<(Key, WorkerId)>,
    },
    /// Copies that were fetched, or brought by a client, and are kept.
    Holds(Vec<(Key, Version)>),
    /// What a bundle says of itself, or why it cannot run.
    Inspected {
        /// Which.
        bundle: BundleHash,
        /// Its description.
        result: Result<BundleDescription, String>,
    },
    /// A call in a sandbox says something as if it were a client: it submits calls, waits for
    /// them, coordinates. What it wants is dropped when the attempt ends.
    FromTask {
        /// The call that speaks.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// What it says.
        message: Box<FromClient>,
    },
    /// An attempt has begun to wait, for calls of its own or for what is shared, and has given its
    /// slot back, or goes on.
    Waits {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// It waits from now on; else it computes again.
        waits: bool,
    },
    /// An attempt was given back before it began to execute.
    Withdrawn {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
    },
    /// An actor is gone, with what it knew; before the `Finished` of the method that was its end.
    ActorLost {
        /// The call that made it.
        key: Key,
        /// Why.
        why: String,
    },
    /// Copies that it was asked to acquire and could not get from anywhere.
    NotAcquired(Vec<Key>),
    /// What it does not hold: of what it was asked to confirm, or of what it held and has lost.
    Missing(Vec<Key>),
    /// Sent at intervals; silence means death.
    Heartbeat {
        /// Resident memory of the process.
        resident_bytes: u64,
        /// Open descriptors of the process.
        descriptors: u32,
        /// Bytes fetched from other workers since the last heartbeat,
        fetched_bytes: u64,
        /// and the time that this took, as a sum over the fetches.
        fetching_us: u64,
        /// What its counted memory holds.
        memory: MemoryUse,
    },
    /// Its memory is nearly full: it takes no calls and fetches nothing from now on, and has given
    /// back what had not begun; or it takes calls again.
    Paused(bool),
    /// The worker is about to stop of its own will.
    Leaving,
}

/// What a worker says when it connects.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Its name, unique in the grid.
    pub name: String,
    /// Where peers and clients reach it.
    pub address: String,
    /// Its process.
    pub pid: u32,
    /// The host that it runs on.
    pub host: String,
    /// What else calls may name to be placed here.
    pub labels: Vec<String>,
    /// What calls may take of it, by name.
    pub resources: Vec<(String, Amount)>,
    /// Bytes that its inputs and results may hold; `u64::MAX` without a limit.
    pub memory_bytes: u64,
    /// Bytes that one object may have there, in memory or on disk.
    pub object_bytes: u64,
    /// Calls that it runs at a time.
    pub slots: u32,
    /// Results that it holds from an earlier connection.
    pub holds: Vec<(Key, ObjectMeta)>,
    /// Attempts that it has in hand from an earlier connection.
    pub in_hand: Vec<(Key, Attempt)>,
}

/// How an attempt ended.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The result is in this worker's store.
    Memory {
        /// What it is.
        meta: ObjectMeta,
        /// The result itself, if it is small.
        inline: Option<Value>,
    },
    /// No result.
    Failed(Failure),
    /// It asked to run again, on another worker if there is one.
    Reschedule,
}

/// From the scheduler to a worker.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub enum ToWorker {
    /// The scheduler's number for this worker.
    Welcome(WorkerId),
    /// Tasks that later messages name by number.
    Define(Vec<TaskDefinition>),
    /// Where these workers listen.
    Peers(Vec<Holder>),
    /// These workers are no longer there; whatever they were asked for comes from elsewhere.
    PeersGone(Vec<WorkerId>),
    /// Calls to execute.
    Run(Vec<Assignment>),
    /// Attempts to stop, or to forget if they have not begun.
    Cancel(Vec<(Key, Attempt)>),
    /// Attempts to give back if they have not begun to execute; answered by `Withdrawn`, or by
    /// the attempt's end.
    Withdraw(Vec<(Key, Attempt)>),
    /// The scheduler answers a call that speaks as a client.
    ToTask {
        /// The call.
        key: Key,
        /// The try.
        attempt: Attempt,
        /// The answer or the news.
        message: Box<ToClient>,
    },
    /// Objects that nobody wants any more.
    Free {
        /// Which.
        keys: Vec<Key>,
        /// How many `Holds` of this connection had been heard when that was decided. An object that a
        /// later one names stays: the scheduler will count on it when it hears that.
        heard: u64,
    },
    /// Objects to fetch and keep, each with the workers that have it in order of preference;
    /// answered by `Holds` or `NotAcquired`.
    Acquire(Vec<(Key, Vec<WorkerId>)>),
    /// Check a bundle and say what it describes.
    Inspect(BundleHash),
    /// Results that somebody could not read from this worker; answered by `Missing` if it does not
    /// hold all of them.
    Confirm(Vec<Key>),
}

/// A task as workers need it.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct TaskDefinition {
    /// The scheduler's number.
    pub id: TaskId,
    /// The bundle.
    pub bundle: BundleHash,
    /// The bundle's name, for grants and messages.
    pub bundle_name: String,
    /// The task's position in the bundle.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Limits that its author asks for.
    pub limits: TaskLimits,
    /// Its instance may stay for further calls on behalf of the same client.
    pub resident: bool,
    /// Positions of the arguments that it reads piece by piece, in their order.
    pub lazy: Vec<u32>,
    /// Bytes that it wants to write into a directory of its own; 0 for none.
    pub scratch_bytes: u64,
    /// Guest directories that it reads.
    pub reads: Vec<String>,
    /// Guest directories that it writes.
    pub writes: Vec<String>,
}

/// One call for a worker to execute.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Assignment {
    /// The call.
    pub key: Key,
    /// The try.
    pub attempt: Attempt,
    /// The task.
    pub task: TaskId,
    /// The order among this worker's calls.
    pub priority: Priority,
    /// The arguments.
    pub args: Vec<Arg>,
    /// Where each input that this worker lacks can be had; several workers in order of preference.
    pub inputs: Vec<(Key, Vec<WorkerId>)>,
    /// Limits that the caller asks for.
    pub limits: TaskLimits,
    /// The instance of its bundle that it runs in; an actor's is on this worker.
    pub instance: Instance,
    /// For whom a resident task runs; without, nothing of its instance stays. Means something on this
    /// connection only.
    pub client: Option<ClientId>,
}
