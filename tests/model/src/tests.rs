use std::fs;
use std::path::{Path, PathBuf};

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
