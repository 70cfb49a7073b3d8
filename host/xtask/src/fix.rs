//! Sets right what can be set right without thinking.

use std::path::Path;

use crate::checks::{EXAMPLES, FEATURES, WORKSPACES};
use crate::demo::examples_target;
use crate::run::{cargo, root, target};

/// Brings lock files up to date, formats, applies what lints suggest, and writes anew what is generated.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = root();
    for workspace in WORKSPACES {
        cargo(&["update", "--workspace", "--manifest-path", workspace]).run()?;
        format(&root.join(workspace))?;
    }
    apply_lints(&root.join("Cargo.toml"), &FEATURES, &target())?;
    apply_lints(&root.join(EXAMPLES), &[], &examples_target())?;
    cargo(&["test", "--workspace", "--test", "bindings"])
        .args(FEATURES)
        .env("GRID_BLESS", "1")
        .run()
}

fn format(workspace: &Path) -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--manifest-path"]).args([workspace]).run()
}

fn apply_lints(workspace: &Path, features: &[&str], target: &Path) -> anyhow::Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"])
        .args(["--allow-no-vcs", "--manifest-path"])
        .args([workspace])
        .args(features)
        .env("CARGO_TARGET_DIR", target)
        .run()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_badly_formatted_and_what_lints_suggest_is_set_right() {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, code) = (folder.path().join("Cargo.toml"), folder.path().join("src/lib.rs"));
        fs::create_dir(folder.path().join("src")).unwrap();
        let package = "[package]\nname = \"untidy\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(&manifest, format!("{package}[workspace]\n")).unwrap();
        fs::write(&code, "pub fn half( n:u32 )->u32{ return n/2; }\n").unwrap();

        format(&manifest).unwrap();
        let formatted = "pub fn half(n: u32) -> u32 {\n    return n / 2;\n}\n";
        assert_eq!(fs::read_to_string(&code).unwrap(), formatted);

        apply_lints(&manifest, &[], &folder.path().join("target")).unwrap();
        let tidy = "pub fn half(n: u32) -> u32 {\n    n / 2\n}\n";
        assert_eq!(fs::read_to_string(&code).unwrap(), tidy);
    }

    #[test]
    fn every_workspace_is_there() {
        for workspace in WORKSPACES {
            assert!(root().join(workspace).exists(), "{workspace}");
        }
    }
}
