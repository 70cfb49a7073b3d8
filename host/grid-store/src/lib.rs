//! A worker's objects in memory.
