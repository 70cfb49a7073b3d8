//! Intermediate results do not pile up: what all stores hold together stays below what the calls at the
//! slots need, whatever the number of leaves.

use crate::task::INPUTS_MAX;
use crate::world::World;

/// Mean size of a result, of which a quarter is large.
const RESULT_BYTES: u64 = 33_000;
/// A result, and the copy that its reader fetched.
const COPIES: u64 = 2;

#[derive(Debug, Default)]
pub(crate) struct Pile {
    /// The most bytes that all stores held at a time.
    pub(crate) live_bytes_max: u64,
}

impl World {
    /// What stores hold has changed. Only large runs hold it against a bound: others keep whatever
    /// their clients want.
    pub(crate) fn check_pile(&mut self) -> Result<(), String> {
        self.pile.live_bytes_max = self.pile.live_bytes_max.max(self.live_bytes);
        if self.pace.of_agents {
            return Ok(());
        }
        let ends: u64 = self.clients.iter().map(|client| client.futures.len() as u64).sum();
        // For each slot the inputs of one call, some there and some still to be computed.
        let waiting = self.slots() * INPUTS_MAX as u64;
        let bound = (waiting + ends) * COPIES * RESULT_BYTES;
        match self.live_bytes <= bound {
            true => Ok(()),
            false => {
                let (live, slots) = (self.live_bytes, self.slots());
                Err(format!("stores hold {live} bytes while {slots} slots run, {bound} at most"))
            }
        }
    }
}
