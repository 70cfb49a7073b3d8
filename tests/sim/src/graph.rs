//! Graphs that clients submit: wide, chains, trees, layers, of all kinds of tasks. Salts come from a
//! small range, so that clients often want the same work.

use std::collections::BTreeSet;

use grid_proto::message::Submission;
use grid_proto::{Arg, CallOptions, CallSpec, Codec, Instance, Key, RequestId, TaskRef, Value};

use crate::invariants::needs;
use crate::rng::Rng;
use crate::task::{self, BUNDLE, INPUTS_MAX, Kind};

/// Calls and the keys that the client wants of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) tasks: Vec<TaskRef>,
    pub(crate) calls: Vec<CallSpec>,
    pub(crate) wanted: Vec<Key>,
    /// Calls that run to their end, whoever leaves.
    pub(crate) detached: Vec<Key>,
    salts: u64,
    /// Some calls are pinned or take resources.
    needs: bool,
}

impl Graph {
    /// A graph that may read what its client holds already. `salts` tells, in tenths of the usual, how
    /// many different calls of one form there are: few make clients want the same ones.
    pub(crate) fn draw(held: &[Key], salts: u64, needs: bool, rng: &mut Rng) -> Self {
        let mut graph = Self { salts, needs, ..Self::default() };
        let mut roots = match rng.index(5) {
            0 => graph.wide(rng),
            1 => graph.chain(held, rng),
            2 => graph.tree(rng),
            _ => graph.layers(held, rng),
        };
        let inner = graph.calls.len().min(3);
        for _ in 0..inner {
            // Futures on inner calls too.
            if rng.chance(30) {
                let position = rng.index(graph.calls.len());
                roots.push(graph.calls[position].key);
            }
        }
        graph.drop_read_before(held);
        roots.sort_unstable();
        roots.dedup();
        graph.wanted = roots;
        graph
    }

    /// A graph of about so many calls, none of them known to others, with one end: a reduction of many
    /// leaves or of chains, in the order in which little data is alive at a time.
    pub(crate) fn draw_large(calls: u64, rng: &mut Rng) -> Self {
        let mut graph = Self::default();
        let chain = if rng.chance(70) { 1 } else { rng.range(5, 50) };
        let leaves = (calls * 13 / 16 / chain).max(1);
        let end = graph.reduction(leaves, chain, rng);
        graph.wanted.push(end);
        graph
    }

    /// Inputs first, each as late as may be.
    fn reduction(&mut self, leaves: u64, chain: u64, rng: &mut Rng) -> Key {
        let fan_in = INPUTS_MAX as u64;
        if leaves <= 1 {
            let mut last = self.add_new(&[], rng);
            for _ in 1..chain {
                last = self.add_new(&[last], rng);
            }
            return last;
        }
        let parts = if leaves <= fan_in { leaves } else { leaves.div_ceil(fan_in).min(fan_in) };
        let part = |n: u64| leaves * (n + 1) / parts - leaves * n / parts;
        let inputs: Vec<_> = (0..parts).map(|n| self.reduction(part(n), chain, rng)).collect();
        self.add_new(&inputs, rng)
    }

    /// A call like no other.
    fn add_new(&mut self, inputs: &[Key], rng: &mut Rng) -> Key {
        let kind = match rng.range(0, 100) {
            0..5 => Kind::Flaky,
            5..10 => Kind::Impure,
            _ => Kind::Plain,
        };
        let bytes = rng.next().to_le_bytes().to_vec();
        let mut args = vec![Arg::Value(Value { codec: Codec::Raw, bytes })];
        args.extend(inputs.iter().map(|input| Arg::Key(*input)));
        let name = kind.task(inputs.len());
        let key = task::key_of(kind, &name, &args, rng);
        let task = self.task_number(name);
        self.calls.push(CallSpec { key, task, args, options: CallOptions::default() });
        key
    }

    /// What its client holds already and reads in a call before the one that would say it anew is
    /// not said anew: inputs come before their readers.
    pub(crate) fn drop_read_before(&mut self, held: &[Key]) {
        let mut read = BTreeSet::new();
        self.calls.retain(|call| {
            let inputs = call.args.iter().filter_map(|arg| match arg {
                Arg::Key(key) => Some(*key),
                Arg::Value(_) => None,
            });
            read.extend(inputs);
            !(read.contains(&call.key) && held.contains(&call.key))
        });
    }

    /// An actor and methods of it, which read some of the other calls.
    pub(crate) fn add_actor(&mut self, rng: &mut Rng) {
        let others: Vec<_> = self.calls.iter().map(|call| call.key).collect();
        let actor = self.add_unique(Kind::Actor, Instance::Kept, &[], rng);
        for _ in 0..rng.range(1, 12) {
            let inputs: Vec<_> = (0..rng.index(3))
                .filter(|_| !others.is_empty())
                .map(|_| rng.pick(&others))
                .collect();
            self.add_unique(Kind::Method, Instance::Of(actor), &inputs, rng);
        }
    }

    /// Calls that share with those of other clients, and read some of the other calls.
    pub(crate) fn add_sharers(&mut self, rng: &mut Rng) {
        let others: Vec<_> = self.calls.iter().map(|call| call.key).collect();
        for _ in 0..rng.range(1, 8) {
            let input = (!others.is_empty() && rng.chance(30)).then(|| rng.pick(&others));
            self.add_unique(Kind::Sharer, Instance::Fresh, input.as_slice(), rng);
        }
    }

    /// Calls of this kind, some of which read another call. Few salts make clients share them.
    pub(crate) fn add_some(&mut self, kind: Kind, rng: &mut Rng) {
        let others: Vec<_> = self.calls.iter().map(|call| call.key).collect();
        for _ in 0..rng.range(1, 10) {
            let input = (!others.is_empty() && rng.chance(30)).then(|| rng.pick(&others));
            let bytes = rng.range(0, 60).to_le_bytes().to_vec();
            let mut args = vec![Arg::Value(Value { codec: Codec::Raw, bytes })];
            args.extend(input.map(Arg::Key));
            let name = kind.task(args.len() - 1);
            let key = task::key_of(kind, &name, &args, rng);
            if self.calls.iter().any(|call| call.key == key) {
                continue;
            }
            let task = self.task_number(name);
            self.calls.push(CallSpec { key, task, args, options: CallOptions::default() });
            self.wanted.push(key);
        }
    }

    fn add_unique(&mut self, kind: Kind, instance: Instance, inputs: &[Key], rng: &mut Rng) -> Key {
        let key = Key(rng.bytes());
        let value = Value { codec: Codec::Raw, bytes: Vec::new() };
        let inputs_of = inputs.iter().map(|input| Arg::Key(*input));
        let args = std::iter::once(Arg::Value(value)).chain(inputs_of).collect();
        let options = CallOptions { instance, ..CallOptions::default() };
        let task = self.task_number(kind.task(inputs.len()));
        self.calls.push(CallSpec { key, task, args, options });
        self.wanted.push(key);
        key
    }

    fn task_number(&mut self, name: String) -> u32 {
        let known = self.tasks.iter().position(|task| task.task == name);
        let number = known.unwrap_or_else(|| {
            self.tasks.push(TaskRef { bundle: BUNDLE, task: name });
            self.tasks.len() - 1
        });
        u32::try_from(number).expect("tasks are few")
    }

    fn wide(&mut self, rng: &mut Rng) -> Vec<Key> {
        let count = rng.range(1, 60);
        (0..count).map(|_| self.add(40, &[], rng)).collect()
    }

    fn chain(&mut self, held: &[Key], rng: &mut Rng) -> Vec<Key> {
        let mut last = match held.is_empty() {
            true => self.add(10, &[], rng),
            false => rng.pick(held),
        };
        for _ in 0..rng.range(1, 30) {
            last = self.add(3, &[last], rng);
        }
        vec![last]
    }

    fn tree(&mut self, rng: &mut Rng) -> Vec<Key> {
        let mut level: Vec<_> = (0..rng.range(2, 40)).map(|_| self.add(60, &[], rng)).collect();
        let fan_in = rng.range(2, 1 + INPUTS_MAX as u64);
        while level.len() > 1 {
            let fan_in = usize::try_from(fan_in).expect("a small number");
            level = level.chunks(fan_in).map(|inputs| self.add(2, inputs, rng)).collect();
        }
        level
    }

    fn layers(&mut self, held: &[Key], rng: &mut Rng) -> Vec<Key> {
        let width = rng.range(1, 14);
        let mut known = held.to_vec();
        let mut last = Vec::new();
        for layer in 0..rng.range(2, 7) {
            let mut next = Vec::new();
            for _ in 0..width {
                let inputs = if layer == 0 { 0 } else { rng.index(4) };
                let inputs: Vec<_> = (0..inputs).map(|_| rng.pick(&known)).collect();
                next.push(self.add(8, &inputs, rng));
            }
            known.extend(&next);
            last = next;
        }
        last
    }

    /// A call with a salt below `salts`; one that is there already if it is the same.
    fn add(&mut self, salts: u64, inputs: &[Key], rng: &mut Rng) -> Key {
        let kind = match rng.range(0, 100) {
            0..=51 => Kind::Plain,
            52..=59 => Kind::Parent,
            60..=74 => Kind::Flaky,
            75..=82 => Kind::Poison,
            83..=95 => Kind::Impure,
            _ => Kind::Killer,
        };
        let salt = Value {
            codec: Codec::Raw,
            bytes: rng.range(0, (salts * self.salts).div_ceil(10)).to_le_bytes().to_vec(),
        };
        let mut args = vec![Arg::Value(salt)];
        args.extend(inputs.iter().map(|input| Arg::Key(*input)));
        let name = kind.task(inputs.len());
        let key = task::key_of(kind, &name, &args, rng);
        if self.calls.iter().any(|call| call.key == key) {
            return key;
        }
        let task = self.task_number(name);
        let priority = if rng.chance(10) { 1 } else { 0 };
        let (pins, resources) = needs::draw(self.needs, rng);
        let options = CallOptions { priority, pins, resources, ..CallOptions::default() };
        self.calls.push(CallSpec { key, task, args, options });
        key
    }

    /// Makes it one that the scheduler has to refuse: an unknown input at its end.
    pub(crate) fn spoil(&mut self, rng: &mut Rng) {
        let unknown = Key(rng.bytes());
        let key = self.add(1_000_000, &[unknown], rng);
        self.wanted.push(key);
    }

    /// The messages that carry it, in one or more pieces.
    pub(crate) fn submissions(&self, request: RequestId, rng: &mut Rng) -> Vec<Submission> {
        let mut pieces =
            vec![Submission { request, tasks: self.tasks.clone(), ..Submission::default() }];
        for call in &self.calls {
            if rng.chance(5) {
                pieces.push(Submission { request, ..Submission::default() });
            }
            pieces.last_mut().expect("there is a first piece").calls.push(call.clone());
        }
        let last = pieces.len() - 1;
        for piece in &mut pieces[..last] {
            piece.more = true;
        }
        pieces[last].wanted.clone_from(&self.wanted);
        pieces[last].detached.clone_from(&self.detached);
        pieces
    }
}
