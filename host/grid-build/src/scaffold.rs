//! A new task crate that builds, is tested natively, and runs.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Rust's own words and the crates whose names would hide what every crate needs.
const RESERVED: [&str; 62] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "grid-sdk",
    "grid_sdk",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "build",
    "deps",
];

/// A bundle's name is shown in tables and stands in file names.
const NAME_BYTES_MAX: usize = 64;

/// Where the new crate takes its SDK from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SdkSource {
    /// A folder with the SDK.
    Path(PathBuf),
    /// A repository with the SDK.
    Git {
        /// Its address.
        url: String,
        /// A tag, branch or commit.
        rev: Option<String>,
    },
}

impl Default for SdkSource {
    /// The sources that this program was built from.
    fn default() -> Self {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk/grid-sdk");
        Self::Path(fs::canonicalize(&sdk).unwrap_or(sdk))
    }
}

impl SdkSource {
    fn dependency(&self) -> Result<String, ScaffoldError> {
        match self {
            Self::Path(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                if !path.join("Cargo.toml").is_file() {
                    return Err(ScaffoldError::NoSdk { path });
                }
                Ok(format!("{{ path = {} }}", quoted(&path.to_string_lossy())))
            }
            Self::Git { url, rev: None } => Ok(format!("{{ git = {} }}", quoted(url))),
            Self::Git { url, rev: Some(rev) } => {
                Ok(format!("{{ git = {}, rev = {} }}", quoted(url), quoted(rev)))
            }
        }
    }
}

/// A crate that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scaffold {
    /// Its folder.
    pub dir: PathBuf,
    /// Its files, in the order of their making.
    pub files: Vec<PathBuf>,
}

/// Why no crate was made.
#[derive(thiserror::Error, Debug)]
pub enum ScaffoldError {
    /// The name is none.
    #[error("`{name}` cannot be the name of a crate: {reason}; try `{proposal}`")]
    Name {
        /// What was asked for.
        name: String,
        /// What is wrong.
        reason: &'static str,
        /// A name that would do.
        proposal: String,
    },
    /// There is something already.
    #[error("`{}` exists already; choose another name or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// There is no SDK where it should be.
    #[error("there is no SDK in `{}`; name its folder or its repository", path.display())]
    NoSdk {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("cannot write `{}`: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Makes the crate `name` in the folder `parent/name`.
///
/// # Errors
/// The name is none, the folder exists, or it cannot be written; then nothing was made.
pub fn scaffold(name: &str, parent: &Path, sdk: &SdkSource) -> Result<Scaffold, ScaffoldError> {
    check_name(name)?;
    let dependency = sdk.dependency()?;
    let dir = parent.join(name);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ScaffoldError::Write { path, error }
    };
    fs::create_dir_all(parent).map_err(failed(parent))?;
    match fs::create_dir(&dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ScaffoldError::Exists { path: dir });
        }
        Err(error) => return Err(ScaffoldError::Write { path: dir, error }),
    }
    let mut files = Vec::new();
    for (file, template) in TEMPLATES {
        let text = template
            .replace("{{name}}", name)
            .replace("{{module}}", &name.replace('-', "_"))
            .replace("{{sdk}}", &dependency);
        let path = dir.join(file);
        let folder = path.parent().unwrap_or(&dir);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        if let Err(error) = written {
            fs::remove_dir_all(&dir).ok();
            return Err(ScaffoldError::Write { path, error });
        }
        files.push(path);
    }
    Ok(Scaffold { dir, files })
}

const TEMPLATES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("scaffold/Cargo.toml.template")),
    ("src/lib.rs", include_str!("scaffold/lib.rs.template")),
    ("README.md", include_str!("scaffold/README.md.template")),
    (".gitignore", "/target\n"),
];

/// Cargo's rules for names, which are the rules for bundles.
fn check_name(name: &str) -> Result<(), ScaffoldError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let reason = if name.is_empty() {
        "it is empty"
    } else if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "it must begin with a letter"
    } else if !name.chars().all(is_plain) {
        "it may hold only the letters `a` to `z`, digits, `-` and `_`"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 64 letters"
    } else if RESERVED.contains(&name) {
        "the word is taken"
    } else {
        return Ok(());
    };
    Err(ScaffoldError::Name { name: name.to_owned(), reason, proposal: proposal(name) })
}

fn proposal(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }
    };
    let mut proposal: String = name.chars().map(plain).take(NAME_BYTES_MAX - 8).collect();
    while proposal.contains("--") {
        proposal = proposal.replace("--", "-");
    }
    let mut proposal = proposal.trim_matches('-').to_owned();
    if proposal.is_empty() || RESERVED.contains(&proposal.as_str()) {
        proposal.insert_str(0, "my-");
        proposal.push_str(if proposal == "my-" { "tasks" } else { "" });
    } else if !proposal.starts_with(|c: char| c.is_ascii_alphabetic()) {
        proposal.insert_str(0, "tasks-");
    }
    proposal
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("texts are always encoded")
}
