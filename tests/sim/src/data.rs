//! What clients bring, and copies that they ask for: the upload between a client and a worker, and what
//! a client does about one that fails.

use std::collections::BTreeSet;

use grid_proto::data::Scattering;
use grid_proto::message::{Answer, FromClient, Holder, Query, Refusal};
use grid_proto::{Key, ObjectMeta, RequestId, WorkerId};

use crate::agenda::{ClientEvent, Event, LinkId, WorkerEvent};
use crate::client::{SimClient, Standing};
use crate::invariants::named;
use crate::oracle::Oracle;
use crate::peers::place_of;
use crate::task;
use crate::world::World;

/// How many different values clients bring: few, so that they bring the same.
const VALUES: u64 = 24;
/// A client that found no worker asks again so much later.
const ASK_AGAIN_US: u64 = 50_000;
/// Copies that were made by reading are gone so long after the last reader, at the latest.
const IDLE_US: u64 = 600_000;

/// A value on its way from a client to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upload {
    pub(crate) place: usize,
    pub(crate) link: LinkId,
    pub(crate) key: Key,
    pub(crate) meta: ObjectMeta,
    pub(crate) to: WorkerId,
}

/// What a client has said that it brings, and asked about copies.
#[derive(Debug, Default)]
pub(crate) struct Bringing {
    scatters: Vec<(RequestId, Vec<(Key, ObjectMeta)>)>,
    others: Vec<RequestId>,
    /// To be uploaded, and to be brought later because no worker takes data.
    pub(crate) homes: Vec<(Holder, Key, ObjectMeta)>,
    pub(crate) later: Vec<(Key, ObjectMeta)>,
    /// Of which the scheduler may not know yet: nothing is done with them before it answers.
    pub(crate) unknown: BTreeSet<Key>,
    /// Of those, what it asked for meanwhile: if the grid refuses the data, it is told that nobody wants
    /// it.
    pub(crate) asked: BTreeSet<Key>,
}

impl SimClient {
    /// What it can do something with.
    pub(crate) fn held(&self) -> Vec<Key> {
        let known = |key: &&Key| !self.bringing.unknown.contains(key);
        self.futures.keys().filter(known).copied().collect()
    }

    /// Brings values, or asks for copies of something or for balance.
    pub(crate) fn bring_or_copy(&mut self, oracle: &mut Oracle) -> FromClient {
        let held = self.held();
        let held: Vec<_> = held.into_iter().filter(|key| !oracle.is_actor(key)).collect();
        let request = self.next_request();
        let rng = self.bringers.as_mut().expect("it brings data");
        match rng.range(0, 10) {
            7..=8 if !held.is_empty() => {
                self.bringing.others.push(request);
                let keys = (0..rng.range(1, 4)).map(|_| rng.pick(&held)).collect();
                let copies = rng.pick(&[1, 2, 2, 3, u32::MAX]);
                FromClient::Replicate { request, keys, copies, to: Vec::new() }
            }
            9 => {
                self.bringing.others.push(request);
                FromClient::Rebalance { request, keys: Vec::new(), to: Vec::new() }
            }
            _ => {
                let value = |rng: &mut crate::rng::Rng| {
                    let mut hash = [0; 32];
                    let number = rng.range(0, VALUES);
                    hash[..8].copy_from_slice(&number.to_le_bytes());
                    let meta = task::meta(*blake3::hash(&hash).as_bytes());
                    (Key::of_data(&meta), meta)
                };
                let values = (0..rng.range(1, 7)).map(|_| value(rng)).collect();
                self.bring(request, values, Vec::new(), oracle)
            }
        }
    }

    pub(crate) fn bring(
        &mut self,
        request: RequestId,
        values: Vec<(Key, ObjectMeta)>,
        failed: Vec<WorkerId>,
        oracle: &mut Oracle,
    ) -> FromClient {
        for (key, meta) in &values {
            oracle.on_bring(*key, meta.hash);
            let fresh = !self.futures.contains_key(key);
            let standing = self.futures.entry(*key).or_insert(Standing::Pending);
            if matches!(standing, Standing::Failed(_)) {
                *standing = Standing::Pending;
            }
            if fresh {
                self.bringing.unknown.insert(*key);
            }
        }
        self.bringing.scatters.push((request, values.clone()));
        FromClient::Scatter(Scattering { request, items: values, to: Vec::new(), failed })
    }

    /// An answer. Says whether it is one to what is done here.
    pub(crate) fn on_data_answer(&mut self, request: RequestId, answer: &Answer) -> bool {
        let scatter = self.bringing.scatters.iter().position(|(asked, _)| *asked == request);
        if let Some(place) = scatter {
            let (_, brought) = self.bringing.scatters.remove(place);
            match answer {
                Answer::Scattered(homes) => {
                    for ((key, meta), home) in brought.into_iter().zip(homes) {
                        self.bringing.unknown.remove(&key);
                        let home = home.clone();
                        self.bringing.homes.extend(home.map(|home| (home, key, meta)));
                    }
                    return true;
                }
                Answer::Refused(Refusal::NoWorker { .. }) => {
                    self.bringing.later.extend(brought);
                    return true;
                }
                // A value fits no worker that there is.
                Answer::Refused(Refusal::BadArguments { .. }) => {
                    for (key, _) in &brought {
                        // News of what it had let go of may have come since.
                        let fresh = self.bringing.unknown.remove(key);
                        if fresh || matches!(self.futures.get(key), Some(Standing::Pending)) {
                            self.futures.remove(key);
                            self.dropped.push(*key);
                        }
                    }
                    return true;
                }
                _ => return false,
            }
        }
        let Some(place) = self.bringing.others.iter().position(|asked| *asked == request) else {
            return false;
        };
        self.bringing.others.remove(place);
        match answer {
            Answer::Replicated(_) | Answer::Rebalanced { .. } => true,
            // What it holds has failed meanwhile, or somebody cancelled it for all.
            Answer::Refused(Refusal::BadSubmission { .. }) => true,
            Answer::Refused(Refusal::UnknownKey { .. }) => self.forces,
            _ => false,
        }
    }
}

impl World {
    /// What a client has to upload after an answer, or to ask once more.
    pub(crate) fn go_on_bringing(&mut self, place: usize, link: LinkId) -> Result<(), String> {
        let bringing = &mut self.clients[place].bringing;
        let homes = std::mem::take(&mut bringing.homes);
        let later = std::mem::take(&mut bringing.later);
        for (home, key, meta) in homes {
            let upload = Upload { place, link, key, meta, to: home.worker };
            let delay = self.streams.network.range(20, 2_000) + meta.size / 500;
            match place_of(&self.workers, &home.address) {
                Some(at) if self.workers[at].alive => {
                    let process = self.workers[at].process;
                    let event = Event::Worker(at, process, WorkerEvent::Brought(upload));
                    self.agenda.after(delay, event);
                }
                _ => self.bring_elsewhere(upload),
            }
        }
        if !later.is_empty() {
            let again = ClientEvent::Bring { link, values: later, failed: Vec::new() };
            self.agenda.after(ASK_AGAIN_US, Event::Client(place, again));
        }
        Ok(())
    }

    /// Whether an upload arrives: its client is there to its end.
    pub(crate) fn arrives(&mut self, upload: &Upload) -> bool {
        let connected = self.clients[upload.place].link == Some(upload.link);
        let fails = self.faults.strikes(self.faults.fetch_fail_percent, &mut self.streams.faults);
        if connected && fails {
            self.bring_elsewhere(*upload);
        }
        connected && !fails
    }

    pub(crate) fn bring_elsewhere(&mut self, upload: Upload) {
        let Upload { place, link, key, meta, to } = upload;
        let again = ClientEvent::Bring { link, values: vec![(key, meta)], failed: vec![to] };
        let delay = self.streams.network.range(100, 5_000);
        self.agenda.after(delay, Event::Client(place, again));
    }

    pub(crate) fn bring_again(
        &mut self,
        place: usize,
        link: LinkId,
        mut values: Vec<(Key, ObjectMeta)>,
        failed: Vec<WorkerId>,
    ) {
        let client = &mut self.clients[place];
        values.retain(|(key, _)| client.futures.contains_key(key));
        if client.link != Some(link) || values.is_empty() {
            return;
        }
        let request = client.next_request();
        let message = client.bring(request, values, failed, &mut self.oracle);
        self.send_from_client(place, message);
    }

    /// Copies that nobody asked for are gone some time after the last reader; then as many are asked
    /// for as there have to be in the end.
    pub(crate) fn check_copies(&mut self) -> Result<(), String> {
        self.rest(IDLE_US)?;
        for call in self.calls_in(Some("memory")) {
            let asked = self.oracle.invariants.copies.asked_max(&call.key);
            if call.workers.len() > asked as usize {
                let (key, copies) = (call.key.short(), call.workers.len());
                return Err(format!(
                    "there are {copies} copies of {key}, and {asked} were asked for"
                ));
            }
        }
        let asker = (0..self.clients.len()).find(|place| self.clients[*place].link.is_some());
        let Some(place) = asker.filter(|place| self.clients[*place].bringers.is_some()) else {
            return Ok(());
        };
        let memory: Vec<_> = self.calls_in(Some("memory")).iter().map(|call| call.key).collect();
        let held = |key: &Key| self.clients[place].futures.contains_key(key);
        let keys: Vec<_> = memory.into_iter().filter(held).collect();
        let keys: Vec<_> =
            keys.into_iter().filter(|key| !self.oracle.is_actor(key)).take(5).collect();
        let request = self.clients[place].next_request();
        self.clients[place].bringing.others.push(request);
        let ask = FromClient::Replicate { request, keys: keys.clone(), copies: 2, to: Vec::new() };
        self.send_from_client(place, ask);
        self.rest(1_000)?;
        let Some(Answer::WhoHas(found)) = self.ask(Query::WhoHas(keys)) else {
            return Err("the scheduler does not tell where objects are".to_owned());
        };
        for object in found {
            let size = object.size_bytes.unwrap_or_default();
            let able = self.workers.iter().filter(|worker| worker.may_hold(size)).count().max(1);
            let here = object.workers.len();
            if here < able.min(2) || here > 2 {
                let key = object.key.short();
                return Err(format!("two copies of {key} were asked for, and there are {here}"));
            }
        }
        named("holdings", self.compare_holdings())
    }

    /// Time passes, at least so much, until nothing is under way.
    fn rest(&mut self, time_us: u64) -> Result<(), String> {
        let until = self.agenda.now + time_us;
        while self.agenda.now < until || self.agenda.work() > 0 {
            if self.agenda.now > until + 10 * time_us + 10_000_000 {
                return Err("copies are made for ever".to_owned());
            }
            self.step()?;
        }
        Ok(())
    }
}
