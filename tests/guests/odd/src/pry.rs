//! Tasks that look around, talk and lie.

use std::io::Write;
use std::time::SystemTime;

use grid_sdk::task;

/// Reads a file.
#[task(pure = false)]
pub fn read_file(path: String) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// Writes a file.
#[task(pure = false)]
pub fn write_file(path: String, text: String) -> std::io::Result<()> {
    std::fs::write(path, text)
}

/// Lists a directory.
#[task(pure = false)]
pub fn list_directory(path: String) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The environment.
#[task(pure = false)]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars().collect()
}

/// The arguments of the process.
#[task(pure = false)]
pub fn arguments() -> Vec<String> {
    std::env::args().collect()
}

/// Milliseconds since 1970.
#[task(pure = false)]
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Key, task, attempt, worker, and the milliseconds that remain.
#[task(pure = false)]
pub fn whoami() -> (String, String, u32, String, u64) {
    let info = grid_sdk::context::current();
    let remaining = grid_sdk::context::remaining().as_millis();
    let remaining = u64::try_from(remaining).unwrap_or(u64::MAX);
    (info.key, info.task, info.attempt, info.worker, remaining)
}

/// Writes a text to standard output.
#[task]
pub fn write_stdout(text: String) -> usize {
    print!("{text}");
    let _ = std::io::stdout().flush();
    text.len()
}

/// Writes a text to standard error.
#[task]
pub fn write_stderr(text: String) -> usize {
    eprint!("{text}");
    text.len()
}

/// Writes codes that would take a terminal over.
#[task]
pub fn write_escapes() {
    println!(
        "\x1b[31mred\x1b[0m \x1b]52;c;bWluZQ==\x07 \u{202e}txet \u{9b}2J back\rspace\x08\x7f end"
    );
}

/// Writes what is no text.
#[task]
pub fn write_bad_utf8() {
    let _ = std::io::stdout().write_all(b"good \xff\xfe\xc3\x28 end\n");
}

/// Writes a line of each level.
#[task]
pub fn log_lines() {
    grid_sdk::log::debug("a debug line");
    grid_sdk::log::info("an info line");
    grid_sdk::log::warn("a warning");
    grid_sdk::log::error("an error");
}

/// Says that it panics, so many times, and returns as if nothing were.
#[task]
pub fn lie(times: u32) -> u32 {
    #[cfg(target_family = "wasm")]
    for line in 0..times {
        use grid_sdk::bindings::grid::task::diagnostics::panicked;
        panicked("it never happened", "nowhere.rs", line, 1);
    }
    times
}
