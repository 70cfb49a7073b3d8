//! Tasks that do almost nothing, for tests and benches of everything around them.

use grid_sdk::{Raw, task};

/// Nothing.
#[task]
pub fn noop() {}

/// The same bytes.
#[task]
pub fn echo(bytes: Raw) -> Raw {
    bytes
}

/// The sum, wrapping around.
#[task]
pub fn add(a: i64, b: i64) -> i64 {
    a.wrapping_add(b)
}

/// The sum of all, wrapping around.
#[task]
pub fn sum(numbers: Vec<i64>) -> i64 {
    numbers.into_iter().fold(0, i64::wrapping_add)
}

/// The number itself, for a call that must run each time.
#[task(pure = false)]
pub fn fresh(number: u64) -> u64 {
    number
}

/// Steps of a xorshift generator: a loop that no compiler removes.
#[task]
pub fn spin(iterations: u64) -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..iterations {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

/// So many bytes, counting up.
#[task]
pub fn chunk(size: usize) -> Raw {
    Raw((0..=u8::MAX).cycle().take(size).collect())
}

/// The number of bytes.
#[task]
pub fn length(bytes: Raw) -> usize {
    bytes.len()
}

/// Waits; the thread of the sandbox sleeps.
#[task(pure = false)]
pub fn sleep_ms(milliseconds: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    milliseconds
}

grid_sdk::bundle!(noop, echo, add, sum, fresh, spin, chunk, length, sleep_ms);

#[cfg(test)]
mod tests {
    #[test]
    fn functions_stay_functions() {
        assert_eq!(super::add(1, 2), 3);
        assert_eq!(super::sum(vec![1, 2, 3]), 6);
        assert_eq!(super::chunk(300).len(), 300);
        assert_eq!(super::chunk(300)[299], 43);
    }
}
