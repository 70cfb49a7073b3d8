//! A client: what it asked for, what it was told, and what it does next.

use std::collections::BTreeMap;

use grid_proto::coordination::{DatasetOperation, Operation};
use grid_proto::message::{Answer, FromClient, Holder, Query, Refusal, ToClient};
use grid_proto::{Failure, FailureKind, Key, ObjectMeta, RequestId};

use crate::agenda::LinkId;
use crate::data::Bringing;
use crate::graph::Graph;
use crate::invariants::named;
use crate::oracle::Oracle;
use crate::rng::Rng;
use crate::task::{self, Kind};

/// Names under which clients publish what they hold.
pub(crate) const DATASETS: [&str; 3] = ["apples", "pears", "plums"];

/// How a client's future stands.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Pending,
    /// Ready, and read.
    Here,
    /// Ready, to be read from one of these.
    Elsewhere(ObjectMeta, Vec<Holder>),
    Failed(Box<Failure>),
}

#[derive(Debug)]
pub(crate) struct SimClient {
    pub(crate) link: Option<LinkId>,
    pub(crate) futures: BTreeMap<Key, Standing>,
    pub(crate) turns_left: u64,
    requests: u64,
    /// Where what it brings is drawn from, if it brings data.
    pub(crate) bringers: Option<Rng>,
    pub(crate) bringing: Bringing,
    /// What each request wanted first, and whether it has to be refused.
    open: BTreeMap<RequestId, (Vec<Key>, bool)>,
    /// Futures that are gone, to be released.
    pub(crate) dropped: Vec<Key>,
    /// How many different calls of one form there are, in tenths of the usual.
    salts: u64,
    /// Some of its calls are pinned or take resources.
    needs: bool,
    /// Where actors are drawn from, if it makes any.
    pub(crate) actors: Option<Rng>,
    /// Where calls that share are drawn from, if it makes any.
    pub(crate) sharers: Option<Rng>,
    /// Where calls that trap are drawn from, and when it clears the quarantine.
    pub(crate) trappers: Option<Rng>,
    /// Where calls that ask to run elsewhere are drawn from.
    pub(crate) wanderers: Option<Rng>,
    /// Where is drawn when it lets go of what it has just submitted readers of, if it ever does.
    pub(crate) hasty: Option<Rng>,
    /// It submits large graphs, of about so many calls, and does nothing else.
    pub(crate) large: Option<u64>,
    pub(crate) cancels: bool,
    pub(crate) forces: bool,
}

impl SimClient {
    pub(crate) fn new(turns: u64, salts: u64, needs: bool, cancels: bool, forces: bool) -> Self {
        Self {
            link: None,
            futures: BTreeMap::new(),
            turns_left: turns,
            requests: 0,
            bringers: None,
            bringing: Bringing::default(),
            open: BTreeMap::new(),
            dropped: Vec::new(),
            salts,
            needs,
            actors: None,
            sharers: None,
            trappers: None,
            wanderers: None,
            hasty: None,
            large: None,
            cancels,
            forces,
        }
    }

    /// The connection is gone, and with it all futures.
    pub(crate) fn on_lost(&mut self) {
        self.link = None;
        self.futures.clear();
        self.open.clear();
        self.dropped.clear();
        self.bringing = Bringing::default();
    }

    pub(crate) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// The next thing that it does.
    pub(crate) fn turn(
        &mut self,
        oracle: &mut Oracle,
        poison_percent: u64,
        rng: &mut Rng,
    ) -> Vec<FromClient> {
        let held = self.held();
        if self.trappers.as_mut().is_some_and(|rng| rng.chance(15)) {
            return vec![self.clear()];
        }
        if self.bringers.as_mut().is_some_and(|rng| rng.chance(35)) {
            return vec![self.bring_or_copy(oracle)];
        }
        match rng.range(0, 110) {
            100..=104 => self.retry(oracle),
            105.. => vec![self.share(&held, rng)],
            0..=54 => self.submit_hastily(oracle, poison_percent, &held, rng),
            55..=79 if !held.is_empty() => {
                let some = pick_some(&held, rng);
                for key in &some {
                    self.futures.remove(key);
                }
                vec![FromClient::Release(some)]
            }
            80..=94 if self.cancels && !held.is_empty() => {
                let some: Vec<_> = pick_some(&held, rng).into_iter().take(3).collect();
                for key in &some {
                    oracle.on_cancel(*key);
                }
                self.futures.retain(|key, _| !some.iter().any(|root| oracle.leads_to(root, key)));
                vec![FromClient::Cancel { keys: some, force: self.forces && rng.chance(40) }]
            }
            _ => self.submit_hastily(oracle, poison_percent, &held, rng),
        }
    }

    /// Submits a graph, and lets go at once of some of what that may read.
    fn submit_hastily(
        &mut self,
        oracle: &mut Oracle,
        poison_percent: u64,
        held: &[Key],
        rng: &mut Rng,
    ) -> Vec<FromClient> {
        let mut batch = self.submit(oracle, poison_percent, held, rng);
        let Some(rng) = self.hasty.as_mut().and_then(|rng| rng.chance(50).then_some(rng)) else {
            return batch;
        };
        let claimed = |key: &&Key| {
            batch.iter().any(|message| match message {
                FromClient::Submit(piece) => piece.wanted.contains(key),
                _ => false,
            })
        };
        let others: Vec<_> = held.iter().filter(|key| !claimed(key)).copied().collect();
        let some = pick_some(&others, rng);
        self.futures.retain(|key, _| !some.contains(key));
        batch.push(FromClient::Release(some));
        batch
    }

    fn submit(
        &mut self,
        oracle: &mut Oracle,
        poison_percent: u64,
        held: &[Key],
        rng: &mut Rng,
    ) -> Vec<FromClient> {
        // What is an actor is no argument.
        let held: Vec<_> = held.iter().filter(|key| !oracle.is_actor(key)).copied().collect();
        let mut graph = Graph::draw(&held, self.salts, self.needs, rng);
        if let Some(rng) = &mut self.trappers
            && rng.chance(60)
        {
            graph.add_some(Kind::Trapper, rng);
        }
        if let Some(rng) = &mut self.wanderers
            && rng.chance(50)
        {
            graph.add_some(Kind::Wanderer, rng);
        }
        if let Some(rng) = &mut self.sharers
            && rng.chance(40)
        {
            graph.add_sharers(rng);
        }
        if let Some(rng) = &mut self.actors
            && rng.chance(30)
        {
            graph.add_actor(rng);
        }
        // What was added may be among what is held.
        graph.drop_read_before(&held);
        self.requests += 1;
        let request = RequestId(self.requests);
        if rng.chance(8) {
            graph.spoil(rng);
            // Until it is refused, others may come to share its calls.
            graph.calls.iter().for_each(|call| oracle.invariants.needs.on_submit(call));
            self.open.insert(request, (Vec::new(), true));
            return graph.submissions(request, rng).into_iter().map(FromClient::Submit).collect();
        }
        oracle.on_submit(&graph, poison_percent);
        if rng.chance(10) {
            // Somebody wants it, and nobody waits for it.
            graph.detached = std::mem::take(&mut graph.wanted);
        }
        let mut fresh = Vec::new();
        for key in &graph.wanted {
            if !self.futures.contains_key(key) {
                self.futures.insert(*key, Standing::Pending);
                fresh.push(*key);
            }
        }
        self.open.insert(request, (fresh, false));
        graph.submissions(request, rng).into_iter().map(FromClient::Submit).collect()
    }

    /// A large graph; its futures are kept.
    pub(crate) fn submit_large(&mut self, oracle: &mut Oracle, rng: &mut Rng) -> Vec<FromClient> {
        let graph = Graph::draw_large(self.large.unwrap_or_default(), rng);
        oracle.on_submit(&graph, 0);
        self.requests += 1;
        let request = RequestId(self.requests);
        let fresh = graph.wanted.clone();
        self.futures.extend(fresh.iter().map(|key| (*key, Standing::Pending)));
        self.open.insert(request, (fresh, false));
        graph.submissions(request, rng).into_iter().map(FromClient::Submit).collect()
    }

    /// What failed, and was not cancelled, once more.
    fn retry(&mut self, oracle: &mut Oracle) -> Vec<FromClient> {
        let failed = |standing: &Standing| match standing {
            Standing::Failed(failure) => failure.kind != FailureKind::Cancelled,
            Standing::Pending | Standing::Here | Standing::Elsewhere(..) => false,
        };
        let keys = self.futures.iter().filter(|(_, standing)| failed(standing));
        let keys: Vec<_> = keys.map(|(key, _)| *key).collect();
        oracle.on_retry(&keys);
        self.requests += 1;
        vec![FromClient::Retry { request: RequestId(self.requests), keys }]
    }

    /// Takes a task out of quarantine, or all.
    fn clear(&mut self) -> FromClient {
        self.requests += 1;
        let one =
            |rng: &mut Rng| rng.chance(70).then(|| task::label(&Kind::Trapper.task(rng.index(2))));
        let query = Query::ClearQuarantine { task: self.trappers.as_mut().and_then(one) };
        FromClient::Query { request: RequestId(self.requests), query }
    }

    /// Publishes some of what it holds, or takes back what somebody published.
    fn share(&mut self, held: &[Key], rng: &mut Rng) -> FromClient {
        self.requests += 1;
        let operation = match held.is_empty() || rng.chance(30) {
            true => DatasetOperation::Unpublish,
            false => DatasetOperation::Publish { keys: pick_some(held, rng), replace: true },
        };
        let name = rng.pick(&DATASETS).to_owned();
        let operation = Operation::Dataset { name, operation };
        FromClient::Coordinate { request: RequestId(self.requests), operation }
    }

    /// News of a key that comes before the submission that claims it is accepted: what it claims now is
    /// told then.
    fn is_of_an_earlier_life(&self, message: &ToClient) -> bool {
        match message {
            ToClient::Ready { key, .. } | ToClient::Failed { key, .. } => {
                self.open.values().any(|(fresh, _)| fresh.contains(key))
            }
            _ => false,
        }
    }

    /// The scheduler told something. Gives the result that is to be read now, if there is one.
    pub(crate) fn on_message(
        &mut self,
        message: ToClient,
        oracle: &mut Oracle,
    ) -> Result<Option<Key>, String> {
        if self.is_of_an_earlier_life(&message) {
            return Ok(None);
        }
        match message {
            ToClient::Accepted(request) => match self.open.remove(&request) {
                Some((_, true)) => Err(format!("{request}: accepted with an unknown input")),
                Some((_, false)) => Ok(None),
                None => Err(format!("{request}: accepted without or twice")),
            },
            ToClient::Refused { request, error } => {
                let Some((fresh, spoiled)) = self.open.remove(&request) else {
                    return Err(format!("{request}: refused without or twice: {error}"));
                };
                for key in &fresh {
                    self.futures.remove(key);
                }
                // Another submission may have wanted them too, on the same futures.
                self.dropped.extend(fresh);
                // Somebody else may have cancelled what this one builds on.
                match error {
                    Refusal::UnknownKey { .. } if spoiled || self.forces => Ok(None),
                    _ => Err(format!("{request}: refused: {error}")),
                }
            }
            ToClient::Ready { key, meta, holders, inline } => {
                named("values", oracle.check_ready(&key, meta.hash))?;
                if inline.as_ref().is_some_and(|value| value.bytes != meta.hash) {
                    return Err(format!("{}: told another value than its hash", key.short()));
                }
                let Some(standing) = self.futures.get_mut(&key) else { return Ok(None) };
                if inline.is_some() {
                    *standing = Standing::Here;
                    return Ok(None);
                }
                if matches!(standing, Standing::Here) {
                    return Ok(None);
                }
                *standing = Standing::Elsewhere(meta, holders);
                Ok(Some(key))
            }
            ToClient::Output { key, text } if text != key.short() => {
                Err(format!("{}: told the output `{text}` of another call", key.short()))
            }
            ToClient::Output { .. } => Ok(None),
            ToClient::Failed { key, failure } => self.on_failed(key, failure, oracle),
            ToClient::Again(keys) => {
                for key in keys {
                    if let Some(standing) = self.futures.get_mut(&key) {
                        *standing = Standing::Pending;
                    }
                }
                Ok(None)
            }
            ToClient::Topic { name, .. } => Err(format!("told of topic `{name}` without asking")),
            ToClient::Answer { request, answer } if self.on_data_answer(request, &answer) => {
                Ok(None)
            }
            ToClient::Answer { answer: Answer::Refused(refusal), .. } => match refusal {
                Refusal::UnknownName { .. } => Ok(None),
                // What it wanted out of quarantine is not in it.
                Refusal::Unavailable { .. } if self.trappers.is_some() => Ok(None),
                Refusal::UnknownKey { .. } if self.forces => Ok(None),
                refusal => Err(refusal.to_string()),
            },
            ToClient::Answer { .. } => Ok(None),
        }
    }

    fn on_failed(
        &mut self,
        key: Key,
        failure: Failure,
        oracle: &mut Oracle,
    ) -> Result<Option<Key>, String> {
        let unwanted = self.bringing.asked.remove(&key);
        if !(unwanted && failure.kind == FailureKind::Cancelled) {
            named("failures", oracle.check_failed(&key, &failure))?;
        }
        if let Some(standing) = self.futures.get_mut(&key) {
            *standing = Standing::Failed(Box::new(failure));
        }
        Ok(None)
    }

    /// Futures of which nothing final is known.
    pub(crate) fn unsettled(&self) -> Vec<Key> {
        let unsettled = |standing: &Standing| match standing {
            Standing::Pending | Standing::Elsewhere(..) => true,
            // It was wanted anew after it was cancelled, else there would be no future.
            Standing::Failed(failure) => failure.kind == FailureKind::Cancelled && !self.forces,
            Standing::Here => false,
        };
        self.futures
            .iter()
            .filter(|(_, standing)| unsettled(standing))
            .map(|(key, _)| *key)
            .collect()
    }
}

fn pick_some(held: &[Key], rng: &mut Rng) -> Vec<Key> {
    let percent = rng.pick(&[10, 50, 100]);
    held.iter().copied().filter(|_| rng.chance(percent)).collect()
}
