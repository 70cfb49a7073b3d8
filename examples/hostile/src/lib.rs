//! Functions that do everything wrong, and one that does not. Each of the bad ones costs its own
//! call and a tick on a counter.

use std::hint::black_box;
use std::io::Write;

use grid_sdk::task;

/// Reads behind the end of its memory.
#[task(pure = false)]
pub fn out_of_bounds() -> u64 {
    let address = black_box(usize::MAX - 15) as *const u64;
    // SAFETY: none, and none is needed: the sandbox is what stops this.
    unsafe { address.read_unaligned() }
}

/// Never returns.
#[task(timeout = "1s", pure = false)]
pub fn endless_loop() -> u64 {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Takes memory until there is none.
#[task(memory = "64MiB", pure = false)]
pub fn memory_bomb() -> u64 {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        black_box(&kept);
    }
}

/// Calls itself until the stack is full.
#[task(pure = false)]
pub fn stack_overflow() -> u64 {
    deeper(black_box(0))
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is what this function is for")]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    deeper(depth + 1) ^ black_box(frame)[7]
}

/// Executes the instruction that must not be reached.
#[task(pure = false)]
pub fn unreachable() -> u64 {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

/// Panics.
#[task(pure = false)]
pub fn panics() -> u64 {
    let empty: Vec<u64> = black_box(Vec::new());
    empty[3]
}

/// Writes far more than anybody wants to keep, with codes that would clear a terminal.
#[task(pure = false)]
pub fn output_flood() -> u64 {
    let line = b"\x1b[2J\x1b]0;owned\x07 flood flood flood flood flood flood\n";
    let mut out = std::io::stdout().lock();
    (0..20_000).map(|_| out.write(line).unwrap_or(0) as u64).sum()
}

/// What everybody else is here for.
#[task]
pub fn good(number: u64) -> u64 {
    number * number + 1
}

grid_sdk::bundle!(
    out_of_bounds,
    endless_loop,
    memory_bomb,
    stack_overflow,
    unreachable,
    panics,
    output_flood,
    good
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_is_good() {
        assert_eq!([good(0), good(1), good(12)], [1, 2, 145]);
    }

    #[test]
    #[should_panic = "index out of bounds: the len is 0 but the index is 3"]
    fn panics_natively_too() {
        panics();
    }

    #[test]
    fn the_bad_ones_ask_for_no_more_than_they_need() {
        use grid_sdk::Task;
        assert_eq!(<endless_loop as Task>::DESCRIPTION.timeout_ms, Some(1_000));
        assert_eq!(<memory_bomb as Task>::DESCRIPTION.memory_bytes, Some(64 << 20));
        // Each call of them runs: equal calls of a pure task would share one result.
        assert!(!endless_loop::call().node().pure && good::call(1).node().pure);
    }
}
