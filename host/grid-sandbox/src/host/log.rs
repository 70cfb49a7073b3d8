//! `wit/log.wit`: structured log lines.

use wasmtime::component::Linker;

use crate::contract::Level;
use crate::state::CallState;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut log = linker.instance("grid:task/log@0.1.0")?;
    log.func_wrap("log", |store, (level, message): (Level, String)| {
        let output = &store.data().output;
        output.write(format!("{} {message}\n", level.label()).as_bytes());
        Ok(())
    })
}
