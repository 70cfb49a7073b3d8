//! Whole grids under test: in one process, and as processes of the binary `grid`. Bundles come from
//! `cargo xtask guests`.

#[cfg(test)]
mod embedded;
#[cfg(test)]
mod support;
