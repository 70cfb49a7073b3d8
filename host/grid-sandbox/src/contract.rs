//! The types of `wit/` on the host's side. wasmtime compares them with a bundle's own types when
//! the bundle is loaded.

use grid_proto::{BundleDescription, Parameter, TaskDescription, TaskLimits};
use wasmtime::component::{ComponentType, Lift, Lower};

/// What a bundle exports.
pub(crate) const TASKS: &str = "grid:task/tasks@0.1.0";

/// `types.codec`.
#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Codec {
    #[component(name = "msgpack")]
    Msgpack,
    #[component(name = "raw")]
    Raw,
    #[component(name = "arrow")]
    Arrow,
}

/// `types.value` on its way in: the bytes are copied once, into the guest.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct ValueIn<'a> {
    pub(crate) codec: Codec,
    pub(crate) bytes: &'a [u8],
}

/// `types.value` on its way out.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ValueOut {
    pub(crate) codec: Codec,
    pub(crate) bytes: Vec<u8>,
}

/// `tasks.user-error`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct UserError {
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
}

/// `tasks.bad-argument`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct BadArgument {
    pub(crate) index: u32,
    pub(crate) parameter: String,
    pub(crate) message: String,
}

/// `tasks.failure`.
#[derive(ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Failure {
    #[component(name = "user")]
    User(UserError),
    #[component(name = "bad-argument")]
    BadArgument(BadArgument),
    #[component(name = "wrong-arity")]
    WrongArity(u32),
    #[component(name = "unknown-task")]
    UnknownTask,
}

/// The parameters of `tasks.run`.
pub(crate) type RunParams<'a> = (u32, &'a [ValueIn<'a>]);
/// The result of `tasks.run`.
pub(crate) type RunResults = (Result<ValueOut, Failure>,);
/// The result of `tasks.describe`.
pub(crate) type DescribeResults = (Bundle,);

/// `tasks.parameter`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ParameterOut {
    name: String,
    shape: String,
    lazy: bool,
}

/// `tasks.limits`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Limits {
    #[component(name = "memory-bytes")]
    memory_bytes: Option<u64>,
    #[component(name = "timeout-ms")]
    timeout_ms: Option<u64>,
}

/// `tasks.task`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Task {
    name: String,
    doc: String,
    parameters: Vec<ParameterOut>,
    output: String,
    pure: bool,
    resident: bool,
    retries: u32,
    #[component(name = "scratch-bytes")]
    scratch_bytes: u64,
    limits: Limits,
    reads: Vec<String>,
    writes: Vec<String>,
}

/// `tasks.bundle`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct Bundle {
    name: String,
    version: String,
    sdk: String,
    tasks: Vec<Task>,
}

/// `context.info`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Info {
    pub(crate) key: String,
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) worker: String,
}

/// `log.level`.
#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by wasmtime, out of a guest's number")]
pub(crate) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl Level {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl From<grid_proto::Codec> for Codec {
    fn from(codec: grid_proto::Codec) -> Self {
        match codec {
            grid_proto::Codec::Msgpack => Self::Msgpack,
            grid_proto::Codec::Raw => Self::Raw,
            grid_proto::Codec::Arrow => Self::Arrow,
        }
    }
}

impl From<Codec> for grid_proto::Codec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Msgpack => Self::Msgpack,
            Codec::Raw => Self::Raw,
            Codec::Arrow => Self::Arrow,
        }
    }
}

impl From<Bundle> for BundleDescription {
    fn from(bundle: Bundle) -> Self {
        Self {
            name: bundle.name,
            version: bundle.version,
            sdk: bundle.sdk,
            tasks: bundle.tasks.into_iter().map(TaskDescription::from).collect(),
            imports: Vec::new(),
        }
    }
}

impl From<Task> for TaskDescription {
    fn from(task: Task) -> Self {
        let parameter = |ParameterOut { name, shape, lazy }| Parameter { name, shape, lazy };
        Self {
            name: task.name,
            doc: task.doc,
            parameters: task.parameters.into_iter().map(parameter).collect(),
            output: task.output,
            pure: task.pure,
            resident: task.resident,
            retries: task.retries,
            scratch_bytes: task.scratch_bytes,
            limits: TaskLimits {
                memory_bytes: task.limits.memory_bytes,
                timeout_ms: task.limits.timeout_ms,
            },
            reads: task.reads,
            writes: task.writes,
        }
    }
}
