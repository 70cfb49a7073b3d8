//! `wit/worker-local.wit`: values that outlive the call. Whose they are and how many, the worker knows.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

use crate::access::{LocalBytes, LocalError};
use crate::state::CallState;

type Store<'a> = StoreContextMut<'a, CallState>;

/// `worker-local.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "over-limit")]
    OverLimit(String),
    #[component(name = "unavailable")]
    Unavailable(String),
}

/// What `put-if-absent` gives.
type Put = Result<Option<LocalBytes>, Error>;

pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    let mut local = linker.instance("grid:task/worker-local@0.1.0")?;
    local.func_wrap("get", |store: Store<'_>, (key,): (String,)| {
        Ok((store.data().local.as_ref().and_then(|local| local.get(&key)),))
    })?;
    local.func_wrap("put-if-absent", |store: Store<'_>, (key, bytes): (String, Vec<u8>)| {
        let put: Put = match &store.data().local {
            Some(local) => local.put_if_absent(&key, bytes).map_err(Error::from),
            None => {
                let message = "nothing is kept here: bundles are described and measured without";
                Err(Error::Unavailable(message.to_owned()))
            }
        };
        Ok((put,))
    })?;
    local.func_wrap("take", |store: Store<'_>, (key,): (String,)| {
        Ok((store.data().local.as_ref().and_then(|local| local.take(&key)),))
    })
}

impl From<LocalError> for Error {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::OverLimit(message) => Self::OverLimit(message),
        }
    }
}
