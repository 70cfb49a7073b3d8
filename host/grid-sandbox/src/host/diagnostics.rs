//! `wit/diagnostics.wit`: how a language runtime tells what a bare trap cannot say.

use wasmtime::component::Linker;

use crate::call::bounded;
use crate::state::{CallState, Panic};

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut diagnostics = linker.instance("grid:task/diagnostics@0.1.0")?;
    diagnostics.func_wrap(
        "panicked",
        |mut store, (message, file, line, column): (String, String, u32, u32)| {
            let (message, file) = (bounded(&message), bounded(&file));
            store.data_mut().panic = Some(Panic { message, file, line, column });
            Ok(())
        },
    )
}
