//! Compilers for `wasm32-wasip2`: finds one, or installs one.
//!
//! In order: the one that `GRID_TOOLCHAIN_DIR` names, rustup's target in the toolchain that is
//! active for the crate, and ours in the user's data directory, which Debian's packages supplied.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, io, thread};

use crate::{TARGET, debian, environment};

/// A toolchain of ours lies here instead of in the user's data directory.
pub const DIR_VARIABLE: &str = "GRID_TOOLCHAIN_DIR";

/// Longer than any download of 20 MB should take, shorter than anybody's patience.
const RUSTUP_TIMEOUT: Duration = Duration::from_secs(120);

/// A compiler that can build bundles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Toolchain {
    /// The active toolchain has the target.
    Rustup {
        /// Its folder.
        sysroot: PathBuf,
    },
    /// The one that [`install`] made.
    Own {
        /// Its folder.
        dir: PathBuf,
    },
}

impl Toolchain {
    /// The compiler to name to cargo; `None` where cargo finds the right one itself.
    #[must_use]
    pub fn rustc(&self) -> Option<PathBuf> {
        match self {
            Self::Rustup { .. } => None,
            Self::Own { dir } => Some(dir.join("bin/rustc")),
        }
    }

    /// The folder that it lies in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Self::Rustup { sysroot } => sysroot,
            Self::Own { dir } => dir,
        }
    }
}

/// Why there is no toolchain.
#[derive(thiserror::Error, Debug)]
pub enum ToolchainError {
    /// None was found.
    #[error(
        "no compiler here can build for `{TARGET}` ({}); run `grid toolchain install`",
        reasons.join("; ")
    )]
    Missing {
        /// Where it was looked for, and what was there.
        reasons: Vec<String>,
    },
    /// None could be installed.
    #[error(
        "no compiler for `{TARGET}` could be installed:\n  {}\nType one of these yourself:\n  \
         rustup target add {TARGET}\n  \
         sudo apt-get install {} && grid toolchain install",
        reasons.join("\n  "),
        debian::PACKAGES.join(" "),
    )]
    Install {
        /// What was tried, and why it failed.
        reasons: Vec<String>,
    },
    /// The folder cannot be written.
    #[error("cannot write `{}`: {error}; choose another folder by `{DIR_VARIABLE}`", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
}

/// Finds a toolchain for the crate in the folder `near`.
///
/// # Errors
/// There is none; the error says where it was looked for.
pub fn find(near: &Path) -> Result<Toolchain, ToolchainError> {
    let named = env::var_os(DIR_VARIABLE).map(PathBuf::from);
    search(&own_dir(), named.is_some(), || rustup_sysroot(near))
}

/// The order of the search; `sysroot` asks for the active toolchain and may be slow.
pub(crate) fn search(
    own: &Path,
    own_first: bool,
    sysroot: impl FnOnce() -> Result<PathBuf, String>,
) -> Result<Toolchain, ToolchainError> {
    let mut reasons = Vec::new();
    let own_toolchain = usable(own).map(|()| Toolchain::Own { dir: own.to_owned() });
    if own_first && let Ok(toolchain) = own_toolchain {
        return Ok(toolchain);
    }
    match sysroot() {
        Ok(sysroot) if has_target(&sysroot) => return Ok(Toolchain::Rustup { sysroot }),
        Ok(sysroot) => reasons.push(format!("`{}` has no such target", sysroot.display())),
        Err(reason) => reasons.push(reason),
    }
    match own_toolchain {
        Ok(toolchain) => Ok(toolchain),
        Err(reason) => {
            reasons.push(reason);
            Err(ToolchainError::Missing { reasons })
        }
    }
}

/// Installs a toolchain unless there is one; `report` hears what is done before it is done. Two at
/// once do not disturb each other: the second waits and finds what the first made.
///
/// # Errors
/// Neither rustup nor Debian's packages could supply one, or the folder cannot be written.
pub fn install(near: &Path, report: &mut dyn FnMut(&str)) -> Result<Toolchain, ToolchainError> {
    if let Ok(found) = find(near) {
        report(&format!("found the target `{TARGET}` in `{}`", found.dir().display()));
        return Ok(found);
    }
    let dir = own_dir();
    let _lock = lock(&dir, report)?;
    if let Ok(found) = find(near) {
        report(&format!("somebody else has just made `{}`", found.dir().display()));
        return Ok(found);
    }
    let mut reasons = Vec::new();
    report(&format!("running `rustup target add {TARGET}`"));
    match add_target(near).and_then(|()| find(near).map_err(|error| error.to_string())) {
        Ok(found) => return Ok(found),
        Err(reason) => {
            report(&format!("rustup cannot: {reason}"));
            reasons.push(format!("`rustup target add {TARGET}`: {reason}"));
        }
    }
    match rustup_sysroot(near).and_then(|sysroot| debian::install(&dir, &sysroot, report)) {
        Ok(()) => find(near),
        Err(reason) => {
            reasons.push(format!("Debian's packages: {reason}"));
            Err(ToolchainError::Install { reasons })
        }
    }
}

/// Where a toolchain of ours lies, or would.
#[must_use]
pub fn own_dir() -> PathBuf {
    let data = || {
        let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        data.filter(|path| path.is_absolute())
            .unwrap_or_else(|| environment::home().join(".local/share"))
    };
    match env::var_os(DIR_VARIABLE) {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        None => data().join("grid/toolchain"),
    }
}

/// A toolchain of ours is whole: its parts are there, and what it links to still is.
fn usable(dir: &Path) -> Result<(), String> {
    let rustc = dir.join("bin/rustc");
    if !rustc.is_file() {
        return Err(format!("there is no `{}`", rustc.display()));
    }
    if !has_target(dir) {
        return Err(format!("`{}` has no such target", dir.display()));
    }
    let hosts = fs::read_dir(dir.join("lib/rustlib")).map_err(|error| error.to_string())?;
    let is_whole = hosts.flatten().any(|host| {
        let has = |tool: &str| host.path().join("bin").join(tool).exists();
        has("wasm-component-ld") && has("rust-lld")
    });
    if !is_whole {
        return Err(format!("the linker of `{}` is gone with its rustup toolchain", dir.display()));
    }
    debian::check_age(dir)
}

fn has_target(sysroot: &Path) -> bool {
    let libraries = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib"));
    libraries.is_ok_and(|libraries| {
        libraries.flatten().any(|file| {
            let name = file.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

fn rustup_sysroot(near: &Path) -> Result<PathBuf, String> {
    let output = environment::command("rustc", near)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| format!("cannot run `rustc`: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn add_target(near: &Path) -> Result<(), String> {
    let mut child = environment::command("rustup", near)
        .args(["target", "add", TARGET])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run `rustup`: {error}"))?;
    let pipe = child.stderr.take();
    let (sender, receiver) = mpsc::channel();
    // The pipe ends when rustup does, so reading it is waiting for it.
    thread::spawn(move || {
        let words = pipe.map(io::read_to_string).and_then(Result::ok).unwrap_or_default();
        sender.send(words).ok();
    });
    let Ok(words) = receiver.recv_timeout(RUSTUP_TIMEOUT) else {
        child.kill().ok();
        child.wait().ok();
        return Err(format!("it did not finish in {} s", RUSTUP_TIMEOUT.as_secs()));
    };
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let last = words.lines().rev().find(|line| !line.trim().is_empty());
    let error = words.lines().find_map(|line| line.strip_prefix("error: ")).or(last);
    Err(error.map_or_else(|| status.to_string(), str::to_owned))
}

/// Held by who installs; it goes with the process.
fn lock(dir: &Path, report: &mut dyn FnMut(&str)) -> Result<fs::File, ToolchainError> {
    let path = dir.with_extension("lock");
    let failed = |error| ToolchainError::Write { path: path.clone(), error };
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let file = fs::File::create(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            report("another `grid toolchain install` is running; waiting for it");
            file.lock().map_err(failed)?;
        }
        Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}
