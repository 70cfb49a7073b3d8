//! Where objects are, and what workers have.

use grid_proto::Key;
use grid_proto::data::{Held, Holding, ITEMS_MAX, Whereabouts};
use grid_proto::message::{Answer, Refusal};

use crate::call::State;
use crate::machine::Scheduler;
use crate::worker::Worker;

/// Objects that one answer lists, of all workers together: it has to fit a frame, and the machine has
/// others to serve.
const LISTED_MAX: usize = 10_000;

impl Scheduler {
    pub(crate) fn who_has(&self, keys: &[Key]) -> Answer {
        if keys.len() > ITEMS_MAX {
            let message = format!("{} keys at once; at most {ITEMS_MAX} are looked up", keys.len());
            return Answer::Refused(Refusal::BadSubmission { message });
        }
        Answer::WhoHas(keys.iter().map(|key| self.whereabouts(*key)).collect())
    }

    fn whereabouts(&self, key: Key) -> Whereabouts {
        let call = self.calls.find(&key).map(|id| &self.calls[id]);
        match call.map(|call| &call.state) {
            Some(State::Memory { meta, holders }) => {
                let workers = holders.iter().filter_map(|id| self.workers.of(*id));
                let workers = workers.map(|worker| worker.name.clone()).collect();
                Whereabouts { key, size_bytes: Some(meta.size), workers }
            }
            Some(
                State::Released
                | State::Arriving(_)
                | State::Waiting { .. }
                | State::Queued { .. }
                | State::Processing(_)
                | State::Erred(_),
            )
            | None => Whereabouts { key, size_bytes: None, workers: Vec::new() },
        }
    }

    pub(crate) fn has_what(&self, name: Option<&str>, count_max: u32) -> Answer {
        let named = |worker: &Worker| name.is_none_or(|name| worker.name == name);
        let named: Vec<_> =
            self.workers.iter().map(|(_, worker)| worker).filter(|worker| named(worker)).collect();
        if let (Some(name), true) = (name, named.is_empty()) {
            let message = format!("no worker `{name}` is connected; `grid workers` lists them");
            return Answer::Refused(Refusal::Unavailable { message });
        }
        let each_max = (count_max as usize).min(LISTED_MAX / named.len().max(1));
        let mut holdings: Vec<_> =
            named.into_iter().map(|worker| self.holding(worker, each_max)).collect();
        holdings.sort_by(|one, other| one.worker.cmp(&other.worker));
        Answer::HasWhat(holdings)
    }

    fn holding(&self, worker: &Worker, count_max: usize) -> Holding {
        let held = worker.holds.iter().take(count_max).map(|id| {
            let call = &self.calls[*id];
            let task = self.tasks.of(call.task).label.clone();
            Held { key: call.key, task, size_bytes: call.size() }
        });
        Holding {
            worker: worker.name.clone(),
            objects: worker.holds.len() as u64,
            bytes: worker.held_bytes,
            listed: held.collect(),
        }
    }
}
