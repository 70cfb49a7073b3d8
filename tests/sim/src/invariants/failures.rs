//! A failure that a client is told has a cause that was put in, behind the call; it was tried again
//! as often as it was to be.

use std::collections::BTreeSet;

use grid_proto::{Death, Failure, FailureKind, Key};

use crate::invariants::named;
use crate::oracle::Oracle;

impl Oracle {
    /// A client was told of a failure.
    pub(crate) fn check_failed(&mut self, key: &Key, failure: &Failure) -> Result<(), String> {
        let broken = |why: &str| Err(format!("{}: failed ({failure}), but {why}", key.short()));
        if failure.kind == FailureKind::Cancelled {
            return match self.was_cancelled(key) {
                true => Ok(()),
                false => broken("nobody cancelled it"),
            };
        }
        let Some(site) = &failure.site else {
            return broken("it is not said where");
        };
        if !self.leads_to(&site.key, key) {
            return broken("its cause is not behind it");
        }
        match &failure.kind {
            FailureKind::ActorLost => {
                return match self.is_actor_lost(&site.key) {
                    true => Ok(()),
                    false => broken("it was not lost"),
                };
            }
            FailureKind::OutOfMemory { limit_bytes, asked_bytes } => {
                let numbers = (*limit_bytes, *asked_bytes);
                return named("memory", self.check_too_large(&site.key, numbers, &failure.message));
            }
            FailureKind::Quarantined { strikes } => {
                return named("quarantine", self.check_refused(&site.key, *strikes, failure));
            }
            FailureKind::Rescheduled => {
                return named("elsewhere", self.check_asked_too_often(&site.key));
            }
            _ => {}
        }
        if failure.kind == FailureKind::LostData && named("data", self.check_lost_data(&site.key))?
        {
            return Ok(());
        }
        if failure.kind == FailureKind::LostData && self.methods_run.contains(&site.key) {
            // Its result was lost, or nobody could fetch it.
            return Ok(());
        }
        if let FailureKind::KilledWorker { deaths } = &failure.kind {
            let really = |death: &Death| {
                let run = self.runs.get(&(site.key, death.attempt));
                run.is_some_and(|workers| {
                    workers.iter().any(|worker| {
                        self.lost.contains(worker) && self.names.get(worker) == Some(&death.worker)
                    })
                })
            };
            return match deaths.len() > 3 && deaths.iter().all(really) {
                true => self.charge(site.key, deaths),
                false => broken("not so many workers died of it"),
            };
        }
        match self.injected.get(&failure.message) {
            None => return broken("nothing of the kind was put in"),
            Some(Some(of)) if *of != site.key => return broken("that is another call's failure"),
            Some(_) => {}
        }
        let retries = self.recipes.get(&site.key).map_or(0, |recipe| recipe.retries);
        let attempts = self.failed_attempts.get(&site.key).map_or(0, BTreeSet::len);
        match attempts > retries as usize {
            true => Ok(()),
            false => broken("it was not tried again"),
        }
    }
}
