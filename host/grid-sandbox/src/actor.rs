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

    pub(crate) fn into_inner(self) -> Kept {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Actor").finish_non_exhaustive()
    }
}

/// Counts actors, so that they never take the places of calls.
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
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        match self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more) {
            Ok(_) => Ok(ActorPlace(Arc::clone(&self.taken))),
            Err(_) => {
                let message = format!(
                    "{} actors live on this worker, which is its limit: let go of some, or raise \
                     `--actors-max` of the worker",
                    self.max
                );
                let what = "an actor".to_owned();
                Err(Failure::new(FailureKind::HostDenied { what }, message))
            }
        }
    }
}

impl Drop for ActorPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
