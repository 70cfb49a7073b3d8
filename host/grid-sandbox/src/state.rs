//! What belongs to one store: one call, or the calls of an actor or a resident instance, one after the
//! other.

use std::sync::Arc;

use grid_proto::outside::StoreAccess;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::access::{GridAccess, LocalAccess, ObjectAccess};
use crate::call::CallInfo;
use crate::config;
use crate::limiter::MemoryLimiter;
use crate::output::Output;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::wasi;

/// A panic that the guest announced.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) message: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// The data of a store.
pub(crate) struct CallState {
    pub(crate) info: CallInfo,
    pub(crate) stop: Stop,
    pub(crate) memory: MemoryLimiter,
    pub(crate) output: Output,
    pub(crate) panic: Option<Panic>,
    pub(crate) table: ResourceTable,
    pub(crate) grid: Option<Arc<dyn GridAccess>>,
    /// What its bundle keeps on this worker.
    pub(crate) local: Option<Arc<dyn LocalAccess>>,
    /// What it reads and writes piece by piece.
    pub(crate) objects: Option<Arc<dyn ObjectAccess>>,
    /// Stores outside of the grid, as this call may use them.
    pub(crate) stores: Option<Arc<dyn StoreAccess>>,
    /// Listings and writers that are open.
    pub(crate) store_works: usize,
    /// Its private directory, if it has one.
    pub(crate) scratch: Option<Scratch>,
    /// Made when the guest first uses WASI: most short functions never do.
    wasi: Option<WasiCtx>,
}

impl CallState {
    pub(crate) fn new(
        info: CallInfo,
        stop: Stop,
        memory: MemoryLimiter,
        output: Output,
        wasi: Option<WasiCtx>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(config::RESOURCES_MAX);
        Self {
            info,
            stop,
            memory,
            output,
            panic: None,
            table,
            grid: None,
            local: None,
            objects: None,
            stores: None,
            store_works: 0,
            scratch: None,
            wasi,
        }
    }

    /// What the guest's files are.
    pub(crate) fn wasi_and_scratch(&mut self) -> (WasiFilesystemCtxView<'_>, Option<&mut Scratch>) {
        let ctx = self.wasi.get_or_insert_with(|| wasi::builder(&self.output).build());
        let view = WasiFilesystemCtxView { ctx: ctx.filesystem(), table: &mut self.table };
        (view, self.scratch.as_mut())
    }

    /// Another call begins in the same store.
    pub(crate) fn begin(&mut self, info: CallInfo, stop: Stop) {
        self.info = info;
        self.stop = stop;
        self.memory.begin();
        self.panic = None;
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| wasi::builder(&self.output).build());
        WasiCtxView { ctx, table: &mut self.table }
    }
}
