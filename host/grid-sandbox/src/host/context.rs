//! `wit/context.wit`: what a call may know about itself.

use wasmtime::component::Linker;

use crate::contract::Info;
use crate::state::CallState;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut context = linker.instance("grid:task/context@0.1.0")?;
    context.func_wrap("current", |store, (): ()| {
        let info = &store.data().info;
        Ok((Info {
            key: info.key.to_string(),
            task: info.task.to_string(),
            attempt: info.attempt.0,
            worker: info.worker.to_string(),
        },))
    })?;
    context.func_wrap("remaining-ms", |store, (): ()| {
        let remaining = store.data().stop.remaining().as_millis();
        Ok((u64::try_from(remaining).unwrap_or(u64::MAX),))
    })
}
