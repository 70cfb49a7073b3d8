//! Bad input: each gets a clear error, and nothing is lost.

use grid_client::{Client, ClientError, ClientOptions, RawCall};
use grid_net::{Endpoint, Identity, Kind, NetError};
use grid_proto::message::{
    BulkHeader, BulkRequest, FromClient, FromWorker, Outcome, Refusal, Registration, Submission,
    ToClient,
};
use grid_proto::{
    Arg, Attempt, BundleHash, CallOptions, CallSpec, FailureKind, Key, PROTOCOL_VERSION, RequestId,
    Spent, TaskLimits, TaskRef,
};
use hello::inc;
use noop::fresh;

use crate::support::{
    Grid, PATIENCE, Processes, bundle_bytes, eventually, failure, raw_call, value,
};

fn refusal<T: std::fmt::Debug>(ended: Result<T, ClientError>) -> Refusal {
    match ended {
        Err(ClientError::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_is_no_bundle_is_refused_with_the_reason_and_forgotten() {
    let grid = Grid::start(1, 1).await;
    let whole = bundle_bytes("hello");
    let mut flipped = whole.clone();
    // At the front, where no custom section is.
    flipped[8..72].iter_mut().for_each(|byte| *byte ^= 0xff);
    let denied = r#"(component (import "wasi:sockets/tcp@0.2.6" (instance)))"#;
    let cases: [(&str, Vec<u8>, &str); 7] = [
        ("text", b"hello, world".to_vec(), "not a wasm file"),
        ("nothing", Vec::new(), "not a wasm file"),
        ("a core module", component("(module)"), "core wasm module"),
        ("a component without the world", component("(component)"), "grid:task/tasks"),
        ("a component with a socket", component(denied), "wasi:sockets/tcp"),
        ("half a bundle", whole[..whole.len() / 2].to_vec(), "not a valid component"),
        ("a flipped bundle", flipped, ""),
    ];
    for (what, bytes, expected) in cases {
        let message = match grid.client.deploy(&bytes, false).await {
            Err(error @ ClientError::Refused(Refusal::BadBundle { .. })) => error.to_string(),
            other => panic!("{what}: {other:?}"),
        };
        assert!(message.contains(expected), "{what}: {message}");
    }
    assert!(grid.client.bundles().await.unwrap().is_empty());
    let kept = std::fs::read_dir(grid.state.path().join("bundles")).unwrap().count();
    assert_eq!(kept, 0);
    grid.deploy("hello").await;
    assert_eq!(grid.client.submit(inc::call(1)).await.unwrap().result().await.unwrap(), 2);
}

#[tokio::test]
async fn unknown_names_are_named() {
    let grid = Grid::start(1, 1).await;
    let nowhere = refusal(grid.client.submit(inc::call(1)).await);
    assert_eq!(nowhere, Refusal::UnknownBundle { bundle: "hello".into() });
    let hello = grid.deploy("hello").await;
    let mut call = raw_call(&hello, "inc", vec![value(1)]);
    call.task = "increment".into();
    let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
    let unknown = refusal(future.value().await).to_string();
    assert!(unknown.contains("`increment`") && unknown.contains("inc, add"), "{unknown}");

    let mut call = raw_call(&hello, "inc", vec![value(1)]);
    call.bundle = BundleHash([7; 32]);
    let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
    assert!(matches!(refusal(future.value().await), Refusal::UnknownBundle { .. }));

    let orphan = Key([9; 32]);
    let call = raw_call(&hello, "inc", vec![Arg::Key(orphan)]);
    let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
    let unknown = refusal(future.value().await);
    assert_eq!(unknown, Refusal::UnknownKey { key: orphan.to_string() });
    assert!(grid.client.status().await.unwrap().calls.is_empty());
}

#[tokio::test]
async fn wrong_arguments_are_found_at_submission_or_by_the_task() {
    let grid = Grid::start(1, 1).await;
    let hello = grid.deploy("hello").await;
    let cases = [
        (raw_call(&hello, "add", vec![value(1)]), "takes 2 arguments"),
        (raw_call(&hello, "add", vec![value(1), value("two")]), "`b`, takes `i64`, not a text"),
        (raw_call(&hello, "inc", vec![value(1.5)]), "not a number with a fraction"),
    ];
    for (call, expected) in cases {
        let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
        let message = refusal(future.value().await).to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(grid.counts("add").await.calls, 0);
    // A struct's inside only the task itself can judge.
    let call = raw_call(&hello, "greet", vec![value([("nom", "Ada")])]);
    let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
    let failed = failure(future.value().await);
    assert_eq!(failed.kind, FailureKind::BadArgument { index: 0 }, "{failed}");
    assert!(failed.message.contains("person"), "{failed}");

    let large = Arg::Value(grid_proto::Value {
        codec: grid_proto::Codec::Msgpack,
        bytes: vec![0; grid_proto::limits::INLINE_ARGUMENT_BYTES_MAX + 1],
    });
    let refused = grid.client.submit_raw([raw_call(&hello, "inc", vec![large])]).await;
    let message = refusal(refused.map(drop)).to_string();
    assert!(message.contains("4194305 bytes; at most 4194304 travel"), "{message}");
}

#[tokio::test]
async fn a_name_points_to_one_bundle_until_it_is_told_otherwise() {
    let grid = Grid::start(1, 1).await;
    let first = grid.deploy("hello").await;
    // The same bundle with a custom section more: other bytes, the same name and version.
    let mut other = bundle_bytes("hello");
    other.extend_from_slice(&[0, 3, 1, b'x', 0]);
    let taken = refusal(grid.client.deploy(&other, false).await);
    let new = BundleHash::of(&other);
    let expected = Refusal::NameTaken { label: "hello@0.1.0".into(), known: first.hash, new };
    assert_eq!(taken, expected);
    let again = grid.client.deploy(&bundle_bytes("hello"), false).await.unwrap();
    assert_eq!((again.info.hash, again.sent_bytes), (first.hash, 0));
    let moved = grid.client.deploy(&other, true).await.unwrap();
    assert_eq!(moved.info.hash, new);
    assert_eq!(grid.client.bundle("hello").await.unwrap().hash, new);
    assert_eq!(grid.client.bundle(&first.hash.to_string()[..12]).await.unwrap().hash, first.hash);
}

fn endpoint(grid: &Processes) -> Endpoint {
    let identity = Identity::load_or_create(&grid.home().join("identity")).unwrap();
    Endpoint::quic("127.0.0.1:0".parse().unwrap(), &identity).unwrap()
}

async fn still_works(client: &Client) {
    let call = client.submit(fresh::call(1u64)).await.unwrap();
    assert_eq!(call.result().await.unwrap(), 1);
}

#[tokio::test]
async fn strangers_old_versions_and_garbage_cost_their_own_connection() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();

    let old = endpoint(&grid).with_version(PROTOCOL_VERSION + 1);
    for kind in [Kind::Client, Kind::Worker] {
        let connection = old.connect(&grid.address, PATIENCE).await.unwrap();
        let error = connection.open(kind).await.err().unwrap();
        assert!(matches!(error, NetError::Version { .. }), "{error}");
    }

    let stranger = ClientOptions {
        scheduler: grid.address.clone(),
        identity_dir: grid.home().join("another"),
        timeout: PATIENCE,
        ..ClientOptions::new("")
    };
    let error = Client::connect_with(&stranger).await.err().unwrap();
    assert!(matches!(error, ClientError::Incompatible(_)), "{error}");

    let garbage = [&200u32.to_le_bytes()[..], &[0x5a; 200]].concat();
    let oversized = u32::MAX.to_le_bytes().to_vec();
    let half = [&200u32.to_le_bytes()[..], &[0; 20]].concat();
    for bytes in [garbage, oversized, half] {
        for kind in [Kind::Client, Kind::Worker, Kind::Bulk] {
            let endpoint = endpoint(&grid);
            let connection = endpoint.connect(&grid.address, PATIENCE).await.unwrap();
            let (mut send, mut recv) = connection.open(kind).await.unwrap();
            send.send_bytes(&bytes).await.unwrap();
            // The scheduler may have cut the stream off already.
            let _ = send.finish().await;
            let answered = recv.recv::<Vec<ToClient>>().await;
            assert!(!matches!(answered, Ok(Some(_))), "{kind:?}");
        }
    }
    still_works(&client).await;
    assert_eq!(client.workers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deployment_that_breaks_off_or_lies_leaves_nothing() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    let bytes = bundle_bytes("noop");
    let hash = BundleHash::of(&bytes);
    let kept = || {
        let stored = std::fs::read_dir(grid.home().join("state/bundles")).unwrap();
        stored.count()
    };
    let connection = endpoint(&grid).connect(&grid.address, PATIENCE).await.unwrap();
    let (mut send, _recv) = connection.open(Kind::Bulk).await.unwrap();
    send.send(&BulkRequest::Deploy { hash, size: bytes.len() as u64 }).await.unwrap();
    send.send_bytes(&bytes[..bytes.len() / 2]).await.unwrap();
    connection.close("gone");

    let connection = endpoint(&grid).connect(&grid.address, PATIENCE).await.unwrap();
    let (mut send, mut recv) = connection.open(Kind::Bulk).await.unwrap();
    send.send(&BulkRequest::Deploy { hash, size: 5 }).await.unwrap();
    send.send_bytes(b"wrong").await.unwrap();
    let answer = recv.recv::<BulkHeader>().await.unwrap().unwrap();
    assert!(matches!(answer, BulkHeader::Refused(reason) if reason.contains("hash")));
    assert_eq!(kept(), 0);

    client.deploy(&bytes, false).await.unwrap();
    still_works(&client).await;
}

#[tokio::test]
async fn absurd_options_are_taken_within_bounds() {
    let grid = Grid::start(1, 1).await;
    let hello = grid.deploy("hello").await;
    for priority in [i32::MIN, -1, i32::MAX] {
        let mut call = raw_call(&hello, "inc", vec![value(priority)]);
        call.options = CallOptions {
            priority,
            retries: Some(u32::MAX),
            limits: TaskLimits { memory_bytes: Some(u64::MAX), timeout_ms: Some(u64::MAX) },
            ..CallOptions::default()
        };
        let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
        let result: i64 = rmp_serde::from_slice(&future.value().await.unwrap().bytes).unwrap();
        assert_eq!(result, i64::from(priority) + 1);
    }
}

/// The widest call that fits a frame keeps nobody waiting; a wider one is refused before it is sent.
#[tokio::test]
async fn a_fan_in_of_a_million_is_refused_and_keeps_nobody_waiting() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    let noop = client.deploy(&bundle_bytes("noop"), false).await.unwrap().info;
    let source = client.submit(fresh::call(1u64)).await.unwrap();
    source.result().await.unwrap();
    let wide = |width: usize| raw_call(&noop, "fresh", vec![Arg::Key(source.key()); width]);
    let refused = client.submit_raw([wide(1_000_000)]).await;
    let text = refusal(refused.map(drop)).to_string();
    assert!(
        text.contains("1000000 arguments; at most 4096 are allowed: reduce in a tree"),
        "{text}"
    );
    still_works(&client).await;

    // Another program, which does not look at the bounds.
    let connection = endpoint(&grid).connect(&grid.address, PATIENCE).await.unwrap();
    let (mut send, mut recv) = connection.open(Kind::Client).await.unwrap();
    let RawCall { bundle, task, args, options, .. } = wide(300_000);
    let submission = Submission {
        request: RequestId(1),
        tasks: vec![TaskRef { bundle, task }],
        calls: vec![CallSpec { key: Key([8; 32]), task: 0, args, options }],
        wanted: vec![Key([8; 32])],
        ..Submission::default()
    };
    send.send(&vec![FromClient::Submit(submission)]).await.unwrap();
    let answers = recv.recv::<Vec<ToClient>>().await.unwrap().unwrap();
    let [ToClient::Refused { error, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert!(error.to_string().contains("has 300000 arguments"), "{error}");
    still_works(&client).await;
}

/// Its bytes are gone from the scheduler's disk: who has it loaded goes on, who has not says so.
#[tokio::test]
async fn a_call_on_a_deleted_bundle_fails_with_the_reason() {
    let grid = Processes::up(&["--workers=2"]);
    let client = grid.client().await;
    let info = client.deploy(&bundle_bytes("noop"), false).await.unwrap().info;
    let file = grid.home().join(format!("state/bundles/{}.wasm", info.hash));
    std::fs::remove_file(file).unwrap();
    let calls = ["worker-0", "worker-1"].map(|name| fresh::call(1u64).on(name));
    let futures = client.map(calls).await.unwrap();
    let mut without = 0;
    for future in &futures {
        match future.result().await {
            Ok(number) => assert_eq!(number, 1),
            Err(ClientError::Failed(failure)) => {
                without += 1;
                let words = ["could not be fetched", "the scheduler does not have it"];
                assert!(words.iter().all(|word| failure.message.contains(word)), "{failure}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(without > 0, "one of the two never had it");
    let refused = client.bundle("nobody").await;
    assert!(matches!(refusal(refused), Refusal::UnknownBundle { .. }));
    // Its bytes are asked for again, and then it runs everywhere.
    let again = client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    assert_eq!(again.sent_bytes, bundle_bytes("noop").len() as u64);
    let calls = ["worker-0", "worker-1"].map(|name| fresh::call(2u64).on(name));
    let futures = client.map(calls).await.unwrap();
    assert_eq!(client.gather(&futures).await.unwrap(), [2, 2]);
}

#[tokio::test]
async fn a_cyclic_graph_is_refused_with_the_reason() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    let noop = client.deploy(&bundle_bytes("noop"), false).await.unwrap().info;
    let connection = endpoint(&grid).connect(&grid.address, PATIENCE).await.unwrap();
    let (mut send, mut recv) = connection.open(Kind::Client).await.unwrap();
    let [one, other] = [Key([1; 32]), Key([2; 32])];
    let reads = |key, input| {
        let RawCall { args, options, .. } = raw_call(&noop, "fresh", vec![Arg::Key(input)]);
        CallSpec { key, task: 0, args, options }
    };
    let submission = Submission {
        request: RequestId(1),
        tasks: vec![TaskRef { bundle: noop.hash, task: "fresh".to_owned() }],
        calls: vec![reads(one, other), reads(other, one)],
        wanted: vec![one],
        ..Submission::default()
    };
    send.send(&vec![FromClient::Submit(submission)]).await.unwrap();
    let answers = recv.recv::<Vec<ToClient>>().await.unwrap().unwrap();
    let [ToClient::Refused { error, .. }] = &answers[..] else { panic!("{answers:?}") };
    assert!(error.to_string().contains("read each other in a circle"), "{error}");
    assert!(client.status().await.unwrap().calls.is_empty());
    still_works(&client).await;
}

#[tokio::test]
async fn limits_of_nothing_end_a_call_with_their_own_kind() {
    let grid = Grid::start(1, 1).await;
    let noop = grid.deploy("noop").await;
    let limited = |limits| {
        let mut call = raw_call(&noop, "spin", vec![value(u64::MAX)]);
        call.options.limits = limits;
        call
    };
    let no_time = TaskLimits { timeout_ms: Some(0), memory_bytes: None };
    let no_memory = TaskLimits { timeout_ms: None, memory_bytes: Some(0) };
    let futures = grid.client.submit_raw([limited(no_time)]).await.unwrap();
    assert_eq!(failure(futures[0].value().await).kind, FailureKind::Deadline { limit_ms: 0 });
    let mut call = limited(no_memory);
    call.args = vec![value(1)];
    let futures = grid.client.submit_raw([call]).await.unwrap();
    let failed = failure(futures[0].value().await);
    assert!(matches!(failed.kind, FailureKind::OutOfMemory { limit_bytes: 0, .. }), "{failed}");
}

/// A worker that says something of attempts that it does not have, over and over.
#[tokio::test]
async fn messages_of_attempts_that_are_over_are_counted_and_dropped() {
    let grid = Processes::up(&["--workers=1"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("noop"), false).await.unwrap();
    let done = client.submit(fresh::call(1u64)).await.unwrap();
    done.result().await.unwrap();
    let connection = endpoint(&grid).connect(&grid.address, PATIENCE).await.unwrap();
    let (mut send, _recv) = connection.open(Kind::Worker).await.unwrap();
    let register = FromWorker::Register(Registration {
        name: "strange".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        pid: 1,
        host: "nowhere".to_owned(),
        labels: Vec::new(),
        resources: Vec::new(),
        memory_bytes: 0,
        object_bytes: 0,
        slots: 1,
        holds: Vec::new(),
        in_hand: vec![(done.key(), Attempt(0))],
    });
    let (attempt, spent) = (Attempt(0), Spent::default());
    let said = [done.key(), Key([9; 32])].into_iter().flat_map(|key| {
        let outcome = Outcome::Reschedule;
        let message = Box::new(FromClient::Release(vec![done.key()]));
        [
            FromWorker::Started(vec![(key, attempt)]),
            FromWorker::Finished { key, attempt, outcome, spent },
            FromWorker::MissingInputs { key, attempt, missing: Vec::new() },
            FromWorker::Withdrawn { key, attempt },
            FromWorker::Waits { key, attempt, waits: true },
            FromWorker::FromTask { key, attempt, message },
        ]
    });
    let batch: Vec<_> = std::iter::once(register).chain(said).collect();
    send.send(&batch).await.unwrap();
    eventually("all are counted", async || client.status().await.unwrap().stale_messages == 12)
        .await;
    assert_eq!(done.result().await.unwrap(), 1);
    connection.close("gone");
    still_works(&client).await;
}
