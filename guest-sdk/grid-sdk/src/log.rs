//! Log lines of a call. They count towards its output limit. Natively they go to stderr.

use std::fmt::Display;

/// How much a line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Level {
    /// For the author.
    Debug,
    /// For the user.
    Info,
    /// Something is not as it should be, and the call goes on.
    Warn,
    /// Something failed.
    Error,
}

/// A line for the author.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message);
}

/// A line for the user.
pub fn info(message: impl Display) {
    write(Level::Info, &message);
}

/// Something is not as it should be, and the call goes on.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message);
}

/// Something failed.
pub fn error(message: impl Display) {
    write(Level::Error, &message);
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &dyn Display) {
    use crate::bindings::grid::task::log;
    let level = match level {
        Level::Debug => log::Level::Debug,
        Level::Info => log::Level::Info,
        Level::Warn => log::Level::Warn,
        Level::Error => log::Level::Error,
    };
    log::log(level, &message.to_string());
}

#[cfg(not(target_family = "wasm"))]
fn write(level: Level, message: &dyn Display) {
    let label = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    eprintln!("{label}: {message}");
}
