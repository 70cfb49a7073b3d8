//! What happens when the machine is wrong: a panic in one of its steps, or a contradiction that it
//! has found itself. Nothing more is handled, and what is known is written to a file.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use grid_scheduler::{Dump, Scheduler};
use serde::Serialize;

use crate::error::ServerError;

/// Dumps that are kept: a scheduler that is started again and again shall not fill the disk.
const DUMPS_MAX: usize = 16;

thread_local! {
    /// Where the last panic of a step was; `None` outside of steps.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Lets the machine take its steps until one goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    panic: Option<String>,
}

impl Guard {
    /// One step, if the machine is still in order. A panic in it ends there.
    pub(crate) fn step(&mut self, machine: &mut Scheduler, step: impl FnOnce(&mut Scheduler)) {
        if self.panic.is_none() {
            self.panic = caught(|| step(machine)).err();
        }
    }

    /// What is wrong with the machine.
    pub(crate) fn check(&self, machine: &Scheduler) -> Result<(), String> {
        match self.panic.as_deref().or_else(|| machine.fault()) {
            None => Ok(()),
            Some(what) => Err(what.to_owned()),
        }
    }
}

/// Runs some work; a panic in it becomes words: what, where, and the way there.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    watch_panics();
    PANIC.set(Some(String::new()));
    let done = catch_unwind(AssertUnwindSafe(work));
    let place = PANIC.take().unwrap_or_default();
    done.map_err(|panic| format!("panic: {}{place}", message(panic.as_ref())))
}

/// The message of a panic comes with it, its place only by way of the hook. What was the hook before
/// is called as before.
fn watch_panics() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|place| {
                if let (Some(place), Some(at)) = (place, info.location()) {
                    *place = format!(" at {at}\n{}", Backtrace::force_capture());
                }
            });
            before(info);
        }));
    });
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "of no words".to_owned())
}

/// What is in the file.
#[derive(Serialize)]
struct Report<'a> {
    what: &'a str,
    version: &'static str,
    pid: u32,
    /// The last of them was being handled.
    events: Vec<String>,
    /// `None` where the state cannot even be written down.
    machine: Option<Dump>,
}

/// Writes what is known of a machine that is wrong; says so in the error that ends the server.
pub(crate) fn report(machine: &Scheduler, what: String, state_dir: &Path) -> ServerError {
    let report = Report {
        what: &what,
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        events: machine.recent_events(),
        machine: caught(|| machine.dump()).ok(),
    };
    let directory = state_dir.join("dumps");
    let dump = match write(&report, &directory) {
        Ok(path) => format!("what it knew is in `{}`", path.display()),
        Err(error) => format!(
            "what it knew could not be written to `{}`: {error}; make room there and let the \
             scheduler write, for the next time",
            directory.display()
        ),
    };
    // The way of a panic is in the file.
    let what = what.lines().next().unwrap_or_default().to_owned();
    ServerError::Fault { what, dump }
}

fn write(report: &Report<'_>, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    make_room(directory)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // In the order of their names they are in the order of their times.
    let name = format!("scheduler-{:014}-{}.json", since.as_millis(), report.pid);
    let path = directory.join(name);
    fs::write(&path, serde_json::to_vec_pretty(report)?)?;
    Ok(path)
}

/// Removes the oldest dumps.
fn make_room(directory: &Path) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut dumps: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    dumps.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    dumps.sort();
    let surplus = (dumps.len() + 1).saturating_sub(DUMPS_MAX);
    dumps.iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_words_with_its_place() {
        assert_eq!(caught(|| 7), Ok(7));
        let said = caught(|| assert_eq!(1 + 1, 3, "numbers")).unwrap_err();
        let (first, rest) = said.split_once('\n').unwrap();
        assert!(first.starts_with("panic: ") && rest.contains("fault"), "{said}");
        assert!(said.contains("numbers") && said.contains("fault.rs:"), "{said}");
    }

    #[test]
    fn only_the_newest_dumps_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..DUMPS_MAX + 3 {
            make_room(directory.path()).unwrap();
            fs::write(directory.path().join(format!("scheduler-{number:03}.json")), "").unwrap();
        }
        let kept = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(kept, DUMPS_MAX);
        assert!(directory.path().join("scheduler-018.json").exists());
        assert!(!directory.path().join("scheduler-002.json").exists());
    }
}
