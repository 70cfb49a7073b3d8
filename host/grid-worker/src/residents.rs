//! Instances of resident tasks between their calls. A slot takes one when it begins a call and gives it
//! back at the call's end; nobody but the client on whose behalf it was made gets it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grid_proto::message::TaskDefinition;
use grid_proto::{BundleHash, ClientId, Instance};
use grid_sandbox::{Engine, Resident};

use crate::agent::Execution;

/// Whose calls an instance is for: of this bundle and client, with this memory and these grants.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    client: ClientId,
    memory_bytes_max: u64,
    task: Arc<TaskDefinition>,
}

impl Home {
    /// Where a call belongs; `None` if it has a fresh instance or is an actor's.
    pub(crate) fn of(execution: &Execution, memory_bytes_max: u64) -> Option<Self> {
        let Execution { task, client, instance, .. } = execution;
        match instance {
            Instance::Fresh if task.resident => {
                client.map(|client| Self { client, memory_bytes_max, task: Arc::clone(task) })
            }
            Instance::Fresh | Instance::Kept | Instance::Of(_) => None,
        }
    }

    fn bundle(&self) -> (BundleHash, &str) {
        (self.task.bundle, &self.task.bundle_name)
    }

    /// What directories and stores an instance sees is settled when it is made.
    fn grants(&self) -> (&[String], &[String]) {
        (&self.task.reads, &self.task.writes)
    }

    fn is(&self, other: &Self) -> bool {
        self.client == other.client
            && self.memory_bytes_max == other.memory_bytes_max
            && self.bundle() == other.bundle()
            && self.grants() == other.grants()
    }
}

/// The instances of a worker. Clones are the same.
#[derive(Clone)]
pub(crate) struct Residents(Arc<Shared>);

struct Shared {
    warm: Mutex<Warm>,
    max: usize,
}

#[derive(Default)]
struct Warm {
    /// In the order of their last use.
    instances: Vec<(Home, Resident)>,
    /// Calls that are in one or may leave one.
    lent: usize,
    /// Connections to a scheduler that have ended: on the next one, clients have other numbers.
    ended: u64,
    /// Memory is nearly full: none is kept.
    closed: bool,
}

/// A place that a call has: its instance belongs there when it has ended well.
pub(crate) struct Lent {
    residents: Residents,
    home: Home,
    ended: u64,
}

impl Residents {
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Shared { warm: Mutex::default(), max }))
    }

    /// What a call runs in that belongs there: one that is warm, or else there is room for a fresh one,
    /// for which whatever was used longest ago is dropped, on this thread.
    pub(crate) fn take(&self, home: Home) -> (Lent, Option<Resident>) {
        let mut warm = self.lock();
        // The one that was used last: others grow old.
        let found = warm.instances.iter().rposition(|(at, _)| at.is(&home));
        let found = found.map(|place| warm.instances.remove(place).1);
        let full = found.is_none() && warm.instances.len() + warm.lent >= self.0.max;
        let oldest = match full && !warm.instances.is_empty() {
            true => Some(warm.instances.remove(0)),
            false => None,
        };
        warm.lent += 1;
        let lent = Lent { residents: self.clone(), home, ended: warm.ended };
        drop(warm);
        drop(oldest);
        (lent, found)
    }

    /// Whether instances are kept at all; those that are there stay until they are dropped.
    pub(crate) fn set_open(&self, open: bool) {
        self.lock().closed = !open;
    }

    /// How many are warm, and the bytes of their memories.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let warm = self.lock();
        let bytes = warm.instances.iter().map(|(_, resident)| resident.held_bytes()).sum();
        (warm.instances.len() as u64, bytes)
    }

    /// Takes all out, because memory is needed.
    pub(crate) fn drain(&self) -> Vec<(Home, Resident)> {
        std::mem::take(&mut self.lock().instances)
    }

    /// The connection to the scheduler has ended: takes all out, and nothing that is lent comes back.
    pub(crate) fn on_disconnected(&self) -> Vec<(Home, Resident)> {
        let mut warm = self.lock();
        warm.ended += 1;
        std::mem::take(&mut warm.instances)
    }

    /// Takes out those that have had their time.
    pub(crate) fn take_spent(&self, engine: &Engine) -> Vec<(Home, Resident)> {
        let mut warm = self.lock();
        warm.instances.extract_if(.., |(_, resident)| engine.is_spent(resident)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Warm> {
        self.0.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// The call has ended well and left this.
    pub(crate) fn keep(self, resident: Resident) {
        let mut warm = self.residents.lock();
        if !warm.closed && warm.ended == self.ended {
            warm.instances.push((self.home.clone(), resident));
        } else {
            drop(warm);
            drop(resident);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.residents.lock().lent -= 1;
    }
}
