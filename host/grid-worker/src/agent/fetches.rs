//! Inputs on their way: each is fetched once at a time, from one holder after the other, a batch
//! per peer.

use std::collections::{BTreeMap, BTreeSet};

use grid_proto::{Key, Priority, WorkerId};

/// Objects that one request to a peer asks for.
const KEYS_PER_FETCH_MAX: usize = 256;

/// Copies that no call waits for come after all others.
const LAST: Priority = Priority {
    user: i32::MAX,
    submission: u32::MAX,
    position: u32::MAX,
    nesting: i16::MAX,
    child: u16::MAX,
};

#[derive(Debug, Default)]
pub(crate) struct Fetches {
    wanted: BTreeMap<Key, Wanted>,
    /// Inputs by the call that waits for them.
    by_call: BTreeMap<Key, BTreeSet<Key>>,
    /// Inputs to ask each peer for, those of the call that runs first before others.
    queued: BTreeMap<WorkerId, BTreeSet<(Priority, Key)>>,
    /// Peers that have a request in flight.
    busy: BTreeSet<WorkerId>,
    /// Inputs that nobody could give, with whoever was asked.
    hopeless: BTreeSet<Key>,
}

#[derive(Debug)]
struct Wanted {
    calls: BTreeSet<Key>,
    /// Of the first of the calls that wait for it.
    priority: Priority,
    /// A copy is to be kept here, whether calls read it or not.
    copy: bool,
    /// Not asked yet, best first.
    holders: Vec<WorkerId>,
    asked: Vec<WorkerId>,
}

impl Fetches {
    /// A call waits for an input that these workers hold; without one, a copy is to be kept here.
    pub(crate) fn want(
        &mut self,
        input: Key,
        call: Option<(Key, Priority)>,
        holders: Vec<WorkerId>,
        own: WorkerId,
    ) {
        let (call, priority) = match call {
            Some((call, priority)) => (Some(call), priority),
            None => (None, LAST),
        };
        if let Some(call) = call {
            self.by_call.entry(call).or_default().insert(input);
        }
        if let Some(wanted) = self.wanted.get_mut(&input) {
            wanted.calls.extend(call);
            wanted.copy |= call.is_none();
            if priority < wanted.priority {
                let before = (std::mem::replace(&mut wanted.priority, priority), input);
                let asked = wanted.asked.last().and_then(|peer| self.queued.get_mut(peer));
                if let Some(queued) = asked.filter(|queued| queued.contains(&before)) {
                    queued.remove(&before);
                    queued.insert((priority, input));
                }
            }
            for holder in holders {
                if !wanted.asked.contains(&holder) && !wanted.holders.contains(&holder) {
                    wanted.holders.push(holder);
                }
            }
            return;
        }
        let (calls, copy) = (call.into_iter().collect(), call.is_none());
        let mut wanted = Wanted { calls, priority, copy, holders, asked: Vec::new() };
        if wanted.holders.is_empty() {
            // The scheduler believes that it is here; it is not.
            wanted.asked.push(own);
        }
        self.wanted.insert(input, wanted);
        self.ask_next(input);
    }

    fn ask_next(&mut self, input: Key) {
        let Some(wanted) = self.wanted.get_mut(&input) else { return };
        if wanted.holders.is_empty() {
            self.hopeless.insert(input);
        } else {
            let holder = wanted.holders.remove(0);
            wanted.asked.push(holder);
            self.queued.entry(holder).or_default().insert((wanted.priority, input));
        }
    }

    /// The input is here. Says which calls waited for it; `None` if nobody wants it.
    pub(crate) fn arrived(&mut self, input: &Key) -> Option<BTreeSet<Key>> {
        let calls = self.wanted.remove(input)?.calls;
        for call in &calls {
            self.drop_wish(call, input);
        }
        Some(calls)
    }

    fn drop_wish(&mut self, call: &Key, input: &Key) {
        if let Some(inputs) = self.by_call.get_mut(call) {
            inputs.remove(input);
            if inputs.is_empty() {
                self.by_call.remove(call);
            }
        }
    }

    /// A peer could not give it.
    pub(crate) fn failed(&mut self, input: Key, from: WorkerId) {
        let current = |wanted: &Wanted| wanted.asked.last() == Some(&from);
        if self.wanted.get(&input).is_some_and(current) {
            self.ask_next(input);
        }
    }

    /// A peer is no longer there: nobody waits for its answer.
    pub(crate) fn peer_gone(&mut self, peer: WorkerId) {
        self.busy.remove(&peer);
        self.queued.remove(&peer);
        let asked = |wanted: &Wanted| wanted.asked.last() == Some(&peer);
        let stranded: Vec<_> =
            self.wanted.iter().filter(|(_, wanted)| asked(wanted)).map(|(key, _)| *key).collect();
        for input in stranded {
            self.ask_next(input);
        }
    }

    pub(crate) fn peer_idle(&mut self, peer: WorkerId) {
        self.busy.remove(&peer);
    }

    /// The call is over; what only it waited for is not fetched any more.
    pub(crate) fn abandon(&mut self, call: &Key) {
        for input in self.by_call.remove(call).unwrap_or_default() {
            if let Some(wanted) = self.wanted.get_mut(&input) {
                wanted.calls.remove(call);
                if wanted.calls.is_empty() && !wanted.copy {
                    self.forget(&input);
                }
            }
        }
    }

    /// Nobody wants the object any more.
    pub(crate) fn forget(&mut self, input: &Key) {
        if let Some(wanted) = self.wanted.get_mut(input) {
            wanted.copy = false;
            if !wanted.calls.is_empty() {
                // A call waits for it: the scheduler freed an older copy.
                return;
            }
        }
        let Some(wanted) = self.wanted.remove(input) else { return };
        self.hopeless.remove(input);
        if let Some(queued) = wanted.asked.last().and_then(|peer| self.queued.get_mut(peer)) {
            queued.remove(&(wanted.priority, *input));
        }
    }

    /// Calls that wait for something that nobody could give, and who was asked; and copies that nobody
    /// could give.
    #[expect(clippy::type_complexity, reason = "calls, and copies")]
    pub(crate) fn hopeless(&mut self) -> (Vec<(Key, Vec<(Key, WorkerId)>)>, Vec<Key>) {
        let mut calls = BTreeMap::<Key, Vec<(Key, WorkerId)>>::new();
        let mut copies = Vec::new();
        for input in std::mem::take(&mut self.hopeless) {
            let Some(wanted) = self.wanted.remove(&input) else { continue };
            if wanted.copy {
                copies.push(input);
            }
            for call in wanted.calls {
                let asked = wanted.asked.iter().map(|worker| (input, *worker));
                calls.entry(call).or_default().extend(asked);
                self.drop_wish(&call, &input);
            }
        }
        (calls.into_iter().collect(), copies)
    }

    /// Requests that may go out now, one per idle peer.
    pub(crate) fn start(&mut self) -> Vec<(WorkerId, Vec<Key>)> {
        let mut requests = Vec::new();
        self.queued.retain(|peer, keys| {
            if !keys.is_empty() && self.busy.insert(*peer) {
                let mut batch = std::mem::take(keys);
                if batch.len() > KEYS_PER_FETCH_MAX {
                    let last = batch.iter().nth(KEYS_PER_FETCH_MAX).copied();
                    *keys = last.map(|last| batch.split_off(&last)).unwrap_or_default();
                }
                requests.push((*peer, batch.into_iter().map(|(_, key)| key).collect()));
            }
            !keys.is_empty()
        });
        requests
    }

    pub(crate) fn is_wanted_by(&self, input: &Key, call: &Key) -> bool {
        self.wanted.get(input).is_some_and(|wanted| wanted.calls.contains(call))
    }
}
