//! Errors, one variant for each thing that a caller can do about it.

use std::path::PathBuf;

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused the configuration or the machine's resources.
    #[error("cannot make the wasm engine: {0}")]
    Wasmtime(String),
    /// The directory for native code cannot be used.
    #[error("cannot use `{path}` for native code: {source}; name another directory or none")]
    Cache {
        /// The directory or the file in it.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The thread that stops calls could not be started.
    #[error("cannot start the ticker thread: {0}")]
    Ticker(std::io::Error),
    /// A grant that can never match.
    #[error("the guest path `{0}` of a grant must be absolute and without `.` or `..`")]
    Grant(String),
}

/// A bundle cannot be run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes are something else.
    #[error("not a wasm file: it must begin with `\\0asm`, but begins with {0}")]
    NotWasm(String),
    /// The bytes are a core module.
    #[error("this is a core wasm module, not a component: build it with `grid build`")]
    CoreModule,
    /// The bytes are not those that the hash names.
    #[error("the bytes have the hash `{found}`, not `{expected}`: fetch the bundle again")]
    HashMismatch {
        /// What was asked for.
        expected: String,
        /// What the bytes are.
        found: String,
    },
    /// The component does not export what a bundle exports.
    #[error("not a bundle: {missing}; build it with `grid build`")]
    WrongExports {
        /// What is missing or different.
        missing: String,
    },
    /// The component wants something that no bundle gets.
    #[error("the import `{import}` is not allowed; allowed are {allowed}")]
    ImportDenied {
        /// The import.
        import: String,
        /// What a bundle may import.
        allowed: String,
    },
    /// Truncated, flipped or built with features that are off.
    #[error("not a valid component: {0}; build or fetch it again")]
    Invalid(String),
    /// More bytes than this engine looks at.
    #[error("the bundle has {size_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The compiler was stopped.
    #[error("compiling took longer than {limit_ms} ms: make the bundle smaller or raise the limit")]
    CompileTimeout {
        /// The limit.
        limit_ms: u64,
    },
    /// The compiler ran out of memory.
    #[error(
        "compiling needs more than {limit_bytes} bytes of memory: make the bundle smaller or raise the limit"
    )]
    CompileMemory {
        /// The limit.
        limit_bytes: u64,
    },
    /// The compiler could not be started or died.
    #[error("the compiler failed: {0}")]
    Compiler(String),
    /// The component needs more than any call may have.
    #[error("the bundle needs more than a sandbox has: {0}")]
    NeedsTooMuch(String),
    /// `describe` failed or said something that cannot be used.
    #[error("the bundle's description cannot be used: {0}")]
    BadDescription(String),
}
