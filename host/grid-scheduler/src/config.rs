//! Time, and the machine's bounds.

/// Microseconds since some moment that the host chose; never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now(pub u64);

impl Now {
    pub(crate) fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// Steps that an event takes itself of what is otherwise done in turns, so that what is small is done
/// with as a whole: some hundred microseconds.
pub(crate) const AT_ONCE_MAX: usize = 256;

/// What an operator may set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Work that a worker is given ahead, per slot: enough to hide the way to the scheduler and
    /// back, little enough that a newcomer still finds something to do.
    pub lookahead_us: u64,
    /// Calls that a worker may have in hand per slot, however short they are.
    pub in_hand_per_slot_max: u32,
    /// Percent of its slots that a worker is filled to whatever the calls' length is; Dask's
    /// `worker-saturation` (1.1), rounded up.
    pub saturation_percent: u32,
    /// A worker that was silent that long is lost.
    pub worker_ttl_us: u64,
    /// Deaths of workers that a call may cause; one more and it fails as `KilledWorker`.
    pub allowed_failures: usize,
    /// Copies that only the reading of calls made are dropped so long after the last of them.
    pub copies_kept_us: u64,
    /// Bytes that move between two workers in a microsecond.
    pub bandwidth_bytes_per_us: u64,
    /// Calls inside of calls: how deep they may be nested, 32,767 at most.
    pub nesting_max: u32,
    /// How often a call may ask to run elsewhere.
    pub reschedules_max: u32,
    /// Calls that one submission may hold.
    pub submission_calls_max: usize,
    /// Calls that one turn starts, stops or forgets: about a millisecond. What is left is done in
    /// the next turns, with messages in between.
    pub turn_calls_max: usize,
    /// Calls of one task that the sandbox, or a worker's death, may end before the task is refused;
    /// 0 for any number. Errors that a task returns do not count.
    pub quarantine_strikes: u32,
    /// Steps of calls that are remembered for whoever asks what happened.
    pub story_steps_max: usize,
    /// Bytes of all that is shared by name: datasets, variables, queues, events and topics.
    pub coordination_bytes_max: u64,
    /// Calls whose bookkeeping is verified in each turn, in a walk over all of them; 0 for none.
    pub checked_per_turn: usize,
    /// Mixed into the hash of the key index, so that no client can aim at its buckets.
    pub seed: u64,
    /// A mistake that the simulator shall find.
    #[cfg(feature = "mutations")]
    pub mutation: Option<crate::Mutation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lookahead_us: 5_000,
            in_hand_per_slot_max: 256,
            saturation_percent: 110,
            worker_ttl_us: 10_000_000,
            allowed_failures: 3,
            copies_kept_us: 2_000_000,
            bandwidth_bytes_per_us: 500,
            nesting_max: 64,
            reschedules_max: 100,
            submission_calls_max: 2_000_000,
            turn_calls_max: 256,
            quarantine_strikes: 1_000,
            story_steps_max: 20_000,
            coordination_bytes_max: 256 << 20,
            checked_per_turn: 8,
            seed: 0,
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}
