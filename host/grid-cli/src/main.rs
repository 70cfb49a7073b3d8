//! The binary grid.
fn main() {}
