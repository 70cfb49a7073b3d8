//! How wasmtime is set up. The same settings must rule where code is compiled and where it runs.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::config;

/// How much address space there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    /// 4 GiB for each linear memory: bounds are checked by the page tables.
    Ample,
    /// Under `ulimit -v` and the like: memories take what they hold, bounds are checked by code.
    Scarce,
}

/// Settings that compiled code depends on.
pub(crate) fn compiling(space: Space) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(config::WASM_STACK_BYTES_MAX)
        // Source lines are found in `symbols.rs`.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(config::FRAMES_CAPTURED))
        // Finds the stack pointer after a trap; see `classify.rs`. Copies no memory.
        .coredump_on_trap(true)
        // Equal calls give equal results on every machine.
        .relaxed_simd_deterministic(true);
    features_off(&mut config);
    if space == Space::Scarce {
        const RESERVED_BYTES: u64 = 1 << 20;
        const GUARD_BYTES: u64 = 64 << 10;
        config
            .memory_reservation(RESERVED_BYTES)
            .memory_reservation_for_growth(RESERVED_BYTES)
            .memory_guard_size(GUARD_BYTES);
    }
    config
}

/// What no bundle needs is off: less to attack.
fn features_off(config: &mut Config) {
    config
        .wasm_gc(false)
        .gc_support(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_threads(false)
        .wasm_multi_memory(false)
        .wasm_stack_switching(false)
        .wasm_tail_call(false)
        .concurrency_support(false);
}

/// Settings of an engine that runs calls.
pub(crate) fn running(
    space: Space,
    places: usize,
    memory_bytes_max: u64,
    interruption: bool,
) -> Config {
    let mut config = compiling(space);
    config.epoch_interruption(interruption);
    if space == Space::Ample {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
            places,
            memory_bytes_max,
        )));
    }
    config
}

fn pool(places: usize, memory_bytes_max: u64) -> PoolingAllocationConfig {
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(places)
        .total_core_instances(places.saturating_mul(config::CORE_INSTANCES_MAX))
        .total_memories(places.saturating_mul(config::MEMORIES_MAX))
        .total_tables(places.saturating_mul(config::TABLES_MAX))
        .total_stacks(0)
        .max_core_instances_per_component(config::CORE_INSTANCES_MAX)
        .max_memories_per_component(config::MEMORIES_MAX)
        .max_tables_per_component(config::TABLES_MAX)
        .max_tables_per_module(config::TABLES_MAX)
        .max_component_instance_size(config::INSTANCE_BYTES_MAX)
        .max_core_instance_size(config::INSTANCE_BYTES_MAX)
        .table_elements(config::TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(memory_bytes_max).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(config::KEEP_RESIDENT_BYTES)
        .table_keep_resident(config::TABLE_ELEMENTS_MAX * size_of::<usize>())
        .pagemap_scan(Enabled::Auto);
    pool
}
