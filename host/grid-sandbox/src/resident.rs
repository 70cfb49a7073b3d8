//! Resident instances: an instance that stays after a call for calls like it. It is an actor that nobody
//! names: whoever has it may run the next call in it or drop it.

use std::time::Instant;

use crate::actor::{Actor, Kept};
use crate::call::{CallReport, CallRequest};
use crate::engine::Engine;

/// An instance that has ended its calls well, for a further one with the same limit on memory.
#[derive(Debug)]
pub struct Resident {
    actor: Actor,
    memory_bytes_max: u64,
    uses: u32,
    made: Instant,
}

impl Resident {
    /// Bytes of its linear memories and tables.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.actor.held_bytes()
    }

    /// Whether the call's own limit on memory is the one that it was made with.
    fn fits(&self, request: &CallRequest<'_>) -> bool {
        self.memory_bytes_max == request.limits.memory_bytes_max
    }
}

impl Engine {
    /// As [`Self::run`], and keeps the instance of a call that has a result, while there is a place for
    /// it.
    #[must_use]
    pub fn run_resident(&self, request: &CallRequest<'_>) -> (CallReport, Option<Resident>) {
        let made = Instant::now();
        let mut place = self.residents().take_if_any();
        let mut actor = None;
        let report = self.in_place(request, |stop, output| {
            let (attempted, left) = self.attempt(request, stop, output);
            if attempted.has_result()
                && let (Some((sandbox, instance)), Some(place)) = (left, place.take())
            {
                actor = Some(Actor::new(Kept { sandbox, instance, output: output.clone(), place }));
            }
            attempted
        });
        let memory_bytes_max = request.limits.memory_bytes_max;
        let resident = |actor| Resident { actor, memory_bytes_max, uses: 1, made };
        (report, actor.map(resident).and_then(|resident| self.unless_spent(resident)))
    }

    /// Runs one call in an instance that stayed, and gives that back if the call has a result and it may
    /// stay on. In a fresh one if the call's limit on memory is another.
    #[must_use]
    pub fn run_again(
        &self,
        resident: Resident,
        request: &CallRequest<'_>,
    ) -> (CallReport, Option<Resident>) {
        if !resident.fits(request) {
            drop(resident);
            return self.run_resident(request);
        }
        let Resident { actor, memory_bytes_max, uses, made } = resident;
        let (report, left) = self.run_in(actor, request);
        let left = left.filter(|_| report.outcome.is_ok());
        let resident = |actor| Resident { actor, memory_bytes_max, uses: uses + 1, made };
        (report, left.map(resident).and_then(|resident| self.unless_spent(resident)))
    }

    /// Whether a resident instance has had its time.
    #[must_use]
    pub fn is_spent(&self, resident: &Resident) -> bool {
        let (uses_max, age_max) = self.resident_bounds();
        resident.uses >= uses_max || resident.made.elapsed() >= age_max
    }

    fn unless_spent(&self, mut resident: Resident) -> Option<Resident> {
        (resident.actor.is_idle() && !self.is_spent(&resident)).then_some(resident)
    }
}
