//! Guest toolchain, bundle building and scaffolding.
