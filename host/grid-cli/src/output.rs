//! One way for results: text for people, JSON for programs.

use serde::Serialize;

/// Where a command's result goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: `human` makes the text that people read.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&T) -> String,
    ) -> Result<(), serde_json::Error> {
        let text = match self.json {
            true => serde_json::to_string_pretty(value)?,
            false => human(value),
        };
        let text = text.trim_end();
        if !text.is_empty() {
            write_out(text);
        }
        Ok(())
    }
}

/// Writes a line to standard error; a reader that went away is no error.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes a line to standard output; a reader that went away (`| head`) is no error.
pub(crate) fn write_out(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
