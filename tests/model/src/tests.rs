use std::fs;
use std::path::{Path, PathBuf};

use grid_proto::frame::{HEADER_BYTES, Message};
use grid_proto::message::{FromClient, FromWorker, Outcome, Query, Submission, ToClient, ToWorker};
use grid_proto::{
    Arg, Attempt, BundleHash, CallOptions, CallSpec, Codec, Failure, FailureKind, Key, RequestId,
    Spent, TaskRef, Value, Version, WorkerId,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Operation, frames, run};

/// The files of the corpus of a target of the fuzzer.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_wanted_is_readable(bytes in vec(any::<[u8; 3]>(), 1..250)) {
        let operations: Vec<_> = bytes.into_iter().map(Operation::read).collect();
        if let Err(broken) = run(&operations) {
            prop_assert!(false, "{broken}\nin {operations:?}");
        }
    }

    #[test]
    fn no_bytes_are_more_than_a_message_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        let read = frames::read(&bytes);
        prop_assert!(read.is_ok(), "{read:?}");
    }
}

#[test]
fn the_corpus_of_operations_holds() {
    let files = corpus("operations");
    assert!(files.len() >= 5, "the corpus is there");
    let (mut finished, mut failed) = (0, 0);
    for (path, bytes) in files {
        let ends = run(&Operation::read_all(&bytes));
        let ends = ends.unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
        finished += ends.finished;
        failed += ends.failed;
    }
    assert!(finished > 100 && failed > 5, "{finished} calls end well, {failed} fail");
}

/// The body of a frame.
fn body<M: Message>(messages: &M) -> Vec<u8> {
    messages.encode().unwrap()[HEADER_BYTES..].to_vec()
}

/// What the fuzzer begins with: some of the messages of each stream.
fn frames_of_today() -> [(&'static str, Vec<u8>); 6] {
    let key = Key([3; 32]);
    let kind = FailureKind::OutOfMemory { limit_bytes: 1, asked_bytes: 2 };
    let failure = Failure::new(kind, "no");
    let value = Arg::Value(Value { codec: Codec::Raw, bytes: vec![1, 2, 3] });
    let call = CallSpec {
        key,
        task: 0,
        args: vec![value, Arg::Key(Key([4; 32]))],
        options: CallOptions::default(),
    };
    let submission = Submission {
        request: RequestId(1),
        tasks: vec![TaskRef { bundle: BundleHash([7; 32]), task: "t".to_owned() }],
        calls: vec![call],
        wanted: vec![key],
        ..Submission::default()
    };
    let client = vec![
        FromClient::Release(vec![key]),
        FromClient::Cancel { keys: vec![key], force: true },
        FromClient::Retry { request: RequestId(2), keys: Vec::new() },
        FromClient::Query { request: RequestId(3), query: Query::Workers },
    ];
    let finished = FromWorker::Finished {
        key,
        attempt: Attempt(1),
        outcome: Outcome::Failed(failure.clone()),
        spent: Spent::default(),
    };
    let told = vec![
        ToWorker::Cancel(vec![(key, Attempt(7))]),
        ToWorker::Welcome(WorkerId(1)),
        ToWorker::Free { keys: vec![key], heard: 2 },
    ];
    [
        ("client", body(&client)),
        ("submit", body(&vec![FromClient::Submit(submission)])),
        (
            "holds",
            body(&vec![FromWorker::Holds(vec![(key, Version(5))]), FromWorker::Paused(true)]),
        ),
        ("finished", body(&vec![finished])),
        ("failed", body(&vec![ToClient::Failed { key, failure }, ToClient::Again(vec![key])])),
        ("cancel", body(&told)),
    ]
}

#[test]
fn the_corpus_of_frames_is_of_today() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frames");
    for (name, frame) in frames_of_today() {
        let path = corpus.join(name);
        if std::env::var_os("GRID_BLESS").is_some() {
            fs::write(&path, &frame).unwrap();
        }
        let same = fs::read(&path).is_ok_and(|bytes| bytes == frame);
        assert!(same, "{}: of another protocol; `GRID_BLESS=1` writes it anew", path.display());
    }
}

#[test]
fn the_corpus_of_frames_holds() {
    let files = corpus("frames");
    assert!(files.len() >= 4, "the corpus is there");
    for (path, bytes) in files {
        let read = frames::read(&bytes);
        let messages = read.unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
        let cut_off = path.ends_with("cut");
        assert_eq!(messages == 0, cut_off, "{} is a message", path.display());
    }
}
