//! What a task says of itself.

use crate::failure::Failure;
use crate::value::Value;

/// A task: what [`macro@crate::task`] makes of a function, as a type of the function's name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "not a task",
    note = "put `#[grid_sdk::task]` on the function of this name"
)]
pub trait Task {
    /// What a finished call gives. For functions that return a `Result` it is the type of `Ok`.
    type Output;

    /// What the bundle says of the task.
    const DESCRIPTION: TaskDescription;

    /// Reads the arguments, runs the function and encodes what it returns.
    #[doc(hidden)]
    fn run(arguments: Vec<Value>) -> Result<Value, Failure>;
}

/// One task of a bundle, as its author wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskDescription {
    /// The function's name.
    pub name: &'static str,
    /// The first paragraph of its documentation.
    pub doc: &'static str,
    /// Its parameters, in order.
    pub parameters: &'static [Parameter],
    /// The type of its result, as written, without spaces.
    pub output: &'static str,
    /// Equal arguments give equal results, so equal calls run once.
    pub pure: bool,
    /// Its instance may stay for further calls.
    pub resident: bool,
    /// How often a failed call is tried again.
    pub retries: u32,
    /// Bytes that one call wants to write into a directory of its own; 0 for none.
    pub scratch_bytes: u64,
    /// Linear memories and tables of one call together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Wall time of one call, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Guest paths of directories and URLs of objects that it wants to read.
    pub reads: &'static [&'static str],
    /// Guest paths of directories and URLs of objects that it wants to write.
    pub writes: &'static [&'static str],
}

/// One parameter of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type as written, without spaces.
    pub shape: &'static str,
    /// The argument is read piece by piece, where the worker keeps it.
    pub lazy: bool,
}
