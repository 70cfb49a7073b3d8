//! From a task crate to a bundle.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io};

use crate::component::{self, Kind};
use crate::metadata::{Metadata, Package};
use crate::toolchain::{self, Toolchain, ToolchainError};
use crate::{TARGET, artifact, environment};

/// Linear memory that an instance starts with. A guest that never grows its memory starts and ends
/// several times faster, and its starts scale over threads; pages that nobody touches cost nothing.
/// This holds the stack, the data, and about 3 MB of heap.
const INITIAL_MEMORY_BYTES: u64 = 4 << 20;

/// The stack inside of the linear memory, below the data, so that an overflow traps.
const STACK_BYTES: u64 = 1 << 20;

/// From what the crate `const-random` draws.
const SEED_VARIABLE: &str = "CONST_RANDOM_SEED";

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Where cargo keeps what it compiled; without it, where cargo itself would.
    pub target_dir: Option<PathBuf>,
    /// Where the bundle goes; without it, `bundles` in cargo's directory.
    pub out_dir: Option<PathBuf>,
    /// Says nothing; what cargo says goes into the error.
    pub quiet: bool,
    /// Fails where `Cargo.lock` would have to change.
    pub locked: bool,
}

/// A bundle that was built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// The file.
    pub wasm: PathBuf,
    /// The crate's name, which is the bundle's.
    pub name: String,
    /// The crate's version, which is the bundle's.
    pub version: String,
    /// Length of the file in bytes.
    pub size: u64,
}

/// Why there is no bundle.
#[derive(thiserror::Error, Debug)]
pub enum BuildError {
    /// There is no compiler for the target.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// There is no cargo.
    #[error("cannot run `cargo`: {0}; install Rust from https://rustup.rs")]
    NoCargo(#[source] io::Error),
    /// There is nothing at the path.
    #[error("there is no folder `{}`: {error}", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Cargo does not see a crate there.
    #[error("`{}` is no crate that cargo can read: {message}", path.display())]
    NotACrate {
        /// The path.
        path: PathBuf,
        /// What cargo says.
        message: String,
    },
    /// There is a workspace and no crate.
    #[error("`{}` is a workspace; build one of its crates: {}", path.display(), members.join(", "))]
    Workspace {
        /// The path.
        path: PathBuf,
        /// Its crates that could be bundles.
        members: Vec<String>,
    },
    /// The crate makes no file.
    #[error(
        "the crate `{name}` makes no `.wasm` file; write this into its Cargo.toml:\n\n\
         [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n"
    )]
    NoCdylib {
        /// The crate.
        name: String,
    },
    /// The compiler refused it.
    #[error("cargo could not build the crate ({status}){}{output}", if output.is_empty() { "" } else { ":\n" })]
    Cargo {
        /// How cargo ended.
        status: ExitStatus,
        /// What it said, unless that was printed.
        output: String,
    },
    /// It compiled to something else.
    #[error(
        "the crate `{name}` compiled, but has no tasks: no `grid_sdk::bundle!` names them; \
         write `grid_sdk::bundle!(task, other_task);` into its `lib.rs`"
    )]
    NoBundle {
        /// The crate.
        name: String,
    },
    /// It compiled to what is no component.
    #[error(
        "the crate `{name}` compiled to {what} instead of a component; check its profile and its linker options"
    )]
    NotAComponent {
        /// The crate.
        name: String,
        /// What it is.
        what: String,
    },
    /// The file could not be put in its place.
    #[error("cannot write `{}`: {error}", path.display())]
    Write {
        /// The place.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Builds the task crate in the folder `path`.
///
/// # Errors
/// There is no compiler for the target, no task crate in the folder, or it does not compile.
pub fn build(path: &Path, options: &BuildOptions) -> Result<Built, BuildError> {
    let no_folder = |error| BuildError::NoFolder { path: path.to_owned(), error };
    let folder = match path.file_name() {
        Some(name) if name == "Cargo.toml" => path.parent().unwrap_or(path),
        _ => path,
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = fs::canonicalize(folder).map_err(no_folder)?;
    let metadata = Metadata::read(&folder)?;
    let package = metadata.package(&folder)?;
    if !package.is_cdylib() {
        return Err(BuildError::NoCdylib { name: package.name.clone() });
    }
    let toolchain = toolchain::find(&folder)?;
    let cargo = cargo(&folder, &toolchain, &metadata, options);
    let wasm = artifact::compile(cargo, &package.manifest_path, options.quiet)?;
    let out_dir = match (&options.out_dir, &options.target_dir) {
        (Some(out), _) => out.clone(),
        (None, Some(target)) => target.join("bundles"),
        (None, None) => metadata.target_directory.join("bundles"),
    };
    place(&wasm, &out_dir, package)
}

fn cargo(
    folder: &Path,
    toolchain: &Toolchain,
    metadata: &Metadata,
    options: &BuildOptions,
) -> Command {
    let mut cargo = environment::command("cargo", folder);
    cargo.args(["build", "--release", "--lib", "--target", TARGET]);
    cargo.arg("--message-format=json-render-diagnostics");
    // The user's configuration stays; these win over the profile in a manifest, since a bundle
    // without lines has no backtraces and one that unwinds does not build.
    for setting in [
        "profile.release.debug=\"line-tables-only\"",
        "profile.release.strip=\"none\"",
        "profile.release.panic=\"abort\"",
    ] {
        cargo.args(["--config", setting]);
    }
    let flags = flags(metadata, toolchain, env::var("RUSTFLAGS").ok().as_deref());
    cargo.env_remove("RUSTFLAGS").arg("--config").arg(format!(
        "target.{TARGET}.rustflags={}",
        serde_json::to_string(&flags).expect("texts are always encoded")
    ));
    if let Some(target) = &options.target_dir {
        // Relative to where we are, not to the crate.
        let target = std::path::absolute(target).unwrap_or_else(|_| target.clone());
        cargo.arg("--target-dir").arg(target);
    }
    if options.locked {
        cargo.arg("--locked");
    }
    if let Some(rustc) = toolchain.rustc() {
        cargo.env("RUSTC", rustc);
    }
    // Hash maps of Arrow are seeded when they are compiled: the same code is the same bundle.
    if env::var_os(SEED_VARIABLE).is_none() {
        cargo.env(SEED_VARIABLE, "grid");
    }
    cargo
}

/// The compiler's flags: ours, then the user's, who wins.
fn flags(metadata: &Metadata, toolchain: &Toolchain, user: Option<&str>) -> Vec<String> {
    let mut flags = vec![
        format!("-Clink-arg=--initial-memory={INITIAL_MEMORY_BYTES}"),
        format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        // Every engine of today has it, and the compiler vectorises as it does natively.
        "-Ctarget-feature=+simd128".to_owned(),
    ];
    for (folder, name) in metadata.remaps(&environment::cargo_home()) {
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    }
    let sources = toolchain.dir().join("lib/rustlib/src/rust");
    flags.push(format!("--remap-path-prefix={}=/rustc/std", sources.display()));
    flags.extend(user.unwrap_or_default().split_whitespace().map(str::to_owned));
    flags
}

fn place(wasm: &Path, out_dir: &Path, package: &Package) -> Result<Built, BuildError> {
    let target = out_dir.join(format!("{}.wasm", package.name));
    let failed = |error| BuildError::Write { path: target.clone(), error };
    let bytes = fs::read(wasm).map_err(failed)?;
    match component::kind(&bytes) {
        Kind::Bundle => {}
        Kind::Component => {
            return Err(BuildError::NoBundle { name: package.name.clone() });
        }
        other @ (Kind::Module | Kind::Other) => {
            let what = other.to_string();
            return Err(BuildError::NotAComponent { name: package.name.clone(), what });
        }
    }
    fs::create_dir_all(out_dir).map_err(failed)?;
    // Who reads the old file meanwhile reads the old file.
    let mut partial = OsString::from(&target);
    partial.push(format!(".{}", std::process::id()));
    fs::write(&partial, &bytes).and_then(|()| fs::rename(&partial, &target)).map_err(failed)?;
    Ok(Built {
        size: bytes.len() as u64,
        wasm: target,
        name: package.name.clone(),
        version: package.version.clone(),
    })
}
