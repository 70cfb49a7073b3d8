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
    let all: [u8; 256] = std::array::from_fn(|n| n as u8);
    let mut bytes = all.repeat(size.div_ceil(all.len()));
    bytes.truncate(size);
    Raw(bytes)
}

/// The number of bytes.
#[task]
pub fn length(bytes: Raw) -> usize {
    bytes.len()
}

/// As many bytes as the first has, each with one of the second mixed in.
#[task]
pub fn blend(bytes: Raw, with: Raw) -> Raw {
    let mut mixed = bytes.0;
    for (byte, other) in mixed.iter_mut().zip(with.0.iter().cycle()) {
        *byte = byte.rotate_left(3) ^ other;
    }
    Raw(mixed)
}

/// A part of the bytes: the `number`th of so many of equal size.
#[task]
pub fn cut(bytes: Raw, number: usize, count: usize) -> Raw {
    let size = bytes.len() / count;
    Raw(bytes[number * size..(number + 1) * size].to_vec())
}

/// All bytes together, of as many parts as a shuffle has.
#[task]
#[expect(clippy::too_many_arguments, reason = "a task has as many inputs as its parameters")]
pub fn join(
    p00: Raw,
    p01: Raw,
    p02: Raw,
    p03: Raw,
    p04: Raw,
    p05: Raw,
    p06: Raw,
    p07: Raw,
    p08: Raw,
    p09: Raw,
    p10: Raw,
    p11: Raw,
    p12: Raw,
    p13: Raw,
    p14: Raw,
    p15: Raw,
    p16: Raw,
    p17: Raw,
    p18: Raw,
    p19: Raw,
    p20: Raw,
    p21: Raw,
    p22: Raw,
    p23: Raw,
    p24: Raw,
    p25: Raw,
    p26: Raw,
    p27: Raw,
    p28: Raw,
    p29: Raw,
    p30: Raw,
    p31: Raw,
) -> Raw {
    let parts = [
        p00, p01, p02, p03, p04, p05, p06, p07, p08, p09, p10, p11, p12, p13, p14, p15, p16, p17,
        p18, p19, p20, p21, p22, p23, p24, p25, p26, p27, p28, p29, p30, p31,
    ];
    Raw(parts.map(|part| part.0).concat())
}

/// Waits; the thread of the sandbox sleeps.
#[task(pure = false)]
pub fn sleep_ms(milliseconds: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    milliseconds
}

grid_sdk::bundle!(noop, echo, add, sum, fresh, spin, chunk, length, blend, cut, join, sleep_ms);

#[cfg(test)]
mod tests {
    #[test]
    fn functions_stay_functions() {
        assert_eq!(super::add(1, 2), 3);
        assert_eq!(super::sum(vec![1, 2, 3]), 6);
        assert_eq!(super::chunk(300).len(), 300);
        assert_eq!(super::chunk(300)[299], 43);
        let raw = |bytes: &[u8]| super::Raw(bytes.to_vec());
        assert_eq!(super::blend(raw(&[1, 2, 3]), raw(&[1, 2])).0, [9, 18, 25]);
    }
}
