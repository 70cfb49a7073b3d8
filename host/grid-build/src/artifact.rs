//! Runs cargo and picks the built file out of its messages.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::build::BuildError;

/// A line that cargo prints with `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Runs cargo; its own words go to our standard error, or into the error when `quiet`.
pub(crate) fn compile(
    mut cargo: Command,
    manifest: &PathBuf,
    quiet: bool,
) -> Result<PathBuf, BuildError> {
    let stderr = if quiet { Stdio::piped() } else { Stdio::inherit() };
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(BuildError::NoCargo)?;
    let words = child.stderr.take().map(|pipe| {
        std::thread::spawn(move || {
            std::io::read_to_string(pipe).unwrap_or_else(|error| format!("cannot read: {error}"))
        })
    });
    let mut found = None;
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            found = file(&line, manifest).or(found);
        }
    }
    let status = child.wait().map_err(BuildError::NoCargo)?;
    let words = words.and_then(|reader| reader.join().ok()).unwrap_or_default();
    if !status.success() {
        return Err(BuildError::Cargo { status, output: words });
    }
    found.ok_or(BuildError::Cargo { status, output: "it built no `.wasm` file".to_owned() })
}

fn file(line: &str, manifest: &PathBuf) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    let is_ours = message.reason == "compiler-artifact" && message.manifest_path == *manifest;
    let mut files = message.filenames.into_iter();
    files.find(|file| is_ours && file.extension().is_some_and(|extension| extension == "wasm"))
}
