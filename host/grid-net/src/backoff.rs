//! How long to wait before the next try.

use std::time::Duration;

/// Doubles from try to try up to a bound, spread so that many clients do not come at once.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
    seed: u64,
}

impl Backoff {
    /// Waits about `first`, then twice that, up to `max`. The seed spreads the waits.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { next: first, max, seed }
    }

    /// The wait before the next try: between half of the present step and all of it.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next.min(self.max);
        self.next = step.saturating_mul(2).min(self.max);
        // xorshift64; only spreads, so quality does not matter.
        self.seed = (self.seed | 1) ^ (self.seed << 13);
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let spread = u32::try_from(self.seed % 512).unwrap_or(0);
        step / 2 + step / 1024 * spread
    }
}
