//! The one unsafe step of this crate: native code from bytes.
#![expect(unsafe_code, reason = "wasmtime cannot check native code that it is given")]

use wasmtime::component::Component;

/// Native code that this machine made: straight from the compiler that this process ran or
/// started, or out of a cache file whose authentication code matched this machine's key.
pub(crate) struct TrustedCode(Vec<u8>);

impl TrustedCode {
    /// Says that the bytes have one of the two origins above. Called in `compile.rs` and `cache.rs`
    /// only.
    pub(crate) fn assert_made_here(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The code.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes the code executable. wasmtime refuses code of another version, configuration or
    /// processor.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are the unmodified output of `precompile_component`, as wasmtime's
        // contract demands: `TrustedCode` is made only where its bytes come over a pipe from the
        // compiler that we started, or from a file with a valid keyed code, whose key never leaves
        // this machine and whose directory only this user can enter.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
