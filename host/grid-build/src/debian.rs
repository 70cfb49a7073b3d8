//! A toolchain out of Debian's packages, for machines where rustup cannot have the target.
//!
//! Debian packages a compiler with the sources of its standard library and a libc for Wasm, but no
//! compiled standard library for `wasm32-wasip2`. The script beside this file compiles that once and
//! lays the parts out as a sysroot; the linkers are those of the rustup toolchain that is there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::environment;

/// What Debian must supply.
pub(crate) const PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc", "llvm"];

const SCRIPT: &str = include_str!("debian.sh");
const RUSTC: &str = "/usr/bin/rustc";
/// Says which compiler compiled the standard library: another one cannot read it.
const STAMP: &str = "compiler.txt";
/// Lines of a failed step that people see; all of it stays in the log.
const LOG_LINES_MAX: usize = 15;

/// Fails when Debian's compiler is another one than at the time of the installation.
pub(crate) fn check_age(dir: &Path) -> Result<(), String> {
    // Toolchains without a stamp were made by hand: their maker knows.
    let Ok(stamp) = fs::read_to_string(dir.join(STAMP)) else {
        return Ok(());
    };
    let now = version()?;
    if stamp.trim() == now.trim() {
        return Ok(());
    }
    Err(format!(
        "`{}` was made for `{}`, but the compiler is now `{}`",
        dir.display(),
        stamp.trim(),
        now.trim(),
    ))
}

/// Makes the toolchain in `dir`, whole or not at all.
pub(crate) fn install(
    dir: &Path,
    sysroot: &Path,
    report: &mut dyn FnMut(&str),
) -> Result<(), String> {
    packages(report)?;
    let parent = dir.parent().ok_or("it cannot be the root directory")?;
    report(&format!(
        "compiling the standard library for it into `{}` (about 90 s, 160 MB)",
        dir.display()
    ));
    let temporary = tempfile::Builder::new()
        .prefix(".toolchain-")
        .tempdir_in(parent)
        .map_err(|error| format!("cannot write `{}`: {error}", parent.display()))?;
    let made = temporary.path().join("made");
    let log = dir.with_extension("log");
    let mut script = environment::command("bash", temporary.path());
    script.args(["-c", SCRIPT, "debian.sh"]).arg(&made).arg(sysroot);
    script.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    run(script, &log, report)?;
    fs::write(made.join(STAMP), version()?).map_err(|error| error.to_string())?;
    if dir.exists() {
        fs::remove_dir_all(dir)
            .map_err(|error| format!("cannot remove the old `{}`: {error}", dir.display()))?;
    }
    fs::rename(&made, dir).map_err(|error| format!("cannot make `{}`: {error}", dir.display()))?;
    fs::remove_file(log).ok();
    report(&format!("made `{}`", dir.display()));
    Ok(())
}

fn version() -> Result<String, String> {
    let output = Command::new(RUSTC)
        .arg("--version")
        .output()
        .map_err(|error| format!("cannot run `{RUSTC}`: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Installs what is missing of Debian's packages.
fn packages(report: &mut dyn FnMut(&str)) -> Result<(), String> {
    let is_missing = |package: &&str| {
        let status = quiet("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
        !status.is_ok_and(|output| output.stdout.ends_with(b" installed"))
    };
    let missing: Vec<&str> = PACKAGES.iter().copied().filter(|name| is_missing(name)).collect();
    if missing.is_empty() {
        report("Debian's packages are installed already");
        return Ok(());
    }
    if quiet("apt-get").arg("--version").output().is_err() {
        return Err("this machine has no `apt-get`".to_owned());
    }
    let root = superuser().ok_or_else(|| {
        format!(
            "`{}` must be installed, and we are neither root nor may use sudo without a password",
            missing.join(" ")
        )
    })?;
    for arguments in [vec!["update", "-q"], install_arguments(&missing)] {
        report(&format!("running `{}apt-get {}`", root_label(&root), arguments.join(" ")));
        let mut command = match root.split_first() {
            Some((first, rest)) => {
                let mut command = quiet(first);
                command.args(rest).arg("apt-get");
                command
            }
            None => quiet("apt-get"),
        };
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let output = command.output().map_err(|error| format!("cannot run apt-get: {error}"))?;
        if !output.status.success() {
            return Err(tail(&String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

fn install_arguments<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["install", "-q", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    arguments
}

fn root_label(root: &[&str]) -> String {
    root.iter().map(|word| format!("{word} ")).collect()
}

/// What to put before a command so that root runs it; `None` where nothing helps.
fn superuser() -> Option<Vec<&'static str>> {
    let user = quiet("id").arg("-u").output().ok()?;
    if user.stdout.trim_ascii() == b"0" {
        return Some(Vec::new());
    }
    let sudo = quiet("sudo").args(["-n", "true"]).output().ok()?;
    sudo.status.success().then(|| vec!["sudo", "-n"])
}

fn quiet(program: &str) -> Command {
    let mut command = environment::command(program, Path::new("/"));
    command.stdin(Stdio::null());
    command
}

/// Runs the script. Its lines that begin with `==` are told, the others go to the log.
fn run(mut script: Command, log: &Path, report: &mut dyn FnMut(&str)) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot run the steps: {error}");
    let file = fs::File::create(log).map_err(failed)?;
    // A group of its own: a script that is killed takes its compiler with it.
    let mut child = script
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if let Some(step) = line.strip_prefix("== ") {
                report(step);
            }
        }
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let words = fs::read_to_string(log).unwrap_or_default();
    Err(format!("{status}; the log is `{}`:\n{}", log.display(), tail(&words)))
}

fn tail(words: &str) -> String {
    let lines: Vec<_> = words.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
}
