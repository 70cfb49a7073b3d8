//! Tasks that want too much.

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use grid_sdk::{Raw, task};

/// Never returns.
#[task]
pub fn loop_forever() -> u64 {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Takes memory until there is none.
#[task]
pub fn memory_bomb() -> usize {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 1 << 20]);
        black_box(&kept);
    }
}

/// Asks for so many bytes at once and touches none.
#[task]
pub fn huge_allocation(size: usize) -> usize {
    black_box(Vec::<u8>::with_capacity(size)).capacity()
}

/// Uses so many bytes and returns.
#[task]
pub fn allocate(size: usize) -> usize {
    black_box(vec![1_u8; size]).len()
}

/// Gives so many bytes.
#[task]
pub fn huge_result(size: usize) -> Raw {
    Raw(vec![7; size])
}

/// Sleeps for a year.
#[task]
pub fn sleep_forever() {
    std::thread::sleep(Duration::from_secs(365 * 24 * 3600));
}

/// Writes so many bytes to standard output, with codes that clear a terminal.
#[task]
pub fn flood(size: usize) -> usize {
    let line = b"\x1b[2J\x1b]0;owned\x07flood\n";
    let mut out = std::io::stdout().lock();
    let mut written = 0;
    while written < size && out.write_all(line).is_ok() {
        written += line.len();
    }
    written
}

/// Writes to standard error and never stops.
#[task]
pub fn flood_forever() -> bool {
    let block = [b'x'; 4096];
    let mut out = std::io::stderr().lock();
    loop {
        black_box(out.write_all(&block).is_ok());
    }
}

/// Writes so many lines of log.
#[task]
pub fn log_flood(lines: u64) -> u64 {
    for line in 0..lines {
        grid_sdk::log::info(format_args!("line {line}"));
    }
    lines
}

/// Asks the host for so many random bytes at once; the error code of WASI.
#[task(pure = false)]
pub fn random_flood(size: usize) -> i32 {
    random(&mut vec![0; size])
}

#[cfg(target_family = "wasm")]
fn random(bytes: &mut [u8]) -> i32 {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        fn random_get(bytes: *mut u8, length: usize) -> i32;
    }
    // SAFETY: the bytes are ours for as long as the call.
    unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) }
}

#[cfg(not(target_family = "wasm"))]
fn random(_: &mut [u8]) -> i32 {
    0
}
