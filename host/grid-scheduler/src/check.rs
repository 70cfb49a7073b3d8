//! The invariants, verified in full. Slow on purpose: for tests, the simulator and the fuzzer.

use std::collections::BTreeMap;

use grid_proto::{Amount, WorkerId};

use crate::call::{Call, CallId, Processing, Queue, State};
use crate::cancel::Cancel;
use crate::counts::Counts;
use crate::machine::Scheduler;
use crate::placement::suits;
use crate::retry::Retry;
use crate::submit::{Partial, Starting};
use crate::worker::Worker;

impl Scheduler {
    /// Verifies every invariant of the machine.
    ///
    /// # Errors
    /// The first one that is broken, in words.
    pub fn check(&self) -> Result<(), String> {
        if let Some(fault) = self.fault() {
            return Err(fault.to_owned());
        }
        let mut queued = 0;
        let mut withdrawing = 0;
        let mut counts = Counts::default();
        let mut in_hand = BTreeMap::<WorkerId, (usize, u64, u32)>::new();
        for (id, call) in self.calls.iter() {
            self.check_call(id, call).map_err(|broken| {
                format!("call {} ({}): {broken}", call.key.short(), call.state.label())
            })?;
            counts.change(call.task, None, Some(&call.state));
            queued += usize::from(matches!(call.state, State::Queued { .. }));
            if let Some(processing) = call.processing() {
                let entry = in_hand.entry(processing.worker).or_default();
                entry.0 += 1;
                entry.1 += processing.expected_us;
                entry.2 += u32::from(processing.executing);
                withdrawing += usize::from(processing.withdrawing);
            }
        }
        let backlogs: usize = self.workers.iter().map(|(_, worker)| worker.backlog.len()).sum();
        let held_back = self.unbound.len() + self.homeless.len() + backlogs + self.adrift();
        let held_back = held_back + self.lined_up();
        ensure(queued == held_back, "the queues hold other calls")?;
        ensure(withdrawing == self.withdrawing, "calls that are asked back are miscounted")?;
        ensure(counts.total() == self.counts.total(), "calls by state are miscounted")?;
        self.workers.check()?;
        self.check_staged()?;
        for (id, worker) in self.workers.iter() {
            let (calls, load_us, executing) = in_hand.remove(&id).unwrap_or_default();
            let name = &worker.name;
            ensure(calls == worker.in_hand.len(), &format!("{name}: in hand"))?;
            ensure(load_us == worker.load_us, &format!("{name}: load"))?;
            ensure(executing == worker.executing, &format!("{name}: executing"))?;
            ensure(worker.waiting.is_subset(&worker.in_hand), &format!("{name}: waiting"))?;
            ensure(self.taken_of(worker) == worker.taken, &format!("{name}: resources"))?;
            ensure(worker.outbox.is_empty(), &format!("{name}: unsent assignments"))?;
            let mut bytes = 0;
            for held in &worker.holds {
                ensure(self.calls.contains(*held), &format!("{name}: holds a forgotten call"))?;
                let held = &self.calls[*held];
                ensure(held.holders().contains(&id), &format!("{name}: is no holder"))?;
                bytes += held.size();
            }
            ensure(bytes == worker.held_bytes, &format!("{name}: held bytes"))?;
            let comes = |awaited: &CallId| self.was_to_come_to(*awaited, id);
            ensure(worker.awaits.iter().all(comes), &format!("{name}: awaits in vain"))?;
        }
        self.check_losses(&in_hand)?;
        self.check_news()?;
        self.check_homeless()?;
        self.check_replicas()?;
        for (id, client) in &self.clients {
            for wanted in client.wants.keys() {
                ensure(self.calls.contains(*wanted), "a client wants a forgotten call")?;
                let listed = self.calls[*wanted].clients.contains(id);
                ensure(listed, "a wanted call does not list its client")?;
            }
        }
        self.check_sessions()?;
        self.check_actors()?;
        self.check_coordination()
    }

    /// What calls in a worker's hands take of its resources.
    fn taken_of(&self, worker: &Worker) -> BTreeMap<String, Amount> {
        let mut taken = BTreeMap::<String, Amount>::new();
        let needs = worker.in_hand.iter().filter_map(|id| self.calls[*id].needs());
        for (name, amount) in needs.flat_map(|needs| &needs.resources) {
            taken.entry(name.clone()).or_default().0 += amount.0;
        }
        taken
    }

    fn check_staged(&self) -> Result<(), String> {
        let open = self.clients.values().filter_map(|client| client.partial.as_ref());
        let let_go = self.clients.values().flat_map(|client| &client.let_go);
        let staged =
            open.flat_map(Partial::staged).chain(self.starting.iter().flat_map(Starting::staged));
        let staged =
            staged.chain(let_go).chain(self.started.iter().flat_map(|staged| staged.as_slice()));
        let asked = self.cancels.iter().flat_map(Cancel::staged);
        let staged = staged.chain(asked).chain(self.retries.iter().flat_map(Retry::staged));
        let mut counted = BTreeMap::<CallId, u32>::new();
        for id in staged {
            *counted.entry(*id).or_default() += 1;
        }
        for (id, call) in self.calls.iter() {
            let staged = counted.remove(&id).unwrap_or_default();
            ensure(staged == call.staged, "submissions under way are miscounted")?;
        }
        ensure(counted.is_empty(), "a submission under way names a forgotten call")
    }

    fn check_call(&self, id: CallId, call: &Call) -> Result<(), String> {
        ensure(self.calls.find(&call.key) == Some(id), "the index does not find it")?;
        let active = call.dependents.iter().filter(|id| self.calls[*id].is_active()).count();
        ensure(active == call.active_dependents as usize, "active dependents are miscounted")?;
        for input in &call.dependencies {
            ensure(self.calls.contains(*input), "an input is forgotten")?;
            ensure(
                self.calls[*input].dependents.iter().any(|other| other == id),
                "an input does not know it",
            )?;
        }
        for client in &call.clients {
            let departed = || self.departed.iter().find(|(departed, _)| departed == client);
            let wants = self.clients.get(client).map(|known| &known.wants);
            let wants = wants.or_else(|| departed().map(|(_, wants)| wants));
            let wants = wants.is_some_and(|wants| wants.contains_key(&id));
            ensure(wants, "a client does not know that it wants it")?;
        }
        self.check_state(id, call)?;
        if call.is_active() || call.in_memory() {
            let kept = call.is_wanted() || call.staged > 0 || self.to_release.contains(&id);
            ensure(kept || self.actors.is_needed(id), "nobody wants it")?;
        }
        ensure(!self.waits_in_vain(id, call), "an input will never come")
    }

    fn check_state(&self, id: CallId, call: &Call) -> Result<(), String> {
        let missing = self.missing_of(id, call);
        match &call.state {
            State::Released => {
                let starts = self.to_start.contains(&id) || call.staged > 0;
                ensure(!call.is_wanted() || starts, "somebody wants it")?;
                let kept = !call.dependents.is_empty() || call.staged > 0;
                let kept = kept || call.is_wanted() || self.to_release.contains(&id);
                ensure(kept, "nobody could ever need it")?;
            }
            State::Arriving(arrival) => {
                let hold = arrival.bringers.iter().all(|client| call.clients.contains(client));
                ensure(hold, "a client brings it and holds no future on it")?;
                let brought = !arrival.bringers.is_empty() || self.to_release.contains(&id);
                ensure(brought, "nobody brings it")?;
                let awaited = match self.workers.of(arrival.home) {
                    Some(home) => home.awaits.contains(&id),
                    None => self.lost.held(arrival.home, id),
                };
                ensure(awaited, "nobody waits for its bytes")?;
            }
            State::Waiting { missing: counted } => {
                ensure(*counted as usize == missing, "missing inputs are miscounted")?;
                ensure(missing > 0, "it waits for nothing")?;
            }
            State::Queued { at, .. } => {
                ensure(missing == 0, "queued without its inputs")?;
                ensure(self.is_listed(id, call, *at), "in no queue")?;
                ensure(self.may_stay(id, call, *at), "held back for a worker that may not run it")?;
            }
            State::Processing(Processing { worker, .. }) => {
                ensure(self.is_in_hand(id, *worker), "its worker does not have it in hand")?;
            }
            State::Memory { holders, .. } => {
                ensure(!holders.is_empty(), "in memory on no worker")?;
                let lists = |holder: &WorkerId| self.is_held(id, *holder);
                ensure(holders.iter().all(lists), "a holder does not list it")?;
            }
            State::Erred(_) => {}
        }
        Ok(())
    }

    /// Where it is held back it may run, unless it is about to be held back elsewhere.
    fn may_stay(&self, id: CallId, call: &Call, at: Queue) -> bool {
        let Queue::Of(worker) = at else { return true };
        if !self.is_in_backlog(id, call, worker) {
            return true;
        }
        let room = self.inputs(id).room();
        let names_matter = call.needs().is_some_and(|needs| !needs.prefer);
        let worker = self.workers.of(worker);
        worker.is_some_and(|worker| suits(worker, call.needs(), names_matter, room))
    }

    /// It is active and on no worker, and an input is neither there nor on its way.
    fn waits_in_vain(&self, id: CallId, call: &Call) -> bool {
        let on_its_way = |input: &CallId| match self.calls[*input].state {
            State::Released => self.to_start.contains(input) || self.calls[*input].staged > 0,
            State::Erred(_) => self.will_fail(id, *input),
            _ => true,
        };
        let on_worker = call.processing().is_some();
        call.is_active() && !on_worker && !call.dependencies.iter().all(on_its_way)
    }
}

pub(crate) fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}
