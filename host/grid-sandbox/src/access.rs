//! What a running call may do with the grid and with its worker. The sandbox knows neither: whoever
//! runs it hands them in.

use std::pin::Pin;
use std::sync::Arc;

use grid_proto::coordination::{Coordinated, Operation};
use grid_proto::{CallOptions, Codec, Failure, Key, LeaseId, Value};

/// An answer that may take its time. The slot's thread waits for it, no longer than the call may.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, GridError>> + Send + 'a>>;

/// A call that a running call submits.
#[derive(Clone, PartialEq, Debug)]
pub struct NestedCall {
    /// `name` or `name@version`; `None` is the bundle of the running call.
    pub bundle: Option<String>,
    /// The task.
    pub task: String,
    /// The arguments.
    pub args: Vec<NestedArg>,
    /// Equal arguments give equal results.
    pub pure: bool,
    /// What the caller says about it.
    pub options: CallOptions,
}

/// An argument of such a call.
#[derive(Clone, PartialEq, Debug)]
pub enum NestedArg {
    /// The value itself.
    Value(Value),
    /// The result of a call that was submitted before.
    Key(Key),
    /// The result of an earlier call of the same submission, by position.
    Call(u32),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Debug)]
pub enum GridError {
    /// The call has no result.
    Failed(Box<Failure>),
    /// The submission breaks a rule; which, and what to do.
    Refused(String),
    /// A bound of this worker; which, and what to do.
    OverLimit(String),
    /// There is no grid to ask.
    Unavailable(String),
}

/// The grid as a running call sees it: it is a client, until it ends.
pub trait GridAccess: Send + Sync {
    /// Submits calls, inputs before their readers; gives the keys of those at these positions.
    fn submit(&self, calls: Vec<NestedCall>, wanted: Vec<u32>) -> Answer<'_, Vec<Key>>;

    /// Waits until one of these calls has ended, or with `all` each of them. Gives the position of
    /// the first that has.
    fn wait(&self, keys: Vec<Key>, all: bool) -> Answer<'_, u32>;

    /// Waits for a call and gives its result.
    fn fetch(&self, key: Key) -> Answer<'_, Value>;

    /// Lets go of calls, once for each time that their key was given.
    fn release(&self, keys: Vec<Key>);

    /// Does something with what is shared by name; waits as long as the operation says. Calls among
    /// the items that it gives are held, as those that [`Self::submit`] gave.
    fn coordinate(&self, operation: Operation) -> Answer<'_, Coordinated>;

    /// Gives a lease of this call back.
    fn end_lease(&self, lease: LeaseId);
}

/// Bytes of a value that stays on a worker; copied once, into the guest.
pub type LocalBytes = Arc<Vec<u8>>;

/// Why a value does not stay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalError {
    /// It is larger than this worker keeps; what the bound is.
    OverLimit(String),
}

/// What the calls of one bundle keep on their worker. Nothing here waits for anybody: it is memory.
pub trait LocalAccess: Send + Sync {
    /// The value under this key.
    fn get(&self, key: &str) -> Option<LocalBytes>;

    /// Keeps a value unless there is one, which it gives then.
    ///
    /// # Errors
    /// It is larger than what is kept here.
    fn put_if_absent(&self, key: &str, bytes: Vec<u8>) -> Result<Option<LocalBytes>, LocalError>;

    /// Takes the value away.
    fn take(&self, key: &str) -> Option<LocalBytes>;
}

/// Why the bytes of an object are not read, or not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectError {
    /// It breaks a rule; which.
    Refused(String),
    /// The result is larger than it may be; what the bound is.
    OverLimit(String),
    /// It cannot be kept here; what the disk says.
    Unavailable(String),
    /// An input cannot be read any more: the attempt ends, for no fault of its own.
    Lost,
}

/// What a call reads and writes piece by piece. May wait for a disk, on the slot's thread.
pub trait ObjectAccess: Send + Sync {
    /// How to read the argument at this position, and its bytes in number; `None` if it came with the
    /// call, or there is none.
    fn argument(&self, position: u32) -> Option<(Codec, u64)>;

    /// Reads from `offset` on, into all of `buffer` unless the argument ends before.
    ///
    /// # Errors
    /// [`ObjectError::Lost`].
    fn read(&self, position: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, ObjectError>;

    /// Begins the result.
    ///
    /// # Errors
    /// It was begun before.
    fn begin(&self, codec: Codec) -> Result<(), ObjectError>;

    /// Adds to the result.
    ///
    /// # Errors
    /// It is larger than it may be, or cannot be kept.
    fn write(&self, bytes: &[u8]) -> Result<(), ObjectError>;

    /// The result is whole.
    ///
    /// # Errors
    /// It cannot be kept.
    fn finish(&self) -> Result<(), ObjectError>;

    /// The guest has dropped a result that is not whole.
    fn abandon(&self);
}
