//! What task crates depend on.
