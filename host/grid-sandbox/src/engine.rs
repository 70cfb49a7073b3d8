//! The engine: what all calls of a process share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use grid_proto::outside::ObjectStores;
use grid_proto::{BundleHash, LimitBounds};
use wasmtime::component::Linker;

use crate::actor::ActorPlaces;
use crate::bundle::{self, Bundle};
use crate::cache::CodeCache;
use crate::compile;
use crate::config::{DirGrant, EngineConfig, SPARE_INSTANCES};
use crate::error::{BundleError, EngineError};
use crate::gate::Gate;
use crate::limiter::HeldMemory;
use crate::state::CallState;
use crate::ticker::Ticker;
use crate::tuning::{self, Space};
use crate::{grants, host, wasi};

/// Compiles and runs bundles. Clones are the same engine; all methods may be called from many
/// threads at once, and no lock is taken while a call runs.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: EngineConfig,
    space: Space,
    wasmtime: wasmtime::Engine,
    linker: Linker<CallState>,
    cache: Option<CodeCache>,
    gate: Gate,
    actors: ActorPlaces,
    residents: ActorPlaces,
    ticker: Ticker,
    held_memory: HeldMemory,
    loads: Mutex<HashMap<BundleHash, Load>>,
}

/// A bundle that is loaded or being loaded: whoever comes second waits for the first.
type Load = Arc<OnceLock<Result<Arc<Bundle>, BundleError>>>;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes an engine. Where the address space is limited it falls back from a pool of reserved
    /// memories to memories made for each call.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        Self::with_space(config.clone(), Space::Ample).or_else(|error| match error {
            EngineError::Wasmtime(error) => {
                tracing::warn!(error, "no room for a pool of memories: calls will be slower");
                Self::with_space(config, Space::Scarce)
            }
            EngineError::Cache { .. } | EngineError::Ticker(_) | EngineError::Grant(_) => {
                Err(error)
            }
        })
    }

    /// Makes an engine for this much address space.
    pub(crate) fn with_space(config: EngineConfig, space: Space) -> Result<Self, EngineError> {
        grants::check(&config.grants)?;
        let refused = |error: wasmtime::Error| EngineError::Wasmtime(format!("{error:#}"));
        let places = config.slots.max(1) + config.waiting_max + SPARE_INSTANCES;
        let memory_bytes_max = config.bounds.ceiling.memory_bytes_max;
        let pool = places + config.actors_max + config.residents_max;
        let tuned = tuning::running(space, pool, memory_bytes_max, config.interruption);
        let wasmtime = wasmtime::Engine::new(&tuned).map_err(refused)?;
        let mut linker = Linker::new(&wasmtime);
        wasi::link(&mut linker).and_then(|()| host::link(&mut linker)).map_err(refused)?;
        let cache = match &config.cache_dir {
            Some(dir) => Some(CodeCache::open(dir, config.cache_bytes_max, &wasmtime)?),
            None => None,
        };
        let epoch = wasmtime.clone();
        let ticker = Ticker::start(config.tick, move || epoch.increment_epoch())
            .map_err(EngineError::Ticker)?;
        let gate = Gate::new(places);
        let actors = ActorPlaces::new(config.actors_max);
        let residents = ActorPlaces::new(config.residents_max);
        let loads = Mutex::default();
        let held_memory = HeldMemory::default();
        Ok(Self(Arc::new(Inner {
            config,
            space,
            wasmtime,
            linker,
            cache,
            gate,
            actors,
            residents,
            ticker,
            held_memory,
            loads,
        })))
    }

    #[cfg(test)]
    pub(crate) fn space(&self) -> Space {
        self.0.space
    }

    /// Makes a bundle ready to run: from memory, from the code cache, or by compiling it. Blocks,
    /// for seconds if it must compile; however many threads ask, it compiles once.
    ///
    /// # Errors
    /// See [`BundleError`]. A failed load is not remembered.
    pub fn load(&self, hash: BundleHash, bytes: &[u8]) -> Result<Arc<Bundle>, BundleError> {
        let load = Arc::clone(self.loads().entry(hash).or_default());
        let loaded = load.get_or_init(|| self.load_now(hash, bytes).map(Arc::new)).clone();
        if loaded.is_err() {
            let mut loads = self.loads();
            // Somebody may have begun anew in between.
            if loads.get(&hash).is_some_and(|current| Arc::ptr_eq(current, &load)) {
                loads.remove(&hash);
            }
        }
        loaded
    }

    /// The bundle, if it is loaded already.
    #[must_use]
    pub fn loaded(&self, hash: BundleHash) -> Option<Arc<Bundle>> {
        self.loads().get(&hash)?.get()?.as_ref().ok().map(Arc::clone)
    }

    /// Gives a bundle's memory back as soon as no call uses it.
    pub fn forget(&self, hash: BundleHash) {
        self.loads().remove(&hash);
    }

    fn load_now(&self, hash: BundleHash, bytes: &[u8]) -> Result<Bundle, BundleError> {
        let Inner { config, wasmtime, linker, cache, .. } = &*self.0;
        let (size_bytes, limit_bytes) = (bytes.len() as u64, config.bundle_bytes_max as u64);
        if size_bytes > limit_bytes {
            return Err(BundleError::TooLarge { size_bytes, limit_bytes });
        }
        bundle::check_header(bytes)?;
        let found = BundleHash::of(bytes);
        if found != hash {
            let (expected, found) = (hash.to_string(), found.to_string());
            return Err(BundleError::HashMismatch { expected, found });
        }
        let cached = cache.as_ref().and_then(|cache| cache.get(hash)?.load(wasmtime).ok());
        let component = match cached {
            Some(component) => component,
            None => {
                let code = compile::compile(config, self.0.space, wasmtime, bytes)?;
                let component = code
                    .load(wasmtime)
                    .map_err(|error| BundleError::NeedsTooMuch(format!("{error:#}")))?;
                if let Some(cache) = cache {
                    cache.put(hash, &code);
                }
                component
            }
        };
        Bundle::link(hash, bytes, &component, linker, config.bounds.ceiling.memory_bytes_max)
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<BundleHash, Load>> {
        self.0.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Defaults and ceilings of limits.
    #[must_use]
    pub fn bounds(&self) -> LimitBounds {
        self.0.config.bounds
    }

    /// How long one call may wait for calls of its own and for what is shared, in all.
    pub(crate) fn waiting_time_max(&self) -> std::time::Duration {
        self.0.config.waiting_time_max
    }

    /// What the linear memories and tables of all sandboxes hold at this moment, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.held_memory.bytes()
    }

    pub(crate) fn held_memory(&self) -> &HeldMemory {
        &self.0.held_memory
    }

    /// Calls that run at the same time.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.0.config.slots
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    pub(crate) fn grants(&self) -> &[DirGrant] {
        &self.0.config.grants
    }

    pub(crate) fn stores(&self) -> Option<&dyn ObjectStores> {
        self.0.config.stores.as_deref()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(crate) fn actors(&self) -> &ActorPlaces {
        &self.0.actors
    }

    pub(crate) fn residents(&self) -> &ActorPlaces {
        &self.0.residents
    }

    /// Calls that a resident instance may serve, and how old it may become.
    pub(crate) fn resident_bounds(&self) -> (u32, std::time::Duration) {
        (self.0.config.resident_uses_max, self.0.config.resident_age_max)
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.0.ticker
    }
}
