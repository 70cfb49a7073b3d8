//! Why requests are refused, in words that say what to do.

use rkyv::{Archive, Deserialize, Serialize};

use crate::coordination::NamedKind;
use crate::id::{BundleHash, Key};

/// Why a request was refused.
#[derive(
    Archive, Serialize, Deserialize, serde::Serialize, Clone, PartialEq, Eq, Debug, thiserror::Error,
)]
#[serde(rename_all = "kebab-case", tag = "refusal")]
pub enum Refusal {
    /// No such bundle.
    #[error("bundle `{bundle}` is not on this grid; `grid bundles` lists what is")]
    UnknownBundle {
        /// As it was asked for.
        bundle: String,
    },
    /// No such task.
    #[error("bundle `{bundle}` has no task `{task}`; it has {known}")]
    UnknownTask {
        /// The bundle.
        bundle: String,
        /// As it was asked for.
        task: String,
        /// What there is.
        known: String,
    },
    /// No such call.
    #[error("key `{key}` is not known to the grid: never submitted, or released")]
    UnknownKey {
        /// As it was asked for.
        key: String,
    },
    /// Wrong number or type of arguments.
    #[error("{message}")]
    BadArguments {
        /// What is wrong.
        message: String,
    },
    /// The same key was submitted before with another recipe.
    #[error("key `{key}` is taken by another recipe: {known}; this one is {new}")]
    KeyClash {
        /// The key.
        key: Key,
        /// What the grid has.
        known: String,
        /// What was submitted.
        new: String,
    },
    /// The submission breaks a rule.
    #[error("{message}")]
    BadSubmission {
        /// Which rule, and what to do.
        message: String,
    },
    /// The bytes are not a bundle that can run here.
    #[error("not a bundle that this grid can run: {message}")]
    BadBundle {
        /// Why not.
        message: String,
    },
    /// The name points to another bundle.
    #[error(
        "`{label}` is already bundle {known}, and this is {new}: raise the version, or deploy with `--replace`"
    )]
    NameTaken {
        /// `name@version`.
        label: String,
        /// What it points to.
        known: BundleHash,
        /// What was deployed.
        new: BundleHash,
    },
    /// Nothing has this name.
    #[error("no {kind} is named `{name}`; `grid {kind} list` shows what there is")]
    UnknownName {
        /// What was looked for.
        kind: NamedKind,
        /// As it was asked for.
        name: String,
    },
    /// Something has this name.
    #[error("there is a {kind} `{name}` already: unpublish it first, or publish with `override`")]
    NameExists {
        /// What it is.
        kind: NamedKind,
        /// Its name.
        name: String,
    },
    /// The lease is not, or is no longer, this client's.
    #[error(
        "this client does not hold {kind} `{name}`: never acquired, released, or not renewed in time"
    )]
    NotHeld {
        /// A lock or a semaphore.
        kind: NamedKind,
        /// Its name.
        name: String,
    },
    /// A bound of what is shared by name.
    #[error("{message}")]
    OverBound {
        /// Which, and what to do.
        message: String,
    },
    /// No worker takes what the client brings.
    #[error("{message}")]
    NoWorker {
        /// Why, and what to do.
        message: String,
    },
    /// The grid cannot do this now.
    #[error("{message}")]
    Unavailable {
        /// Why, and what to do.
        message: String,
    },
}
