//! The host functions of `wit/`, one file for each interface.

mod context;
mod coordination;
mod diagnostics;
mod grid;
mod log;
mod objects;
mod store;
mod worker_local;

use wasmtime::component::Linker;

use crate::state::CallState;

/// Links every interface of `wit/world.wit`.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    // Only types, but a component that uses them imports it.
    linker.instance("grid:task/types@0.1.0")?;
    context::link(linker)?;
    coordination::link(linker)?;
    diagnostics::link(linker)?;
    grid::link(linker)?;
    log::link(linker)?;
    objects::link(linker)?;
    store::link(linker)?;
    worker_local::link(linker)
}
