//! A machine that is wrong, under real sessions.

use std::path::Path;

use grid_net::{Inbox, Kind, MemoryHub, channel};
use grid_proto::message::{
    FromClient, FromWorker, Outcome, Registration, Submission, ToClient, ToWorker,
};
use grid_proto::{
    BundleDescription, BundleHash, CallOptions, CallSpec, Codec, Key, ObjectMeta, Spent,
    TaskDescription, TaskLimits, TaskRef,
};
use grid_scheduler::{Config, Mutation};
use serde_json::Value;

use super::*;

const BUNDLE: BundleHash = BundleHash([9; 32]);
const KEY: Key = Key([7; 32]);
const TIMEOUT: Duration = Duration::from_secs(10);

fn server(hub: &MemoryHub, state_dir: &Path, mutation: Option<Mutation>) -> Server {
    let config = ServerConfig {
        state_dir: state_dir.to_owned(),
        // All that there is in each turn.
        scheduler: Config { mutation, checked_per_turn: 256, ..Config::default() },
    };
    let mut server = Server::new(config, Endpoint::memory(hub, "scheduler").unwrap()).unwrap();
    let task = TaskDescription {
        name: "t".to_owned(),
        doc: String::new(),
        parameters: Vec::new(),
        output: "Blob".to_owned(),
        pure: true,
        resident: false,
        retries: 0,
        scratch_bytes: 0,
        limits: TaskLimits::default(),
        reads: Vec::new(),
        writes: Vec::new(),
    };
    let description = BundleDescription {
        name: "b".to_owned(),
        version: "1.0.0".to_owned(),
        sdk: "test".to_owned(),
        tasks: vec![task],
        imports: Vec::new(),
    };
    server.handle(Event::BundleRestored { hash: BUNDLE, size_bytes: 1, description });
    server
}

/// Runs the server until it stops by itself; gives the words of its error, and the dump.
async fn stopped(server: Server, state_dir: &Path) -> (String, Value) {
    let ended = tokio::time::timeout(TIMEOUT, server.run(std::future::pending())).await.unwrap();
    let Err(error @ ServerError::Fault { .. }) = ended else { panic!("it ended: {ended:?}") };
    let error = error.to_string();
    let dumps: Vec<_> = std::fs::read_dir(state_dir.join("dumps")).unwrap().collect();
    let [Ok(dump)] = &dumps[..] else { panic!("{dumps:?}") };
    assert!(error.contains(dump.path().to_str().unwrap()), "{error}");
    (error, serde_json::from_slice(&std::fs::read(dump.path()).unwrap()).unwrap())
}

async fn connect(hub: &MemoryHub, name: &str) -> Connection {
    let endpoint = Endpoint::memory(hub, name).unwrap();
    endpoint.connect("memory:scheduler", TIMEOUT).await.unwrap()
}

async fn as_client(connection: &Connection) -> (Outbox<FromClient>, Inbox<ToClient>) {
    let (send, recv) = connection.open(Kind::Client).await.unwrap();
    channel(send, recv, 16)
}

#[tokio::test]
async fn a_panic_of_the_machine_ends_it_with_a_dump_and_everybody_is_told() {
    let (hub, state) = (MemoryHub::new(), tempfile::tempdir().unwrap());
    let mut server = server(&hub, state.path(), None);
    server.step(|_| panic!("index 3 of none"));
    let told = async {
        let connection = connect(&hub, "client").await;
        let _streams = as_client(&connection).await;
        connection.closed().await
    };
    let ((error, dump), told) = tokio::join!(stopped(server, state.path()), told);
    assert!(error.contains("panic: index 3 of none at "), "{error}");
    assert!(told.contains("its own state was wrong"), "{told}");
    let what = dump["what"].as_str().unwrap();
    assert!(what.contains("driver/tests.rs") && what.lines().count() > 1, "{what}");
    assert_eq!(dump["version"], env!("CARGO_PKG_VERSION"));
    assert!(dump["machine"]["queues"].is_object());
}

fn submission() -> FromClient {
    let call = CallSpec { key: KEY, task: 0, args: Vec::new(), options: CallOptions::default() };
    FromClient::Submit(Submission {
        tasks: vec![TaskRef { bundle: BUNDLE, task: "t".to_owned() }],
        calls: vec![call],
        wanted: vec![KEY],
        ..Submission::default()
    })
}

type Streams = (Outbox<FromWorker>, Inbox<ToWorker>);

async fn as_worker(connection: &Connection, name: &str) -> Streams {
    let (send, recv) = connection.open(Kind::Worker).await.unwrap();
    let (outbox, inbox) = channel(send, recv, 16);
    let registration = Registration {
        name: name.to_owned(),
        address: format!("memory:{name}"),
        pid: 1,
        host: "h".to_owned(),
        labels: Vec::new(),
        resources: Vec::new(),
        memory_bytes: 1 << 30,
        object_bytes: 1 << 30,
        slots: 1,
        holds: Vec::new(),
        in_hand: Vec::new(),
    };
    outbox.send(FromWorker::Register(registration)).await.unwrap();
    (outbox, inbox)
}

/// A worker that has given its result, of which the client has heard.
async fn worker_with_result(hub: &MemoryHub, client: &mut Inbox<ToClient>) -> Connection {
    let connection = connect(hub, "worker").await;
    let (outbox, mut inbox) = as_worker(&connection, "worker").await;
    let assigned = |message: &ToWorker| match message {
        ToWorker::Run(assignments) => Some(assignments[0].attempt),
        _ => None,
    };
    let attempt = loop {
        let batch = inbox.recv().await.unwrap().unwrap();
        if let Some(attempt) = batch.iter().find_map(assigned) {
            break attempt;
        }
    };
    let meta = ObjectMeta { codec: Codec::Raw, size: 1, hash: [1; 32] };
    let outcome = Outcome::Memory { meta, inline: None };
    let spent = Spent::default();
    outbox.send(FromWorker::Finished { key: KEY, attempt, outcome, spent }).await.unwrap();
    while !told(client).await.iter().any(|message| matches!(message, ToClient::Ready { .. })) {}
    connection
}

async fn told(client: &mut Inbox<ToClient>) -> Vec<ToClient> {
    client.recv().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_contradiction_ends_it_before_anything_is_decided_on_it() {
    let (hub, state) = (MemoryHub::new(), tempfile::tempdir().unwrap());
    // The mistake: a worker that is gone still counts as a holder.
    let server = server(&hub, state.path(), Some(Mutation::HolderKept));
    let clients = async {
        let connection = connect(&hub, "client").await;
        let (outbox, mut inbox) = as_client(&connection).await;
        outbox.send(submission()).await.unwrap();
        let worker = worker_with_result(&hub, &mut inbox).await;
        let other = connect(&hub, "other").await;
        let (_outbox, mut welcome) = as_worker(&other, "other").await;
        welcome.recv().await.unwrap();
        worker.close("killed");
        [connection.closed().await, other.closed().await]
    };
    let ((error, dump), told) = tokio::join!(stopped(server, state.path()), clients);
    let words = format!("call {} (memory): a holder does not list it", KEY.short());
    assert!(error.contains(&words), "{error}");
    assert!(told.iter().all(|told| told.contains("its own state was wrong")), "{told:?}");
    assert_eq!(dump["machine"]["fault"], words);
    assert_eq!(dump["machine"]["status"]["calls"]["memory"], 1);
    assert_eq!(dump["machine"]["calls"][0]["task"], "b@1.0.0:t");
    let story = dump["machine"]["story"].as_array().unwrap();
    assert!(story.iter().any(|step| step["state"] == "processing"), "{story:?}");
    let events = dump["events"].as_array().unwrap();
    assert!(events.iter().any(|event| event.as_str().unwrap().contains("finished")), "{events:?}");
}
