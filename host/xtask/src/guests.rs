//! All bundles: the examples' and the tests' guests.

use std::path::PathBuf;

use grid_build::{BuildOptions, toolchain};

use crate::run::{root, target};

/// Where bundles go.
pub(crate) fn bundles_dir() -> PathBuf {
    target().join("bundles")
}

/// The folders of all task crates.
fn crates() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for parent in ["tests/guests", "examples"] {
        for entry in std::fs::read_dir(root().join(parent))? {
            let path = entry?.path();
            if path.join("Cargo.toml").exists() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Makes sure that there is a compiler for them, and builds all bundles.
pub(crate) fn build_all() -> anyhow::Result<()> {
    toolchain::install(&root(), &mut |line| eprintln!("{line}"))?;
    for path in crates()? {
        let options = BuildOptions {
            target_dir: Some(target().join("guests")),
            out_dir: Some(bundles_dir()),
            ..BuildOptions::default()
        };
        let built = grid_build::build(&path, &options)?;
        eprintln!("built {} ({} KiB)", built.wasm.display(), built.size / 1024);
    }
    Ok(())
}
