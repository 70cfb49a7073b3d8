//! Why a call is where it is, in a sentence, from the state alone.

use crate::call::{Call, CallId, Needs, Queue, State};
use crate::data::Arrival;
use crate::machine::Scheduler;

/// Calls ahead of one that are counted.
const AHEAD_MAX: usize = 1_000;

impl Scheduler {
    pub(crate) fn explain(&self, id: CallId) -> String {
        let call = &self.calls[id];
        match &call.state {
            State::Released if call.is_wanted() => "is about to start".to_owned(),
            State::Released if call.staged > 0 => {
                "belongs to a submission or request that is still under way".to_owned()
            }
            State::Memory { .. } if self.actors.is_actor(id) => self.explain_actor(id),
            State::Released => "kept because others may need it computed again".to_owned(),
            State::Arriving(arrival) => self.explain_arrival(arrival),
            State::Waiting { missing } => self.explain_waiting(call, *missing),
            State::Queued { .. } if self.workers.is_empty() => "no worker is connected".to_owned(),
            State::Queued { at, .. } => self.explain_queued(id, call, *at),
            State::Processing(processing) => {
                let Some(worker) = self.workers.of(processing.worker) else {
                    return "its worker is gone: it is about to start over".to_owned();
                };
                let name = &worker.name;
                if worker.waiting.contains(&id) {
                    let awaited = self.awaited_by(id);
                    let awaited = awaited.as_deref().unwrap_or("calls that it submitted");
                    return format!("waits on `{name}` for {awaited}");
                }
                match (processing.executing, processing.withdrawing) {
                    (true, _) => format!("executing on `{name}`"),
                    (false, true) => {
                        format!("handed to `{name}`, which was asked to give it back")
                    }
                    (false, false) => format!("handed to `{name}`, not known to have begun"),
                }
            }
            State::Memory { holders, .. } => {
                format!("its result is on {} of {} workers", holders.len(), self.workers.len())
            }
            State::Erred(failure) => match &failure.site {
                Some(site) if site.key != call.key => {
                    format!("its input `{}` ({}) failed: {failure}", site.key.short(), site.task)
                }
                _ => failure.to_string(),
            },
        }
    }

    fn explain_arrival(&self, arrival: &Arrival) -> String {
        let name = self.workers.of(arrival.home).map(|worker| worker.name.as_str());
        let home =
            name.map_or_else(|| "a worker that is gone".to_owned(), |name| format!("`{name}`"));
        let size = arrival.meta.size;
        format!("{} clients are bringing its {size} bytes to {home}", arrival.bringers.len())
    }

    fn explain_waiting(&self, call: &Call, missing: u32) -> String {
        let input = call.dependencies.iter().find(|id| !self.calls[**id].in_memory());
        let input = input.map_or_else(String::new, |id| {
            let input = &self.calls[*id];
            let task = &self.tasks.of(input.task).label;
            format!(", for instance `{}` ({task}, {})", input.key.short(), self.label(input))
        });
        format!("waits for {missing} of {} inputs{input}", call.dependencies.len())
    }

    fn explain_queued(&self, id: CallId, call: &Call, at: Queue) -> String {
        let entry = (call.priority, id);
        match at {
            Queue::Any => {
                // Enough to know; a listing asks this of many calls.
                let ahead = self.unbound.range(..entry).take(AHEAD_MAX).count();
                let more = if ahead == AHEAD_MAX { " or more" } else { "" };
                let paused = self.workers.iter().filter(|(_, worker)| worker.paused).count();
                let paused = match paused {
                    0 => String::new(),
                    paused => format!(
                        "; {paused} of {} are paused because their memory is nearly full",
                        self.workers.len()
                    ),
                };
                format!(
                    "{ahead}{more} calls are before it; it goes to the first worker with room{paused}"
                )
            }
            Queue::Of(worker) => {
                let Some(worker) = self.workers.of(worker) else {
                    return "its worker is gone: it is about to be placed anew".to_owned();
                };
                let resources = call.needs().map_or(&[][..], |needs| &needs.resources);
                let why = match worker.has_free(resources) {
                    _ if worker.paused => "is paused because its memory is nearly full",
                    true => "has no room yet",
                    false => "has not enough of its resources free",
                };
                format!(
                    "held back for `{}`, where it would start earliest, which {why}: {} calls \
                     are in its hands, {} held back for it",
                    worker.name,
                    worker.in_hand.len(),
                    worker.backlog.len()
                )
            }
            Queue::Line => self.explain_line(id),
            Queue::Nowhere => {
                let needs = call.needs().map_or_else(String::new, describe);
                let memory = match self.inputs(id).room().given {
                    0 => String::new(),
                    bytes => format!(", and memory for {bytes} bytes of inputs"),
                };
                format!("none of {} workers may run it{needs}{memory}", self.workers.len())
            }
        }
    }
}

fn describe(needs: &Needs) -> String {
    let mut parts = Vec::new();
    if !needs.any_of.is_empty() {
        parts.push(format!("a worker, host or label called {}", needs.any_of.join(" or ")));
    }
    parts.extend(needs.resources.iter().map(|(name, amount)| format!("{name}={amount}")));
    format!(": it needs {}", parts.join(" and "))
}
