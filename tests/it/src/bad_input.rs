//! Bad input: each gets a clear error, and nothing is lost.

use grid_client::{Client, ClientError, ClientOptions};
use grid_net::{Endpoint, Identity, Kind, NetError};
use grid_proto::message::{BulkHeader, BulkRequest, Refusal};
use grid_proto::{Arg, BundleHash, CallOptions, FailureKind, Key, PROTOCOL_VERSION};
use hello::inc;
use noop::fresh;

use crate::support::{Grid, PATIENCE, Processes, bundle_bytes, failure, raw_call, value};

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
    let future = grid.client.submit_raw([raw_call(&hello, "inc", vec![large])]).await.unwrap();
    let message = refusal(future[0].value().await).to_string();
    assert!(message.contains("at most"), "{message}");
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
            let answered = recv.recv::<Vec<grid_proto::message::ToClient>>().await;
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
            limits: grid_proto::TaskLimits {
                memory_bytes: Some(u64::MAX),
                timeout_ms: Some(u64::MAX),
            },
            ..CallOptions::default()
        };
        let future = grid.client.submit_raw([call]).await.unwrap().remove(0);
        let result: i64 = rmp_serde::from_slice(&future.value().await.unwrap().bytes).unwrap();
        assert_eq!(result, i64::from(priority) + 1);
    }
}
