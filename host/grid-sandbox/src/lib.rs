//! wasmtime and nothing else: compile, cache, limits, run, classify, host functions of wit/.
