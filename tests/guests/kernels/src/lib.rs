//! Compute kernels, the same code natively and in a sandbox: one of integers, one of floating
//! point, one bound by memory.

use grid_sdk::task;

/// A chain of FNV-1a steps over a counter.
#[task]
pub fn fnv(steps: u64) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for step in 0..steps {
        hash = (hash ^ (step & 0xff)).wrapping_mul(PRIME);
    }
    hash
}

/// Iterations of the Mandelbrot set over a square of points; gives their sum.
#[task]
pub fn mandelbrot(size: u32, iterations: u32) -> u64 {
    let mut sum = 0;
    for row in 0..size {
        for column in 0..size {
            let x0 = f64::from(column) / f64::from(size) * 3.0 - 2.0;
            let y0 = f64::from(row) / f64::from(size) * 2.0 - 1.0;
            let (mut x, mut y, mut done) = (0.0, 0.0, 0);
            // The squares serve the test and the next step: three multiplications a round.
            let (mut xx, mut yy) = (0.0, 0.0);
            while done < iterations && xx + yy <= 4.0 {
                y = (x + x) * y + y0;
                x = xx - yy + x0;
                (xx, yy) = (x * x, y * y);
                done += 1;
            }
            sum += u64::from(done);
        }
    }
    sum
}

/// The number of primes below a bound, by the sieve of Eratosthenes.
#[task]
pub fn sieve(bound: u32) -> u32 {
    let bound = bound as usize;
    let mut composite = vec![false; bound];
    let mut primes = 0;
    for number in 2..bound {
        if composite[number] {
            continue;
        }
        primes += 1;
        // On wasm32 the square of a large number does not fit.
        let mut multiple = number.saturating_mul(number);
        while multiple < bound {
            composite[multiple] = true;
            multiple += number;
        }
    }
    primes
}

grid_sdk::bundle!(fnv, mandelbrot, sieve);

#[cfg(test)]
mod tests {
    #[test]
    fn known_values() {
        assert_eq!(super::sieve(1_000), 168);
        assert_eq!(super::mandelbrot(1, 10), 1);
        assert_eq!(super::fnv(0), 0xcbf2_9ce4_8422_2325);
    }
}
