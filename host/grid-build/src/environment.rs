//! Commands that do not notice the cargo that runs us.
//!
//! Under `cargo run` or `cargo test` the environment speaks of the outer build: its compiler, its
//! flags, its package. The inner build would believe all of it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What an outer cargo or rustup sets and an inner one reads.
const OUTER: [&str; 8] = [
    "CARGO",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOC",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
    "__CARGO_DEFAULT_LIB_METADATA",
];

/// What cargo sets for the package that it runs.
const OUTER_PREFIXES: [&str; 5] =
    ["CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_MANIFEST_", "CARGO_PKG_"];

/// A command in `directory` without the environment of an outer cargo.
pub(crate) fn command(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    for (name, _) in env::vars_os() {
        if is_outer(&name) {
            command.env_remove(&name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        match libraries(&paths, &rustup_home(), env::current_exe().ok().as_deref()) {
            Some(kept) => command.env("LD_LIBRARY_PATH", kept),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command
}

fn is_outer(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    OUTER.contains(&name) || OUTER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The library path without what an outer cargo put there: its toolchain and its target directory.
pub(crate) fn libraries(paths: &OsStr, rustup: &Path, us: Option<&Path>) -> Option<OsString> {
    let ours = us.and_then(|us| {
        us.ancestors().skip(1).find(|folder| folder.file_name() != Some("deps".as_ref()))
    });
    let is_foreign = |path: &PathBuf| {
        !path.starts_with(rustup) && !ours.is_some_and(|ours| path.starts_with(ours))
    };
    let kept: Vec<_> = env::split_paths(paths).filter(is_foreign).collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

/// Where rustup keeps its toolchains.
fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from)
}

/// Where cargo keeps the sources of dependencies.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

/// The user's directory; without one, the root, where nothing of ours will be found.
pub(crate) fn home() -> PathBuf {
    env::home_dir().unwrap_or_else(|| PathBuf::from("/"))
}
