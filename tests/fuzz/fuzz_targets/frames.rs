//! Frames from whoever sends them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = grid_model::frames::read(bytes) {
        panic!("{broken}");
    }
});
