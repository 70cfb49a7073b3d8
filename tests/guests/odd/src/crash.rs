//! Tasks that trap.

use std::hint::black_box;

use grid_sdk::task;

/// Panics with this message.
#[task]
pub fn panic(message: String) {
    panic!("{message}");
}

/// Panics with a message of so many bytes.
#[task]
pub fn panic_huge(size: usize) {
    panic!("{}", "x".repeat(size));
}

/// Unwraps a `None`.
#[task]
pub fn unwrap_none() -> i64 {
    black_box(None::<i64>).expect("nothing is there")
}

/// Indexes behind the end of a vector, which Rust notices.
#[task]
pub fn index_out_of_bounds(index: usize) -> u8 {
    vec![1, 2, 3][index]
}

/// Executes `unreachable`.
#[task]
pub fn unreachable() {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

/// Aborts without a panic.
#[task]
pub fn abort() {
    std::process::abort();
}

/// Leaves the process with this code.
#[task]
pub fn exit(code: i32) {
    std::process::exit(code);
}

/// Reads behind the end of the linear memory, which the machine notices.
#[task]
pub fn out_of_bounds() -> u8 {
    let address = black_box(usize::MAX - 15) as *const u8;
    // SAFETY: none; in a sandbox this traps, and that is what it is for.
    unsafe { address.read_volatile() }
}

/// Divides by zero with the machine's own instruction.
#[task]
pub fn divide_by_zero(number: i64) -> i64 {
    divide(number, black_box(0))
}

/// Divides the smallest number by -1 with the machine's own instruction.
#[task]
pub fn overflow() -> i64 {
    divide(black_box(i64::MIN), black_box(-1))
}

#[inline(never)]
fn divide(number: i64, by: i64) -> i64 {
    // SAFETY: none; it leaves Rust's checks out so that the machine's own are met.
    unsafe { number.checked_div(by).unwrap_unchecked() }
}

/// Recurses with large frames until the stack in the linear memory is used up.
#[task]
pub fn shadow_stack() -> u64 {
    large_frame(0)
}

#[inline(never)]
fn large_frame(depth: u64) -> u64 {
    let mut frame = [depth; 2048];
    black_box(&mut frame);
    let deeper = if black_box(true) { large_frame(depth + 1) } else { 0 };
    deeper ^ black_box(&frame)[7]
}

/// Recurses without touching the linear memory until the machine's stack is used up.
#[task]
pub fn deep_recursion() -> u64 {
    small_frame(0)
}

static SMALL_FRAME: fn(u64) -> u64 = small_frame;

#[inline(never)]
fn small_frame(depth: u64) -> u64 {
    // SAFETY: a read of a static that is always there; volatile, so that it is no loop.
    let next = unsafe { std::ptr::read_volatile(&raw const SMALL_FRAME) };
    next(depth + 1).wrapping_mul(31) ^ depth
}
