//! What a bundle says of itself.

use rkyv::{Archive, Deserialize, Serialize};

use crate::shape;
use crate::value::Value;

/// A bundle as its author describes it (`describe` in `wit/tasks.wit`).
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug,
)]
pub struct BundleDescription {
    /// The name that people use; `name@version` points to one bundle.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// The SDK that built it, `name@version`.
    pub sdk: String,
    /// The tasks; a task's position here is its number in `run`.
    pub tasks: Vec<TaskDescription>,
    /// The component's imports, sorted: what it could possibly use.
    pub imports: Vec<String>,
}

/// One task of a bundle.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug,
)]
pub struct TaskDescription {
    /// The function's name.
    pub name: String,
    /// The first paragraph of its documentation.
    pub doc: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The type of its result, as the author wrote it.
    pub output: String,
    /// Equal arguments give equal results.
    pub pure: bool,
    /// Its instance may stay for further calls on behalf of the same client.
    pub resident: bool,
    /// How often a failed call is tried again.
    pub retries: u32,
    /// Bytes that it wants to write into a directory of its own; 0 for none.
    pub scratch_bytes: u64,
    /// Limits that the author asks for.
    pub limits: TaskLimits,
    /// Guest paths of directories it wants to read.
    pub reads: Vec<String>,
    /// Guest paths of directories it wants to write.
    pub writes: Vec<String>,
}

/// One parameter of a task.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, serde::Deserialize, Clone, PartialEq, Debug,
)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type as the author wrote it; see [`shape`].
    pub shape: String,
    /// The task reads the argument piece by piece, where the worker keeps it.
    pub lazy: bool,
}

/// Limits that an author or a caller asks for; the operator's bounds win.
#[derive(
    Archive,
    Serialize,
    Deserialize,
    serde::Serialize,
    serde::Deserialize,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Default,
)]
pub struct TaskLimits {
    /// Linear memories and tables of one call together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Wall time of one call, in milliseconds.
    pub timeout_ms: Option<u64>,
}

impl BundleDescription {
    /// `name@version`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The task of this name and its number.
    #[must_use]
    pub fn task(&self, name: &str) -> Option<(u32, &TaskDescription)> {
        let position = self.tasks.iter().position(|task| task.name == name)?;
        Some((u32::try_from(position).ok()?, &self.tasks[position]))
    }
}

impl TaskDescription {
    /// Says what is wrong with the arguments as far as that can be seen from outside: their number
    /// and the outermost form of each. `None` stands for an argument whose value is not known yet.
    ///
    /// # Errors
    /// A sentence that names the parameter, what it takes and what it got.
    pub fn check_arguments<'a>(
        &self,
        arguments: impl ExactSizeIterator<Item = Option<&'a Value>>,
    ) -> Result<(), String> {
        if arguments.len() != self.parameters.len() {
            return Err(format!(
                "`{}` takes {} ({}), not {}",
                self.name,
                count(self.parameters.len(), "argument"),
                self.signature(),
                arguments.len(),
            ));
        }
        for (position, (argument, parameter)) in arguments.zip(&self.parameters).enumerate() {
            let Some(value) = argument else { continue };
            if let Err(got) = shape::check(&parameter.shape, value) {
                return Err(format!(
                    "argument {position} of `{}`, `{}`, takes `{}`, not {got}",
                    self.name, parameter.name, parameter.shape,
                ));
            }
        }
        Ok(())
    }

    /// Positions of the arguments that the task reads piece by piece, in their order.
    #[must_use]
    pub fn lazy(&self) -> Vec<u32> {
        let lazy = (0..).zip(&self.parameters).filter(|(_, parameter)| parameter.lazy);
        lazy.map(|(position, _)| position).collect()
    }

    /// `name: type, ...`, as in the source.
    #[must_use]
    pub fn signature(&self) -> String {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|parameter| format!("{}: {}", parameter.name, parameter.shape))
            .collect();
        parameters.join(", ")
    }
}

fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
