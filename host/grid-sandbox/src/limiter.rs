//! One limit over everything that a store holds in linear memories and tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

use crate::config;

/// What all stores of an engine hold in linear memories and tables. Clones count together.
#[derive(Clone, Default, Debug)]
pub(crate) struct HeldMemory(Arc<AtomicU64>);

impl HeldMemory {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// A growth that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refusal {
    /// What the store would have held.
    pub(crate) asked_bytes: u64,
}

/// Sums all linear memories and tables of one store. wasmtime's own `StoreLimits` looks at each
/// memory alone, so that four memories may hold four times the limit.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit_bytes: usize,
    held_bytes: usize,
    peak_bytes: usize,
    /// The last growth, which wasmtime may still fail to carry out.
    granted_bytes: usize,
    refusal: Option<Refusal>,
    all: HeldMemory,
}

impl Drop for MemoryLimiter {
    fn drop(&mut self) {
        self.all.subtract(self.held_bytes);
    }
}

impl MemoryLimiter {
    pub(crate) fn new(limit_bytes: u64, all: HeldMemory) -> Self {
        Self {
            limit_bytes: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            held_bytes: 0,
            peak_bytes: 0,
            granted_bytes: 0,
            refusal: None,
            all,
        }
    }

    /// Another call begins in the same store; the limit is the store's.
    pub(crate) fn begin(&mut self) {
        self.peak_bytes = self.held_bytes;
        self.refusal = None;
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes as u64
    }

    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes as u64
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes as u64
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let added = desired.saturating_sub(current);
        let asked = self.held_bytes.saturating_add(added);
        if asked > self.limit_bytes || maximum.is_some_and(|maximum| desired > maximum) {
            self.refusal = Some(Refusal { asked_bytes: asked as u64 });
            return false;
        }
        self.granted_bytes = added;
        self.held_bytes = asked;
        self.all.add(added);
        self.peak_bytes = self.peak_bytes.max(asked);
        true
    }

    fn take_back(&mut self) {
        let asked_bytes = self.held_bytes as u64;
        self.held_bytes = self.held_bytes.saturating_sub(self.granted_bytes);
        self.all.subtract(self.granted_bytes);
        self.granted_bytes = 0;
        self.refusal = Some(Refusal { asked_bytes });
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum))
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!(%error, "linear memory could not grow");
        // A refusal comes here too; only a growth that was granted is taken back.
        if self.granted_bytes > 0 {
            self.take_back();
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        const ELEMENT_BYTES: usize = size_of::<usize>();
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_grow_failed(error)
    }

    fn instances(&self) -> usize {
        config::CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        config::TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        config::MEMORIES_MAX as usize
    }
}
