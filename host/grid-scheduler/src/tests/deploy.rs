//! Bundles: checked by a worker, then named.

use grid_proto::message::{Answer, FromClient, FromWorker, Query, ToClient, ToWorker};
use grid_proto::{BundleHash, RequestId, WorkerId};

use super::grid::{ANN, BOB, BUNDLE, Grid, Out, description};
use crate::{Action, Event};

const NEW: BundleHash = BundleHash([0x11; 32]);
const OTHER: BundleHash = BundleHash([0x22; 32]);

fn store(grid: &mut Grid, hash: BundleHash) {
    grid.tell(Event::BundleStored { hash, size_bytes: 77 });
}

fn deploy(grid: &mut Grid, client: grid_proto::ClientId, hash: BundleHash, replace: bool) -> Out {
    let query = Query::Deploy { hash, replace };
    grid.say(client, FromClient::Query { request: RequestId(5), query })
}

fn inspected(grid: &mut Grid, worker: u32, hash: BundleHash, name: &str, version: &str) -> Out {
    let result = Ok(description(name, version));
    grid.hear(worker, FromWorker::Inspected { bundle: hash, result })
}

/// Who has to look at what.
fn inspectors(out: &Out) -> Vec<(u32, BundleHash)> {
    let inspect = |action: &Action| match action {
        Action::ToWorker(worker, ToWorker::Inspect(hash)) => Some((worker.0, *hash)),
        _ => None,
    };
    out.0.iter().filter_map(inspect).collect()
}

/// Clients that were told that a name points to a bundle.
fn named(out: &Out) -> Vec<(u32, BundleHash)> {
    let named = |action: &Action| match action {
        Action::ToClient(id, ToClient::Answer { answer: Answer::Bundle(info), .. }) => {
            assert!(info.named);
            Some((id.0, info.hash))
        }
        _ => None,
    };
    out.0.iter().filter_map(named).collect()
}

fn accepted(out: &Out) -> usize {
    out.0.iter().filter(|action| matches!(action, Action::BundleAccepted(..))).count()
}

fn find(grid: &mut Grid, name: &str) -> Result<BundleHash, String> {
    match grid.ask(Query::Bundle(name.to_owned())) {
        Answer::Bundle(info) => Ok(info.hash),
        Answer::Refused(refusal) => Err(refusal.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_is_checked_once_and_named_for_all_who_wait() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    store(&mut grid, NEW);
    assert_eq!(inspectors(&deploy(&mut grid, ANN, NEW, false)), [(10, NEW)]);
    assert!(deploy(&mut grid, BOB, NEW, false).0.is_empty(), "somebody looks already");
    let out = inspected(&mut grid, 10, NEW, "fresh", "1");
    assert_eq!((named(&out), accepted(&out)), (vec![(1, NEW), (2, NEW)], 1));
    for name in ["fresh", "fresh@1", "1111", &NEW.to_string()] {
        assert_eq!(find(&mut grid, name), Ok(NEW), "{name}");
    }
    assert!(find(&mut grid, "111").unwrap_err().contains("is not on this grid"));
    assert_eq!(named(&deploy(&mut grid, ANN, NEW, false)), [(1, NEW)], "the grid has it");
}

#[test]
fn without_a_worker_it_waits_for_the_first() {
    let mut grid = Grid::new();
    store(&mut grid, NEW);
    assert!(deploy(&mut grid, ANN, NEW, false).0.is_empty());
    assert_eq!(inspectors(&grid.worker(10, 1)), [(10, NEW)]);
    // That one dies over it; the next takes over, and a late answer of the first is nobody's.
    assert!(inspectors(&grid.tell(Event::WorkerGone(WorkerId(10)))).is_empty());
    assert_eq!(inspectors(&grid.worker(11, 1)), [(11, NEW)]);
    assert!(inspected(&mut grid, 10, NEW, "fresh", "1").0.is_empty());
    assert_eq!(named(&inspected(&mut grid, 11, NEW, "fresh", "1")), [(1, NEW)]);
    assert!(inspected(&mut grid, 11, NEW, "fresh", "1").0.is_empty(), "it came twice");
}

#[test]
fn another_worker_takes_over_from_one_that_dies() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    grid.worker(11, 1);
    store(&mut grid, NEW);
    assert_eq!(inspectors(&deploy(&mut grid, ANN, NEW, false)), [(10, NEW)]);
    assert_eq!(inspectors(&grid.tell(Event::WorkerGone(WorkerId(10)))), [(11, NEW)]);
}

#[test]
fn a_name_that_is_taken_moves_only_with_replace() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    store(&mut grid, NEW);
    deploy(&mut grid, ANN, NEW, false);
    let out = inspected(&mut grid, 10, NEW, "tests", "1");
    let text = out.refusal().unwrap();
    assert!(text.contains("raise the version, or deploy with `--replace`"), "{text}");
    assert_eq!(accepted(&out), 0, "what has no name is not remembered");
    assert_eq!(find(&mut grid, "tests"), Ok(BUNDLE));
    assert_eq!(named(&deploy(&mut grid, ANN, NEW, true)), [(1, NEW)]);
    assert_eq!(find(&mut grid, "tests@1"), Ok(NEW));
    // Another version is another name; the plain name follows the newest.
    store(&mut grid, OTHER);
    deploy(&mut grid, BOB, OTHER, false);
    assert_eq!(named(&inspected(&mut grid, 10, OTHER, "tests", "2")), [(2, OTHER)]);
    assert_eq!(find(&mut grid, "tests"), Ok(OTHER));
    assert_eq!(find(&mut grid, "tests@1"), Ok(NEW));
}

#[test]
fn bytes_that_are_no_bundle_are_refused_and_forgotten() {
    let mut grid = Grid::new();
    grid.worker(10, 1);
    let text = deploy(&mut grid, ANN, NEW, false).refusal().unwrap();
    assert!(text.contains("is not on this grid"), "nothing was stored: {text}");
    store(&mut grid, NEW);
    deploy(&mut grid, ANN, NEW, false);
    let result = Err("a core module, not a component".to_owned());
    let out = grid.hear(10, FromWorker::Inspected { bundle: NEW, result });
    let text = out.refusal().unwrap();
    assert!(text.contains("a core module, not a component"), "{text}");
    assert!(out.0.contains(&Action::BundleRejected(NEW)));
    assert!(find(&mut grid, &NEW.to_string()).is_err());
    let Answer::Bundles(bundles) = grid.ask(Query::Bundles) else { panic!() };
    assert_eq!(bundles.len(), 1);
}
