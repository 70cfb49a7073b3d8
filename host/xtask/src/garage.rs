//! Garage, an S3 server that is not ours: the integration tests run against it. It is a program of the
//! tests alone and linked to nothing.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::run::{cargo, program_at, target};

/// The version that the tests were written against.
const VERSION: &str = "2.5.0";

/// Where it is: what `GRID_GARAGE` names, or our own.
pub(crate) fn path() -> PathBuf {
    let own = || target().join("garage/bin/garage");
    std::env::var_os("GRID_GARAGE").map_or_else(own, PathBuf::from)
}

/// Builds it unless it is there: some minutes, once for each target directory. What it can do beyond S3 on
/// one node is left out.
pub(crate) fn install() -> anyhow::Result<()> {
    if program_at(path(), &["--version"]).works() {
        return Ok(());
    }
    let root = target().join("garage");
    let build = root.join("build");
    cargo(&["install", "garage", "--quiet", "--locked", "--debug", "--version", VERSION])
        .args(["--no-default-features", "--features", "bundled-libs,sqlite"])
        .args([OsStr::new("--root"), root.as_os_str()])
        .args([OsStr::new("--target-dir"), build.as_os_str()])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .run()?;
    // Larger than all else that the tests need.
    Ok(std::fs::remove_dir_all(build)?)
}
