//! What cargo says of a crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::build::BuildError;
use crate::{TARGET, environment};

/// The answer of `cargo metadata`, as far as it is read here.
#[derive(Deserialize, Debug)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    pub(crate) target_directory: PathBuf,
}

/// One crate.
#[derive(Deserialize, Debug)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize, Debug)]
struct Target {
    crate_types: Vec<String>,
}

impl Package {
    /// It has a library that becomes a `.wasm` file.
    pub(crate) fn is_cdylib(&self) -> bool {
        self.targets.iter().flat_map(|target| &target.crate_types).any(|kind| kind == "cdylib")
    }
}

impl Metadata {
    /// Asks cargo about the crate in `directory`.
    pub(crate) fn read(directory: &Path) -> Result<Self, BuildError> {
        let output = environment::command("cargo", directory)
            .args(["metadata", "--format-version=1", "--filter-platform", TARGET])
            .output()
            .map_err(BuildError::NoCargo)?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let path = directory.to_owned();
            return Err(BuildError::NotACrate { path, message });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| BuildError::NotACrate {
            path: directory.to_owned(),
            message: format!("cannot read what cargo says of it: {error}"),
        })
    }

    /// The crate whose `Cargo.toml` is in `directory`.
    pub(crate) fn package(&self, directory: &Path) -> Result<&Package, BuildError> {
        let manifest = directory.join("Cargo.toml");
        let found = self.packages.iter().find(|package| package.manifest_path == manifest);
        found.ok_or_else(|| {
            let members = self.packages.iter().filter(|package| {
                self.workspace_members.contains(&package.id) && package.is_cdylib()
            });
            BuildError::Workspace {
                path: directory.to_owned(),
                members: members.map(|package| format!("`{}`", package.name)).collect(),
            }
        })
    }

    /// Folders of this machine and what a bundle calls them instead, so that its messages speak of
    /// the sources alone and equal sources give equal bundles. Cargo takes the last that fits.
    pub(crate) fn remaps(&self, cargo_home: &Path) -> Vec<(PathBuf, String)> {
        let mut remaps = BTreeMap::new();
        for package in self.packages.iter().filter(|package| package.source.is_none()) {
            if let Some(folder) = package.manifest_path.parent() {
                remaps.insert(folder.to_owned(), format!("/{}", package.name));
            }
        }
        let root = repository(&self.workspace_root);
        // What lies in the repository is named from its top; what lies elsewhere, by its crate.
        remaps.retain(|folder, _| !folder.starts_with(root));
        remaps.insert(root.to_owned(), "/src".to_owned());
        remaps.insert(cargo_home.join("registry/src"), "/registry".to_owned());
        remaps.insert(cargo_home.join("git/checkouts"), "/git".to_owned());
        remaps.into_iter().collect()
    }
}

/// The nearest folder with a `.git`, else the folder itself.
fn repository(folder: &Path) -> &Path {
    folder.ancestors().find(|ancestor| ancestor.join(".git").exists()).unwrap_or(folder)
}
