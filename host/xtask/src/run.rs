//! Running other programs, said aloud.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A program to run in the root of the checkout.
pub(crate) struct Run {
    command: Command,
}

/// Cargo with these arguments.
pub(crate) fn cargo(args: &[&str]) -> Run {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    program_at(&program, args)
}

/// Any program with these arguments.
pub(crate) fn program_at(program: impl AsRef<OsStr>, args: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    Run { command }
}

impl Run {
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it; a failure of the program is one of this one.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let words: Vec<_> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        eprintln!("\n$ {}", words.join(" "));
        let status = self.command.status().with_context(|| format!("cannot run `{}`", words[0]))?;
        if !status.success() {
            bail!("`{}` failed ({status})", words.join(" "));
        }
        Ok(())
    }

    /// Runs it without a word; gives what it prints.
    pub(crate) fn output(mut self) -> anyhow::Result<String> {
        let output = self.command.output().context("cannot run a program")?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether it runs at all.
    pub(crate) fn works(mut self) -> bool {
        self.command.output().is_ok_and(|output| output.status.success())
    }
}
