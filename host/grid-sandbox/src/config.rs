//! What an operator says about an engine, and the bounds that nobody may change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grid_proto::outside::ObjectStores;
use grid_proto::{LimitBounds, limits};

/// How an [`crate::Engine`] is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Calls that run at the same time; further ones wait for their turn.
    pub slots: usize,
    /// Calls beyond them that may wait for calls of their own or for what is shared:
    /// each keeps its sandbox meanwhile.
    pub waiting_max: usize,
    /// Actors beside them: each keeps its sandbox until it is dropped.
    pub actors_max: usize,
    /// Instances of resident tasks, warm or in use, beside all of them; 0 keeps none.
    pub residents_max: usize,
    /// Calls that one of them serves before a fresh one takes its turn.
    pub resident_uses_max: u32,
    /// How old one of them may become.
    pub resident_age_max: Duration,
    /// How long one call may wait for calls of its own and for what is shared, in all.
    pub waiting_time_max: Duration,
    /// Defaults and ceilings of a call's limits.
    pub bounds: LimitBounds,
    /// Where native code is kept between processes; `None` compiles in each process.
    pub cache_dir: Option<PathBuf>,
    /// Native code that the cache may hold; the least recently used goes first.
    pub cache_bytes_max: u64,
    /// Who turns wasm into native code.
    pub compiler: Compiler,
    /// How long one compilation may take. Only [`Compiler::Child`] can be stopped.
    pub compile_timeout: Duration,
    /// Address space of a compiling child, in bytes.
    pub compile_memory_bytes_max: u64,
    /// Largest bundle that is looked at.
    pub bundle_bytes_max: usize,
    /// Directories that bundles may be given.
    pub grants: Vec<DirGrant>,
    /// Stores outside of the grid, for bundles that use them; without it they are told that there
    /// are none.
    pub stores: Option<Arc<dyn ObjectStores>>,
    /// How often running code looks whether it has to stop.
    pub tick: Duration,
    /// Whether running code looks at all. Without it a loop cannot be stopped: only for measuring
    /// what looking costs, and for slots that are killed at the deadline. Needs
    /// [`Compiler::InProcess`] and no cache.
    pub interruption: bool,
}

/// Who turns wasm into native code.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// This process. A bundle that explodes in the compiler takes the process with it: for tests
    /// and for people's own bundles.
    InProcess,
    /// A child process with limits on time and memory. It must call
    /// [`crate::compile_child_main`] and nothing else.
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// A directory that the operator allows bundles to see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirGrant {
    /// The bundle's name, or `*` for every bundle.
    pub bundle: String,
    /// The directory on this machine.
    pub host: PathBuf,
    /// Where guests find it: an absolute path. What lies below it is granted too.
    pub guest: String,
    /// Guests may change it.
    pub writable: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            waiting_max: 256,
            actors_max: 64,
            residents_max: RESIDENTS_MAX,
            resident_uses_max: RESIDENT_USES_MAX,
            resident_age_max: RESIDENT_AGE_MAX,
            waiting_time_max: Duration::from_secs(24 * 3600),
            bounds: LimitBounds::default(),
            cache_dir: None,
            cache_bytes_max: 2 << 30,
            compiler: Compiler::InProcess,
            compile_timeout: Duration::from_secs(120),
            compile_memory_bytes_max: 4 << 30,
            bundle_bytes_max: limits::BUNDLE_BYTES_MAX,
            grants: Vec::new(),
            stores: None,
            tick: Duration::from_millis(2),
            interruption: true,
        }
    }
}

/// Resident instances of a worker where nobody says otherwise: some for each slot of a usual machine, each
/// of them as large as its task's memory limit at most.
const RESIDENTS_MAX: usize = 32;
/// Calls that one serves: what a guest leaks or fragments is paid for by so many, and a fresh instance
/// with what it has to load costs each of them a thousandth.
const RESIDENT_USES_MAX: u32 = 1_000;
/// How old one becomes: a client that has gone leaves nothing for longer, and what was loaded from outside
/// is not much older than that.
const RESIDENT_AGE_MAX: Duration = Duration::from_secs(600);
/// Core instances of one component: interpreters need ten and more, counting adapters.
pub(crate) const CORE_INSTANCES_MAX: u32 = 32;
/// Linear memories of one component: componentize-qjs needs three.
pub(crate) const MEMORIES_MAX: u32 = 4;
/// Tables of one component.
pub(crate) const TABLES_MAX: u32 = 8;
/// Elements of one table: SpiderMonkey needs 7,700.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Bytes of bookkeeping that one instance may need: grows with the number of its functions.
pub(crate) const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// Stack of wasm code, in bytes. The slot's thread must have clearly more.
pub(crate) const WASM_STACK_BYTES_MAX: usize = 512 << 10;
/// Resources (streams, pollables, descriptors) that a call may hold.
pub(crate) const RESOURCES_MAX: usize = 256;
/// Listings and writers of stores that a store of wasmtime may hold: a writer holds up to 16 MiB of the
/// host's memory, a listing the names of the directories that it is in.
pub(crate) const STORE_WORKS_MAX: usize = 8;
/// Bytes of an argument that one host call reads.
pub(crate) const OBJECT_READ_BYTES_MAX: usize = 8 << 20;
/// Bytes of a result that one host call takes.
pub(crate) const OBJECT_WRITE_BYTES_MAX: usize = 512 << 10;
/// Handles that a component instance may hold.
pub(crate) const HANDLES_MAX: usize = 1024;
/// Random bytes of one host call.
pub(crate) const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Frames that are captured; those of the panic machinery are taken off again.
pub(crate) const FRAMES_CAPTURED: usize = 40;
/// Frames that a failure carries.
pub(crate) const FRAMES_MAX: usize = 20;
/// Instances that may live beside those of the slots: descriptions of new bundles.
pub(crate) const SPARE_INSTANCES: usize = 2;
/// Memory of a finished call that stays mapped for the next one in its place.
pub(crate) const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// Text of one field of a failure or description.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 10;
/// Causes of a user error that are kept.
pub(crate) const CAUSES_MAX: usize = 32;
