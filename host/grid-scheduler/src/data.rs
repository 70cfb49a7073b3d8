//! Data that clients bring. It is a call that nobody can compute: known from the moment that a client
//! says what it will bring, readable once a worker has it, lost when the last worker that had it is
//! gone.
//!
//! ```text
//!  scatter ──▶ arriving ──(a worker has it)──▶ memory ──(no copy is left)──▶ erred: lost data
//!                  └──────(nobody brings it any more)──────────────────────────▲
//! ```

use grid_proto::data::{Home, ITEMS_MAX, Scattering};
use grid_proto::message::{Answer, Holder, Refusal};
use grid_proto::{
    ClientId, Failure, FailureKind, Key, ObjectMeta, Priority, RequestId, WorkerId, bounds,
};
use smallvec::{SmallVec, smallvec};

use crate::call::{Call, CallId, State};
use crate::machine::Scheduler;
use crate::mutation::Mutation;

/// A value that clients are bringing.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) meta: ObjectMeta,
    /// Where it goes.
    pub(crate) home: WorkerId,
    /// Those that bring it; each holds a future on it.
    pub(crate) bringers: SmallVec<[ClientId; 1]>,
}

/// A worker that may take data.
struct Taker {
    id: WorkerId,
    slots: i64,
    credit: i64,
    object_bytes: u64,
}

impl Scheduler {
    pub(crate) fn on_scatter(&mut self, client: ClientId, scattering: Scattering) {
        let request = scattering.request;
        let answer = match self.scatter(client, scattering) {
            Ok(homes) => Answer::Scattered(homes),
            Err(refusal) => Answer::Refused(refusal),
        };
        self.answer(client, request, answer);
    }

    fn scatter(&mut self, client: ClientId, scattering: Scattering) -> Result<Vec<Home>, Refusal> {
        let Scattering { request: RequestId(_), items, to, failed } = scattering;
        check(&items, &to)?;
        self.refuse_clashes(&items)?;
        let most = items.iter().map(|(_, meta)| meta.size).max().unwrap_or_default();
        let mut takers = self.takers(&to, &failed, most)?;
        refuse_too_large(&items, &takers)?;
        let mut homes = Vec::with_capacity(items.len());
        for (key, meta) in items {
            let id = self.find_or_create_data(key);
            self.add_interest(client, id);
            let home = match self.place_of(id, &takers) {
                Place::Held => {
                    self.act_on_interest(client, id);
                    None
                }
                Place::Arriving(home) => {
                    self.bring(client, id, meta, home);
                    Some(home)
                }
                Place::Nowhere => {
                    let home = next_taker(&mut takers, meta.size);
                    self.bring(client, id, meta, home);
                    Some(home)
                }
            };
            homes.push(home.and_then(|home| self.holder(home)));
        }
        for taker in takers {
            if let Some(worker) = self.workers.of_mut(taker.id) {
                worker.credit = taker.credit;
            }
        }
        Ok(homes)
    }

    /// The workers that may take what a client brings, the largest value among it of this size: without
    /// those that have failed to, unless no other has room for it.
    fn takers(&self, to: &[String], failed: &[WorkerId], most: u64) -> Result<Vec<Taker>, Refusal> {
        let mut takers = Vec::new();
        let mut paused = 0;
        for (id, worker) in self.workers.iter().filter(|(_, worker)| worker.is_one_of(to)) {
            match worker.paused {
                true if !self.mutated(Mutation::BroughtToPaused) => paused += 1,
                _ => takers.push(Taker {
                    id,
                    slots: i64::from(worker.slots.max(1)),
                    credit: worker.credit,
                    object_bytes: worker.object_bytes,
                }),
            }
        }
        if takers.is_empty() {
            let message = match (self.workers.is_empty(), paused) {
                (true, _) => "no worker is connected that could take the data".to_owned(),
                (false, 0) => format!(
                    "no worker, host or label is called {}; `grid workers` lists them",
                    to.join(" or ")
                ),
                (false, paused) => format!(
                    "all {paused} workers that could take the data are paused because their \
                     memory is nearly full: release what nobody needs, or add workers"
                ),
            };
            return Err(Refusal::NoWorker { message });
        }
        let others = |taker: &Taker| !failed.contains(&taker.id);
        if takers.iter().any(|taker| others(taker) && taker.object_bytes >= most) {
            takers.retain(others);
        }
        Ok(takers)
    }

    /// Where a value is or goes already. What was to go to a worker that is gone, or that did not take
    /// it, goes to another.
    fn place_of(&self, id: CallId, takers: &[Taker]) -> Place {
        let takes = |worker: &WorkerId| takers.iter().any(|taker| taker.id == *worker);
        match &self.calls[id].state {
            State::Memory { .. } => Place::Held,
            State::Arriving(arrival) if takes(&arrival.home) => Place::Arriving(arrival.home),
            State::Arriving(_)
            | State::Released
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::Processing(_)
            | State::Erred(_) => Place::Nowhere,
        }
    }

    /// Nobody may have submitted a call under the key of a value.
    fn refuse_clashes(&self, items: &[(Key, ObjectMeta)]) -> Result<(), Refusal> {
        let calls = items.iter().filter_map(|(key, _)| self.calls.find(key));
        match calls.into_iter().find(|id| !self.is_data(*id)) {
            None => Ok(()),
            Some(id) => {
                let known = &self.calls[id];
                Err(Refusal::KeyClash {
                    key: known.key,
                    known: self.recipe(known.task, &self.args_of(known)),
                    new: "data".to_owned(),
                })
            }
        }
    }

    fn find_or_create_data(&mut self, key: Key) -> CallId {
        if let Some(id) = self.calls.find(&key) {
            return id;
        }
        let task = self.tasks.data();
        let priority = Priority { user: 0, submission: 0, position: 0, nesting: 0, child: 0 };
        let id = self.calls.insert(Call::new(key, task, priority));
        self.counts.change(task, None, Some(&State::Released));
        id
    }

    /// A client brings a value, alone or with others.
    fn bring(&mut self, client: ClientId, id: CallId, meta: ObjectMeta, home: WorkerId) {
        if matches!(self.calls[id].state, State::Erred(_)) {
            self.reset_failed(id);
        }
        if let State::Arriving(arrival) = &mut self.calls[id].state {
            let before = std::mem::replace(&mut arrival.home, home);
            if let Some(before) = self.workers.of_mut(before) {
                before.awaits.remove(&id);
            }
            if let Some(home) = self.workers.of_mut(home) {
                home.awaits.insert(id);
            }
            if !arrival.bringers.contains(&client) {
                arrival.bringers.push(client);
            }
            return;
        }
        let arrival = Arrival { meta, home, bringers: smallvec![client] };
        self.set_state(id, State::Arriving(Box::new(arrival)));
        if let Some(home) = self.workers.of_mut(home) {
            home.awaits.insert(id);
        }
    }

    /// A worker has what clients were bringing. Says whether they were.
    pub(crate) fn complete_arrival(&mut self, id: CallId, worker: WorkerId) -> bool {
        let State::Arriving(arrival) = &self.calls[id].state else { return false };
        let meta = arrival.meta;
        self.complete(id, worker, meta, None);
        true
    }

    /// This client brings it no more.
    pub(crate) fn stop_bringing(&mut self, client: ClientId, id: CallId) {
        if let State::Arriving(arrival) = &mut self.calls[id].state {
            arrival.bringers.retain(|bringer| *bringer != client);
        }
    }

    /// Somebody waits for it, and nobody brings it.
    pub(crate) fn is_abandoned(&self, id: CallId) -> bool {
        matches!(&self.calls[id].state, State::Arriving(arrival) if arrival.bringers.is_empty())
            && !self.mutated(Mutation::AbandonedAwaited)
    }

    /// A client was bringing it to this worker, which is gone.
    pub(crate) fn was_to_come_to(&self, id: CallId, worker: WorkerId) -> bool {
        matches!(&self.calls[id].state, State::Arriving(arrival) if arrival.home == worker)
    }

    /// It was brought by a client.
    pub(crate) fn is_data(&self, id: CallId) -> bool {
        self.tasks.is_data(self.calls[id].task)
    }

    /// Nobody has it, and nobody can compute it.
    pub(crate) fn lost_data(&self, id: CallId) -> Failure {
        let message = match &self.calls[id].state {
            State::Arriving(arrival) if !arrival.bringers.is_empty() => {
                "the worker to which the data was brought is gone"
            }
            State::Arriving(_) => {
                "the client that brought the data left before all of it had arrived"
            }
            _ => {
                "no worker has the data any more, and nothing can compute it: scatter it again, \
                 with more copies if workers come and go"
            }
        };
        let mut failure = Failure::new(FailureKind::LostData, message);
        failure.site = Some(self.site(id, String::new()));
        failure
    }

    fn holder(&self, worker: WorkerId) -> Option<Holder> {
        self.addresses(&[worker]).pop()
    }
}

/// Where a value is.
enum Place {
    Held,
    Arriving(WorkerId),
    Nowhere,
}

fn check(items: &[(Key, ObjectMeta)], to: &[String]) -> Result<(), Refusal> {
    let bad = |message| Err(Refusal::BadSubmission { message });
    if items.len() > ITEMS_MAX {
        return bad(format!("{} values at once; at most {ITEMS_MAX} are taken", items.len()));
    }
    if let Some((key, _)) = items.iter().find(|(key, meta)| *key != Key::of_data(meta)) {
        return bad(format!("`{key}` is not the key of the value that it stands for"));
    }
    bounds::check_places(to)
}

fn refuse_too_large(items: &[(Key, ObjectMeta)], takers: &[Taker]) -> Result<(), Refusal> {
    let most = takers.iter().map(|taker| taker.object_bytes).max().unwrap_or_default();
    match items.iter().find(|(_, meta)| meta.size > most) {
        None => Ok(()),
        Some((key, meta)) => Err(Refusal::BadArguments {
            message: format!(
                "`{}` has {} bytes, and the largest worker holds {most} bytes: cut it into parts, or \
                 raise `--spill-limit` or `--memory-limit`",
                key.short(),
                meta.size
            ),
        }),
    }
}

/// Smooth weighted round robin: each worker gets its share by slots, spread evenly, and the next scatter
/// goes on where this one stops. One that could not hold it is passed over.
fn next_taker(takers: &mut [Taker], size: u64) -> WorkerId {
    let (mut all, mut best) = (0, None);
    let fits = |(_, taker): &(usize, &mut Taker)| taker.object_bytes >= size;
    for (place, taker) in takers.iter_mut().enumerate().filter(fits) {
        taker.credit += taker.slots;
        all += taker.slots;
        if best.is_none_or(|(most, _)| taker.credit > most) {
            best = Some((taker.credit, place));
        }
    }
    let (_, place) = best.expect("the largest of them holds it");
    takers[place].credit -= all;
    takers[place].id
}
