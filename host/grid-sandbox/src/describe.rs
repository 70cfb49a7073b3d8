//! Asking a bundle what it is, and not believing more than can be used.

use std::sync::Arc;
use std::time::Instant;

use grid_proto::{Attempt, BundleDescription, Failure, Key, TaskDescription, limits};

use crate::bundle::Bundle;
use crate::call::{CallInfo, Sandbox, bounded};
use crate::classify;
use crate::contract::DescribeResults;
use crate::engine::Engine;
use crate::error::BundleError;
use crate::limiter::MemoryLimiter;
use crate::output::Output;
use crate::state::CallState;
use crate::stop::{CancelToken, Stop};

/// Wall time of `describe`, which has nothing to compute.
const DESCRIBE_MS_MAX: u64 = 10_000;
/// Bytes of a description.
const DESCRIPTION_BYTES_MAX: usize = 4 << 20;
/// Tasks of a bundle.
const TASKS_MAX: usize = 1000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;
/// Directories that a task may ask for.
const DIRECTORIES_MAX: usize = 16;

impl Engine {
    /// Asks a bundle to describe itself, in an instance of its own without grants.
    ///
    /// # Errors
    /// [`BundleError::BadDescription`] when it traps, or has no tasks, two of one name, or names
    /// that could not be typed or shown.
    pub fn describe(&self, bundle: &Bundle) -> Result<BundleDescription, BundleError> {
        let bad = |failure: Failure| BundleError::BadDescription(failure.to_string());
        let mut limits = self.bounds().default;
        limits.wall_ms_max = limits.wall_ms_max.min(DESCRIBE_MS_MAX);
        let stop = Stop::new(Instant::now(), limits.wall_ms_max, CancelToken::new());
        let _place =
            self.gate().enter(&stop).map_err(|stopped| bad(classify::stopped(stopped, &limits)))?;
        let info = CallInfo {
            key: Key([0; 32]),
            task: Arc::from(""),
            attempt: Attempt(0),
            worker: Arc::from(""),
        };
        let output = Output::new(limits.output_bytes_max);
        let memory = MemoryLimiter::new(limits.memory_bytes_max, self.held_memory().clone());
        let state = CallState::new(info, stop, memory, output, None);
        let mut sandbox = Sandbox::new(self, state, DESCRIPTION_BYTES_MAX);
        let described = sandbox.enter(bundle, None, |store, instance| {
            let export = bundle.describe_export();
            instance.get_typed_func::<(), DescribeResults>(&mut *store, export)?.call(store, ())
        });
        let (description,) = described.map_err(|error| {
            bad(classify::failure(&error, &mut sandbox.store, &limits, bundle.symbols()))
        })?;
        let mut description = BundleDescription::from(description);
        description.imports = bundle.imports().to_vec();
        check(&mut description).map_err(BundleError::BadDescription)?;
        Ok(description)
    }
}

/// Refuses what cannot be used and cuts what is only shown.
fn check(description: &mut BundleDescription) -> Result<(), String> {
    check_name("bundle", &description.name)?;
    check_name("version", &description.version)?;
    description.sdk = bounded(&description.sdk);
    if description.tasks.is_empty() {
        return Err("it has no tasks; mark a function with `#[grid_sdk::task]`".into());
    }
    if description.tasks.len() > TASKS_MAX {
        return Err(format!("it has {} tasks, the limit is {TASKS_MAX}", description.tasks.len()));
    }
    let mut names: Vec<_> = description.tasks.iter().map(|task| task.name.clone()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("it has two tasks named `{}`", bounded(&pair[0])));
    }
    let reads = description.imports.iter().any(|import| import.starts_with("grid:task/objects@"));
    let lazy = |task: &TaskDescription| task.parameters.iter().any(|parameter| parameter.lazy);
    if let Some(task) = description.tasks.iter().find(|task| !reads && lazy(task)) {
        let name = bounded(&task.name);
        return Err(format!(
            "a parameter of `{name}` is lazy, and the bundle does not import `grid:task/objects`, by which \
             it would be read"
        ));
    }
    description.tasks.iter_mut().try_for_each(check_task)
}

fn check_task(task: &mut TaskDescription) -> Result<(), String> {
    check_name("task", &task.name)?;
    let over = |what: &str, number: usize, limit: usize| {
        Err(format!("the task `{}` has {number} {what}, the limit is {limit}", task.name))
    };
    if task.parameters.len() > limits::ARGUMENTS_MAX {
        return over("parameters", task.parameters.len(), limits::ARGUMENTS_MAX);
    }
    let directories = task.reads.len() + task.writes.len();
    if directories > DIRECTORIES_MAX {
        return over("directories", directories, DIRECTORIES_MAX);
    }
    if task.resident && task.scratch_bytes > 0 {
        return Err(format!(
            "the task `{}` is resident and wants a scratch directory, which ends with the call",
            task.name
        ));
    }
    for parameter in &mut task.parameters {
        parameter.name = bounded(&parameter.name);
        parameter.shape = bounded(&parameter.shape);
    }
    for path in task.reads.iter_mut().chain(&mut task.writes) {
        *path = bounded(path);
    }
    task.doc = bounded(&task.doc);
    task.output = bounded(&task.output);
    Ok(())
}

/// Names are typed in shells and shown in tables, and `:` and `@` separate them.
fn check_name(what: &str, name: &str) -> Result<(), String> {
    let sane = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '+');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(sane) {
        let name = bounded(name);
        return Err(format!(
            "the {what} name `{name}` is not 1 to {NAME_BYTES_MAX} letters, digits, `_`, `-`, `.` or `+`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use grid_proto::{BundleDescription, Parameter, TaskDescription, TaskLimits};

    use super::{check, check_name};

    /// A bundle of one task with one parameter, changed.
    fn bundle(change: impl FnOnce(&mut TaskDescription), imports: &[&str]) -> BundleDescription {
        let parameter = Parameter { name: "data".into(), shape: "Reader".into(), lazy: false };
        let mut task = TaskDescription {
            name: "reads".into(),
            doc: String::new(),
            parameters: vec![parameter],
            output: "u64".into(),
            pure: true,
            resident: false,
            retries: 0,
            scratch_bytes: 0,
            limits: TaskLimits::default(),
            reads: Vec::new(),
            writes: Vec::new(),
        };
        change(&mut task);
        BundleDescription {
            name: "bundle".into(),
            version: "1.0.0".into(),
            sdk: String::new(),
            tasks: vec![task],
            imports: imports.iter().map(|import| (*import).to_owned()).collect(),
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let lazy = |task: &mut TaskDescription| task.parameters[0].lazy = true;
        check(&mut bundle(lazy, &["grid:task/objects@0.1.0"])).unwrap();
        let refused = check(&mut bundle(lazy, &["grid:task/log@0.1.0"])).unwrap_err();
        assert!(refused.contains("`reads` is lazy"), "{refused}");
        let own = |task: &mut TaskDescription| task.scratch_bytes = 1;
        check(&mut bundle(own, &[])).unwrap();
        let both = |task: &mut TaskDescription| (task.scratch_bytes, task.resident) = (1, true);
        let refused = check(&mut bundle(both, &[])).unwrap_err();
        assert!(refused.contains("`reads` is resident"), "{refused}");
    }

    #[test]
    fn names_are_sane() {
        for good in ["a", "word_count", "1.0.0-rc.1+b", "größe"] {
            check_name("task", good).unwrap();
        }
        for bad in ["", "a b", "a:b", "a@1", "../x", "\u{1b}[31m", &"x".repeat(129)] {
            assert!(check_name("task", bad).is_err(), "{bad}");
        }
    }
}
