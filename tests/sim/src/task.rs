//! The tasks of the simulated bundle: what they compute, how they fail, how long they take.
//!
//! All of it follows from key, attempt and arguments, so that the oracle computes the same natively.

use grid_proto::{
    Arg, Attempt, BundleDescription, BundleHash, Codec, FailureKind, Key, ObjectMeta, Parameter,
    TaskDescription, TaskLimits, TrapKind, Value, call,
};

use crate::rng::Rng;

pub(crate) const BUNDLE: BundleHash = BundleHash([7; 32]);
/// Inputs that a task takes at most, behind its first argument, which is a value.
pub(crate) const INPUTS_MAX: usize = 8;

/// What a task is like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Plain,
    /// Each attempt fails with some probability; has retries.
    Flaky,
    /// Each key fails with some probability, then always.
    Poison,
    /// Gives something else each time.
    Impure,
    /// Each attempt takes its worker along with some probability.
    Killer,
    /// Submits calls of its own and waits for them.
    Parent,
    /// Makes an actor.
    Actor,
    /// Runs in an actor's instance; now and then returns an error.
    Method,
    /// Waits at a queue and for a lease that others want too.
    Sharer,
    /// Each key traps with some probability, then always, or returns an error.
    Trapper,
    /// Asks to run elsewhere, some attempts of it or all.
    Wanderer,
}

pub(crate) const KINDS: [Kind; 11] = [
    Kind::Plain,
    Kind::Flaky,
    Kind::Poison,
    Kind::Impure,
    Kind::Killer,
    Kind::Parent,
    Kind::Actor,
    Kind::Method,
    Kind::Sharer,
    Kind::Trapper,
    Kind::Wanderer,
];

impl Kind {
    fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Flaky => "flaky",
            Self::Poison => "poison",
            Self::Impure => "impure",
            Self::Killer => "killer",
            Self::Parent => "parent",
            Self::Actor => "actor",
            Self::Method => "method",
            Self::Sharer => "sharer",
            Self::Trapper => "trapper",
            Self::Wanderer => "wanderer",
        }
    }

    pub(crate) fn task(self, inputs: usize) -> String {
        format!("{}-{inputs}", self.label())
    }

    pub(crate) fn of(task: &str) -> Option<Self> {
        let label = task.split('-').next()?;
        KINDS.into_iter().find(|kind| kind.label() == label)
    }

    /// Each call of it is like no other.
    pub(crate) fn is_unique(self) -> bool {
        matches!(self, Self::Impure | Self::Actor | Self::Method | Self::Sharer)
    }

    pub(crate) fn retries(self) -> u32 {
        if self == Self::Flaky { 2 } else { 0 }
    }
}

/// The bundle as its author would describe it.
pub(crate) fn description() -> BundleDescription {
    let parameter =
        |n: usize| Parameter { name: format!("p{n}"), shape: "Blob".to_owned(), lazy: false };
    let task = |kind: Kind, inputs: usize| TaskDescription {
        name: kind.task(inputs),
        doc: String::new(),
        parameters: (0..=inputs).map(parameter).collect(),
        output: "Blob".to_owned(),
        pure: !kind.is_unique(),
        resident: false,
        retries: kind.retries(),
        scratch_bytes: 0,
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let tasks = |kind: Kind| (0..=INPUTS_MAX).map(move |inputs| task(kind, inputs));
    BundleDescription {
        name: "sim".to_owned(),
        version: "1".to_owned(),
        sdk: "none".to_owned(),
        tasks: KINDS.into_iter().flat_map(tasks).collect(),
        imports: Vec::new(),
    }
}

/// A value is its hash; the bytes behind it do not matter.
pub(crate) type Hash = [u8; 32];

/// The result of a call. `salt` tells the executions of an impure task apart.
pub(crate) fn compute(
    task: &str,
    args: &[Arg],
    salt: u64,
    input: impl Fn(&Key) -> Option<Hash>,
) -> Option<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(task.as_bytes()).update(&salt.to_le_bytes());
    for arg in args {
        match arg {
            Arg::Value(value) => hasher.update(&value.bytes),
            Arg::Key(key) => hasher.update(&input(key)?),
        };
    }
    Some(*hasher.finalize().as_bytes())
}

/// The bundle's task as the scheduler calls it.
pub(crate) fn label(task: &str) -> String {
    format!("sim@1:{task}")
}

/// What a store would say about a result: some are too large to travel with the news.
pub(crate) fn meta(hash: Hash) -> ObjectMeta {
    let size = if hash[0].is_multiple_of(4) { 5_000 + 997 * u64::from(hash[1]) } else { 32 };
    ObjectMeta { codec: Codec::Raw, size, hash }
}

/// A number below 100 that the key and this text settle.
pub(crate) fn lot(key: &Key, text: &str, n: u32) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key.0).update(text.as_bytes()).update(&n.to_le_bytes());
    u64::from(u16::from_le_bytes([
        hasher.finalize().as_bytes()[0],
        hasher.finalize().as_bytes()[1],
    ])) % 100
}

/// What this attempt ends in, if it has no result: the function's own error, or a trap.
pub(crate) fn fault(
    kind: Kind,
    key: &Key,
    attempt: Attempt,
    poison_percent: u64,
    flaky_percent: u64,
) -> Option<(FailureKind, String)> {
    let errs = match kind {
        Kind::Poison => lot(key, "poison", 0) < poison_percent,
        Kind::Flaky => lot(key, "flaky", attempt.0) < flaky_percent,
        Kind::Method => lot(key, "method", 0) < 10,
        Kind::Trapper => traps_or_errs(key) && !traps(key),
        Kind::Plain
        | Kind::Impure
        | Kind::Killer
        | Kind::Parent
        | Kind::Actor
        | Kind::Sharer
        | Kind::Wanderer => false,
    };
    let failure = match kind == Kind::Trapper && traps(key) {
        true => FailureKind::Trap { trap: TrapKind::Unreachable },
        false if errs => FailureKind::User,
        false => return None,
    };
    Some((failure, format!("injected into {} at attempt {attempt}", key.short())))
}

fn traps(key: &Key) -> bool {
    lot(key, "trapper", 0) < 30
}

fn traps_or_errs(key: &Key) -> bool {
    lot(key, "trapper", 0) < 55
}

/// Whether this attempt of a wanderer asks to run elsewhere.
pub(crate) fn moves_on(key: &Key, attempt: Attempt) -> bool {
    never_rests(key) || lot(key, "moves", attempt.0) < 50
}

fn never_rests(key: &Key) -> bool {
    lot(key, "rests", 0) < 10
}

/// Whether the call fails however often it is tried.
pub(crate) fn is_doomed(kind: Kind, key: &Key, poison_percent: u64) -> bool {
    match kind {
        Kind::Poison => lot(key, "poison", 0) < poison_percent,
        Kind::Trapper => traps_or_errs(key),
        Kind::Wanderer => never_rests(key),
        Kind::Plain
        | Kind::Flaky
        | Kind::Impure
        | Kind::Killer
        | Kind::Parent
        | Kind::Actor
        | Kind::Method
        | Kind::Sharer => false,
    }
}

pub(crate) fn duration_us(key: &Key, rng: &mut Rng) -> u64 {
    match key.0[5] % 8 {
        0..=3 => rng.range(50, 500),
        4..=6 => rng.range(500, 10_000),
        _ => rng.range(5_000, 60_000),
    }
}

pub(crate) fn key_of(kind: Kind, task: &str, args: &[Arg], rng: &mut Rng) -> Key {
    if kind.is_unique() { Key(rng.bytes()) } else { call::pure_key(BUNDLE, task, args) }
}

/// A call that a parent submits.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) key: Key,
    pub(crate) task: String,
    pub(crate) args: Vec<Arg>,
}

/// How deep parents may be nested.
const LEVELS_MAX: u8 = 3;

/// What this parent submits: follows from its key. Few salts make parents share children; the level
/// behind the salt keeps them from waiting for themselves.
pub(crate) fn children(parent: &Key, args: &[Arg]) -> Vec<Child> {
    let level = match args.first() {
        Some(Arg::Value(value)) => value.bytes.get(8).copied().unwrap_or(0),
        Some(Arg::Key(_)) | None => 0,
    };
    let count = 1 + u32::try_from(lot(parent, "count", 0) % 3).expect("below 3");
    let child = |n: u32| {
        let kind = match lot(parent, "kind", n) {
            0..40 if level + 1 < LEVELS_MAX => Kind::Parent,
            90.. => Kind::Poison,
            _ => Kind::Plain,
        };
        let mut bytes = (lot(parent, "salt", n) % 50).to_le_bytes().to_vec();
        bytes.push(level + 1);
        let args = vec![Arg::Value(Value { codec: Codec::Raw, bytes })];
        let task = kind.task(0);
        Child { key: call::pure_key(BUNDLE, &task, &args), task, args }
    };
    (0..count).map(child).collect()
}

/// The result of a parent, from what it computes itself and its children's results in their order.
pub(crate) fn gathered(own: Hash, children: impl IntoIterator<Item = Hash>) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&own);
    for child in children {
        hasher.update(&child);
    }
    *hasher.finalize().as_bytes()
}
