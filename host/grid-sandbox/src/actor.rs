//! Actors: instances that outlive the call that made them. Between two calls nobody runs in them; each
//! call in one is bounded like any other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grid_proto::{Failure, FailureKind};
use wasmtime::component::Instance;

use crate::call::Sandbox;
use crate::output::Output;

/// An instance that stays, with its store. It may be dropped on any thread and run on any thread that
/// may run calls.
///
/// A store is not to be looked at by several threads; the lock, which nobody waits for, says that
/// they may hold on to it.
pub struct Actor(Mutex<Kept>);

/// What stays.
pub(crate) struct Kept {
    pub(crate) sandbox: Sandbox,
    pub(crate) instance: Instance,
    pub(crate) output: Output,
    pub(crate) place: ActorPlace,
}

impl Actor {
    pub(crate) fn new(kept: Kept) -> Self {
        Self(Mutex::new(kept))
    }

    /// It holds nothing of the host's memory for a store outside.
    pub(crate) fn is_idle(&mut self) -> bool {
        let kept = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        kept.sandbox.store.data().store_works == 0
    }

    /// Bytes of its linear memories and tables.
    pub(crate) fn held_bytes(&self) -> u64 {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.sandbox.store.data().memory.held_bytes()
    }

    pub(crate) fn into_inner(self) -> Kept {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").finish_non_exhaustive()
    }
}

/// Counts actors, or resident instances, so that they never take the places of calls.
#[derive(Clone, Debug)]
pub(crate) struct ActorPlaces {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// One actor's place.
#[derive(Debug)]
pub(crate) struct ActorPlace(Arc<AtomicUsize>);

impl ActorPlaces {
    pub(crate) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Takes a place, or says that there is none.
    pub(crate) fn take(&self) -> Result<ActorPlace, Failure> {
        self.take_if_any().ok_or_else(|| {
            let message = format!(
                "{} actors live on this worker, which is its limit: let go of some, or raise \
                 `--actors-max` of the worker",
                self.max
            );
            let what = "an actor".to_owned();
            Failure::new(FailureKind::HostDenied { what }, message)
        })
    }

    /// Takes a place if there is one.
    pub(crate) fn take_if_any(&self) -> Option<ActorPlace> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.ok().map(|_| ActorPlace(Arc::clone(&self.taken)))
    }
}

impl Drop for ActorPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
