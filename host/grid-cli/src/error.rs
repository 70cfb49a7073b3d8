//! Errors of the command line, each with its exit code.

use grid_client::ClientError;
use grid_net::NetError;
use grid_proto::{Failure, FailureKind};
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::output::{Output, say};
use crate::stop;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum CliError {
    /// What the grid, or the way to it, said.
    Client(ClientError),
    /// Something on this machine.
    Local(anyhow::Error),
    /// What was typed cannot be right.
    Usage(String),
    /// The scheduler that this process was found a contradiction in its state.
    Fault(grid_server::ServerError),
    /// A signal ended it.
    Interrupted {
        signal: Signal,
        /// What became of what it did.
        what: &'static str,
    },
    /// Several calls ended without a result, which was shown already; the worst code.
    Shown(u8),
}

impl CliError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Failed(failure)) => failure_code(failure),
            Self::Client(
                ClientError::Refused(_) | ClientError::Value(_) | ClientError::TooLarge(_),
            ) => 4,
            Self::Client(
                ClientError::Net(_)
                | ClientError::Unreachable(_)
                | ClientError::Incompatible(_)
                | ClientError::Fetch { .. },
            ) => 5,
            Self::Client(ClientError::File(_)) | Self::Local(_) => 6,
            Self::Usage(_) => 2,
            Self::Fault(_) => 7,
            Self::Interrupted { signal, .. } => stop::exit_code(signal.as_raw()),
            Self::Shown(code) => *code,
        }
    }

    /// The same for programs, on standard output; nothing of what was shown already.
    pub(crate) fn show_json(&self, output: Output) -> Result<(), serde_json::Error> {
        let (kind, error) = match self {
            Self::Client(ClientError::Failed(failure)) => {
                return output.show(&failure_json(failure), |_| String::new());
            }
            Self::Client(
                error
                @ (ClientError::Refused(_) | ClientError::Value(_) | ClientError::TooLarge(_)),
            ) => ("refused", error.to_string()),
            Self::Client(ClientError::File(error)) => ("local", error.clone()),
            Self::Client(error) => ("no-grid", error.to_string()),
            Self::Local(error) => ("local", format!("{error:#}")),
            Self::Usage(message) => ("usage", message.clone()),
            Self::Fault(error) => ("fault", error.to_string()),
            Self::Interrupted { what, .. } => ("interrupted", (*what).to_owned()),
            Self::Shown(_) => return Ok(()),
        };
        output.show(&json!({ "error": error, "kind": kind }), |_| String::new())
    }

    pub(crate) fn print(&self) {
        match self {
            Self::Client(ClientError::Failed(failure)) => print_failure(failure),
            Self::Client(error) => say(format_args!("error: {error}")),
            Self::Local(error) => say(format_args!("error: {error:#}")),
            Self::Usage(message) => say(format_args!("error: {message}")),
            Self::Fault(error) => say(format_args!("error: {error}")),
            Self::Interrupted { what, .. } => say(format_args!("interrupted: {what}")),
            Self::Shown(_) => {}
        }
    }
}

/// The exit code of a call without a result.
pub(crate) fn failure_code(failure: &Failure) -> u8 {
    match failure.kind {
        FailureKind::User => 1,
        FailureKind::BadArgument { .. }
        | FailureKind::BundleInvalid
        | FailureKind::Quarantined { .. } => 4,
        FailureKind::Trap { .. }
        | FailureKind::OutOfMemory { .. }
        | FailureKind::Deadline { .. }
        | FailureKind::Cancelled
        | FailureKind::HostDenied { .. }
        | FailureKind::ResultTooLarge { .. }
        | FailureKind::KilledWorker { .. }
        | FailureKind::Rescheduled
        | FailureKind::LostData
        | FailureKind::ActorLost => 3,
    }
}

/// All that is known of a failure.
pub(crate) fn failure_json(failure: &Failure) -> Json {
    json!({
        "error": failure.to_string(),
        "kind": failure.kind.label(),
        "detail": failure.kind,
        "message": failure.message,
        "causes": failure.causes,
        "trace": failure.trace,
        "site": failure.site,
        "spent": failure.spent,
        "last_lines": failure.last_lines,
    })
}

fn print_failure(failure: &Failure) {
    say(format_args!("error: {}: {}", failure.kind.label(), failure.message));
    for cause in &failure.causes {
        say(format_args!("  caused by: {cause}"));
    }
    if let Some(site) = &failure.site {
        let worker = match site.worker.as_str() {
            "" => String::new(),
            worker => format!(" on {worker}"),
        };
        say(format_args!(
            "  call: {} of {}{worker}, attempt {}",
            site.key.short(),
            site.task,
            site.attempt
        ));
    }
    let spent = &failure.spent;
    say(format_args!(
        "  spent: {:.1} ms, {} of memory at most",
        spent.wall_us as f64 / 1_000.0,
        crate::size::human(spent.peak_memory_bytes)
    ));
    if !failure.trace.is_empty() {
        say("  wasm backtrace:");
        for same in failure.trace.chunk_by(|a, b| a == b) {
            let frame = &same[0];
            let place = match (&frame.file, frame.line) {
                (Some(file), Some(line)) => format!(" at {file}:{line}"),
                _ => String::new(),
            };
            let times = match same.len() {
                1 => String::new(),
                times => format!("  ({times} times)"),
            };
            say(format_args!("    {}{place}{times}", frame.function));
        }
    }
    if !failure.last_lines.is_empty() {
        say("  its last lines:");
        failure.last_lines.iter().for_each(|line| say(format_args!("    {line}")));
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Local(error)
    }
}

impl From<NetError> for CliError {
    fn from(error: NetError) -> Self {
        match error {
            NetError::PortInUse { .. } | NetError::Bind { .. } | NetError::Identity { .. } => {
                Self::Local(error.into())
            }
            other => Self::Client(other.into()),
        }
    }
}

/// Local errors of libraries, one conversion each.
macro_rules! local {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Local(error.into())
            }
        })+
    };
}

local!(
    std::io::Error,
    serde_json::Error,
    grid_sandbox::EngineError,
    grid_build::BuildError,
    grid_build::ScaffoldError,
    grid_build::ToolchainError,
);

impl From<grid_server::ServerError> for CliError {
    fn from(error: grid_server::ServerError) -> Self {
        match error {
            fault @ grid_server::ServerError::Fault { .. } => Self::Fault(fault),
            other => Self::Local(other.into()),
        }
    }
}

impl From<grid_worker::WorkerError> for CliError {
    fn from(error: grid_worker::WorkerError) -> Self {
        match error {
            grid_worker::WorkerError::Net(error) => error.into(),
            refused @ grid_worker::WorkerError::Refused { .. } => {
                Self::Client(ClientError::Incompatible(refused.to_string()))
            }
            other => Self::Local(other.into()),
        }
    }
}

impl From<grid_embedded::EmbeddedError> for CliError {
    fn from(error: grid_embedded::EmbeddedError) -> Self {
        match error {
            grid_embedded::EmbeddedError::Net(error) => error.into(),
            grid_embedded::EmbeddedError::Worker(error) => error.into(),
            grid_embedded::EmbeddedError::Server(error) => error.into(),
            other => Self::Local(other.into()),
        }
    }
}
