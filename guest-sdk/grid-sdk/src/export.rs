//! What the macros expand to; not for people.

pub use crate::failure::{Failure, Thrown, ThrownBox, ThrownError, ThrownOther, UserError, report};
pub use crate::native::Native;
use crate::task::{Task, TaskDescription};
use crate::value::{FromValue, IntoValue, Value};

/// A bundle, as `bundle!` writes it down.
pub trait Bundle {
    /// The crate's name.
    const NAME: &'static str;
    /// The crate's version.
    const VERSION: &'static str;
    /// Its tasks in the order of their numbers.
    const TASKS: &'static [Entry];
}

/// A task of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it says of itself.
    pub description: &'static TaskDescription,
    /// Runs it.
    pub run: fn(Vec<Value>) -> Result<Value, Failure>,
}

impl Entry {
    /// The entry of a task.
    #[must_use]
    pub const fn of<T: Task>() -> Self {
        Self { description: &T::DESCRIPTION, run: T::run }
    }
}

/// No two tasks have one name.
#[must_use]
pub const fn names_differ(tasks: &[Entry]) -> bool {
    let mut first = 0;
    while first < tasks.len() {
        let mut second = first + 1;
        while second < tasks.len() {
            let names = (tasks[first].description.name, tasks[second].description.name);
            if is_equal(names.0.as_bytes(), names.1.as_bytes()) {
                return false;
            }
            second += 1;
        }
        first += 1;
    }
    true
}

const fn is_equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The arguments of a running call, read one after the other.
#[derive(Debug)]
pub struct Arguments {
    values: std::vec::IntoIter<Value>,
    index: u32,
}

impl Arguments {
    /// Checks the number of arguments.
    ///
    /// # Errors
    /// There are more or fewer than `expected`.
    pub fn new(values: Vec<Value>, expected: u32) -> Result<Self, Failure> {
        if values.len() != expected as usize {
            return Err(Failure::WrongArity(expected));
        }
        Ok(Self { values: values.into_iter(), index: 0 })
    }

    /// Reads the next argument.
    ///
    /// # Errors
    /// It does not fit the parameter.
    pub fn take<T: FromValue>(&mut self, parameter: &'static str) -> Result<T, Failure> {
        let index = self.index;
        self.index += 1;
        let value = self.values.next().expect("the number of arguments was checked");
        T::from_argument(index, value).map_err(|error| Failure::BadArgument {
            index,
            parameter,
            message: error.to_string(),
        })
    }
}

/// Encodes what a function returned.
///
/// # Errors
/// The type's `Serialize` failed, which is its author's error.
pub fn encode<T: IntoValue>(output: T) -> Result<Value, Failure> {
    output.into_value().map_err(|error| {
        let message = "cannot encode the result".to_owned();
        Failure::User(UserError { message, causes: vec![error.to_string()] })
    })
}

#[cfg(target_family = "wasm")]
mod component {
    //! The exports of the component over the entries of the bundle.

    use super::{Bundle, Failure, UserError};
    use crate::bindings::exports::grid::task::tasks as wit;
    use crate::bindings::grid::task::diagnostics;
    use crate::bindings::grid::task::types;
    use crate::task::TaskDescription;
    use crate::value::{Codec, Value};

    const SDK: &str = concat!(env!("CARGO_PKG_NAME"), "@", env!("CARGO_PKG_VERSION"));

    impl<B: Bundle> wit::Guest for B {
        fn describe() -> wit::Bundle {
            wit::Bundle {
                name: B::NAME.to_owned(),
                version: B::VERSION.to_owned(),
                sdk: SDK.to_owned(),
                tasks: B::TASKS.iter().map(|entry| describe(entry.description)).collect(),
            }
        }

        fn run(task: u32, arguments: Vec<types::Value>) -> Result<types::Value, wit::Failure> {
            std::panic::set_hook(Box::new(report_panic));
            crate::grid::set_own_bundle(B::NAME);
            let entry = B::TASKS.get(task as usize).ok_or(wit::Failure::UnknownTask)?;
            let arguments = arguments.into_iter().map(from_wit).collect();
            (entry.run)(arguments).map(into_wit).map_err(failure)
        }
    }

    /// The process aborts after it, which the host sees as a bare `unreachable`.
    fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
        let message = panic.payload_as_str().unwrap_or("a panic without a text");
        let (file, line, column) = panic
            .location()
            .map_or(("", 0, 0), |location| (location.file(), location.line(), location.column()));
        #[cfg(feature = "parquet")]
        if let Some(place) = crate::partitions::reading() {
            let message = format!("{message}; that was {place}, which is broken");
            return diagnostics::panicked(&message, file, line, column);
        }
        diagnostics::panicked(message, file, line, column);
    }

    fn describe(task: &TaskDescription) -> wit::Task {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let parameters = task.parameters.iter().map(|parameter| wit::Parameter {
            name: parameter.name.to_owned(),
            shape: parameter.shape.to_owned(),
            lazy: parameter.lazy,
        });
        wit::Task {
            name: task.name.to_owned(),
            doc: task.doc.to_owned(),
            parameters: parameters.collect(),
            output: task.output.to_owned(),
            pure: task.pure,
            resident: task.resident,
            retries: task.retries,
            scratch_bytes: task.scratch_bytes,
            limits: wit::Limits { memory_bytes: task.memory_bytes, timeout_ms: task.timeout_ms },
            reads: texts(task.reads),
            writes: texts(task.writes),
        }
    }

    fn from_wit(value: types::Value) -> Value {
        let codec = match value.codec {
            types::Codec::Msgpack => Codec::Msgpack,
            types::Codec::Raw => Codec::Raw,
            types::Codec::Arrow => Codec::Arrow,
        };
        Value { codec, bytes: value.bytes }
    }

    fn into_wit(value: Value) -> types::Value {
        let codec = match value.codec {
            Codec::Msgpack => types::Codec::Msgpack,
            Codec::Raw => types::Codec::Raw,
            Codec::Arrow => types::Codec::Arrow,
        };
        types::Value { codec, bytes: value.bytes }
    }

    fn failure(failure: Failure) -> wit::Failure {
        match failure {
            Failure::User(UserError { message, causes }) => {
                wit::Failure::User(wit::UserError { message, causes })
            }
            Failure::BadArgument { index, parameter, message } => {
                let parameter = parameter.to_owned();
                wit::Failure::BadArgument(wit::BadArgument { index, parameter, message })
            }
            Failure::WrongArity(expected) => wit::Failure::WrongArity(expected),
            Failure::UnknownTask => wit::Failure::UnknownTask,
        }
    }
}
