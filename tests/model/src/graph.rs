//! The calls of all runs: call `n` reads one or two lower ones, the first four nothing. A key always
//! stands for the same call, so its value is known.

use std::collections::BTreeSet;

use grid_proto::message::Submission;
use grid_proto::{
    Arg, BundleDescription, BundleHash, CallOptions, CallSpec, Codec, Key, ObjectMeta, Parameter,
    RequestId, TaskDescription, TaskLimits, TaskRef,
};

/// Calls that there are.
pub const CALLS: u8 = 20;
/// The bundle of their tasks.
pub const BUNDLE: BundleHash = BundleHash([1; 32]);

/// The calls that this one reads.
#[must_use]
pub fn inputs(call: u8) -> BTreeSet<u8> {
    match call {
        0..4 => BTreeSet::new(),
        _ => BTreeSet::from([call / 2, call - 3]),
    }
}

/// The call and all that it needs.
#[must_use]
pub fn closure(call: u8) -> BTreeSet<u8> {
    let mut all = BTreeSet::from([call]);
    for input in inputs(call) {
        all.extend(closure(input));
    }
    all
}

/// A call's key.
#[must_use]
pub fn key(call: u8) -> Key {
    Key([call; 32])
}

/// The call of a key.
#[must_use]
pub fn call(key: Key) -> u8 {
    key.0[0]
}

/// What a store says about a call's result.
#[must_use]
pub fn meta(call: u8) -> ObjectMeta {
    ObjectMeta { codec: Codec::Raw, size: 1 + u64::from(call) * 100_000, hash: [call; 32] }
}

/// A submission of the call with all that it needs.
#[must_use]
pub fn submission(request: RequestId, wanted: u8, detached: bool) -> Submission {
    let task = |inputs: u8| TaskRef { bundle: BUNDLE, task: task_name(inputs) };
    let spec = |call: u8| {
        let args: Vec<_> = inputs(call).into_iter().map(|input| Arg::Key(key(input))).collect();
        let task = u32::try_from(args.len()).unwrap_or(u32::MAX);
        // Some are tried again.
        let retries = Some(u32::from(call % 3 == 2));
        let options = CallOptions { retries, ..CallOptions::default() };
        CallSpec { key: key(call), task, args, options }
    };
    let keys = vec![key(wanted)];
    let (wanted_keys, detached_keys) = if detached { (vec![], keys) } else { (keys, vec![]) };
    Submission {
        request,
        tasks: (0..=2).map(task).collect(),
        calls: closure(wanted).into_iter().map(spec).collect(),
        wanted: wanted_keys,
        detached: detached_keys,
        more: false,
    }
}

fn task_name(inputs: u8) -> String {
    format!("reads-{inputs}")
}

/// What the bundle says of itself.
#[must_use]
pub fn description() -> BundleDescription {
    let parameter =
        |n: u8| Parameter { name: format!("p{n}"), shape: "Blob".to_owned(), lazy: false };
    let task = |inputs: u8| TaskDescription {
        name: task_name(inputs),
        doc: String::new(),
        parameters: (0..inputs).map(parameter).collect(),
        output: "Blob".to_owned(),
        pure: true,
        resident: false,
        retries: 0,
        scratch_bytes: 0,
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    BundleDescription {
        name: "model".to_owned(),
        version: "1".to_owned(),
        sdk: "none".to_owned(),
        tasks: (0..=2).map(task).collect(),
        imports: Vec::new(),
    }
}
