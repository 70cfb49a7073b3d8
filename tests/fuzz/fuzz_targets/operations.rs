//! Sequences of operations on the scheduler's machine, three bytes each.

#![no_main]

use grid_model::Operation;
use libfuzzer_sys::fuzz_target;

/// Longer runs are slower and find no more.
const OPERATIONS_MAX: usize = 400;

fuzz_target!(|bytes: &[u8]| {
    let mut operations = Operation::read_all(bytes);
    operations.truncate(OPERATIONS_MAX);
    if let Err(broken) = grid_model::run(&operations) {
        panic!("{broken}\nin {operations:?}");
    }
});
