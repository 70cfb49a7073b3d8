//! WASI 0.2 for guests: clocks, random numbers, captured output, granted directories, nothing else.

use std::cell::OnceCell;

use tokio::runtime::{Builder, Runtime};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView as _};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::{cli, clocks, random, sync};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtxBuilder, WasiView as _};
use wasmtime_wasi_io::bindings::wasi::io as async_io;

use crate::config;
use crate::output::Output;
use crate::scratch;
use crate::state::CallState;
use crate::stop::Stop;

/// A context that denies all: no files, no arguments, no environment, no network.
pub(crate) fn builder(output: &Output) -> WasiCtxBuilder {
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(output.clone())
        .stderr(output.clone())
        .max_random_size(config::RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        // File operations run on the slot's thread, which is there to be blocked.
        .allow_blocking_current_thread(true);
    builder
}

/// Links every interface of WASI that a bundle may import.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    type T = CallState;
    let l = linker;
    clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, T::clocks)?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, T::clocks)?;
    random::random::add_to_linker::<T, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure::add_to_linker::<T, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, |t| t.ctx().ctx.random())?;
    cli::exit::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::environment::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, T::cli)?;
    scratch::link(l)?;
    async_io::error::add_to_linker::<T, HasTable>(l, |t| &mut t.table)?;
    sync::io::streams::add_to_linker::<T, HasTable>(l, |t| &mut t.table)?;
    sync::io::poll::add_to_linker::<T, HasWaits>(l, |t| Waits {
        table: &mut t.table,
        stop: &t.stop,
    })
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

struct HasWaits;

impl HasData for HasWaits {
    type Data<'a> = Waits<'a>;
}

/// `wasi:io/poll`, where guests wait: wasmtime's own would sleep for a year if asked to, because
/// epochs do not interrupt host functions.
struct Waits<'a> {
    table: &'a mut ResourceTable,
    stop: &'a Stop,
}

impl sync::io::poll::Host for Waits<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        self.wait(async |table| async_io::poll::Host::poll(table, pollables).await)
    }
}

impl sync::io::poll::HostPollable for Waits<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        self.wait(async |table| async_io::poll::HostPollable::ready(table, pollable).await)
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        self.wait(async |table| async_io::poll::HostPollable::block(table, pollable).await)
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        async_io::poll::HostPollable::drop(self.table, pollable)
    }
}

impl Waits<'_> {
    fn wait<R>(
        &mut self,
        wait: impl AsyncFnOnce(&mut ResourceTable) -> wasmtime::Result<R>,
    ) -> wasmtime::Result<R> {
        with_runtime(|runtime| runtime.block_on(self.stop.bound(wait(self.table))))?
    }
}

/// Runs `body` with this thread's runtime: timers only, no thread and no descriptor of its own.
pub(crate) fn with_runtime<R>(body: impl FnOnce(&Runtime) -> R) -> R {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            let built = Builder::new_current_thread().enable_time().build();
            built.expect("a runtime without io asks the system for nothing")
        });
        body(runtime)
    })
}
