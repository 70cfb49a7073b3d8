use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk::{Fault, FaultyDisk};
use super::{key, object};
use crate::{LoadError, Store, StoreConfig};

const KIB: usize = 1 << 10;

fn config(directory: &Path, target_bytes: u64) -> StoreConfig {
    StoreConfig { directory: Some(directory.to_owned()), target_bytes, ..StoreConfig::default() }
}

fn bytes(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn fill(store: &Store, numbers: std::ops::Range<u32>, length: usize) {
    for number in numbers {
        store.insert(key(number), object(&bytes(number, length), store));
    }
}

/// Polls for a state.
pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::yield_now();
    }
}

/// The folders in a directory of spilled objects.
fn folders(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

fn files(directory: &Path) -> usize {
    folders(directory).iter().map(|folder| fs::read_dir(folder).unwrap().count()).sum()
}

#[test]
fn what_is_least_recently_used_goes_to_disk_and_comes_back_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 100 * KIB as u64));
    fill(&store, 0..9, 10 * KIB);
    assert_eq!(store.usage().spilled, 0, "below the target nothing moves");
    assert!(store.find(&key(0)).is_some(), "used just now");
    fill(&store, 9..14, 10 * KIB);
    until("memory is at its target", || store.usage().memory_bytes <= 100 * KIB as u64);
    assert!(store.find(&key(0)).is_some(), "what was used stays");
    assert!(store.find(&key(1)).is_none(), "what was not used has gone");
    assert_eq!(store.usage().stored_bytes, 140 * KIB as u64);
    for number in 0..14 {
        assert_eq!(**store.load(&key(number)).unwrap().bytes, *bytes(number, 10 * KIB));
    }
    until("memory is at its target", || store.usage().memory_bytes <= 100 * KIB as u64);
    store.check().unwrap();
}

#[test]
fn what_many_calls_read_hides_nothing_that_nobody_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 450 * KIB as u64));
    fill(&store, 0..40, 10 * KIB);
    let read: Vec<_> = (0..40).map(|number| store.find(&key(number)).unwrap()).collect();
    fill(&store, 40..50, 10 * KIB);
    until("the newer ones go", || store.usage().memory_bytes <= 450 * KIB as u64);
    until("under pressure too", || {
        // As a worker does as long as its process holds too much.
        store.press(100 * KIB as u64);
        store.usage().memory_bytes == 400 * KIB as u64
    });
    assert!((0..40).all(|number| store.find(&key(number)).is_some()));
    drop(read);
}

#[test]
fn files_go_with_their_objects_and_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 0));
    fill(&store, 0..5, KIB);
    until("all are in files", || store.usage().spilled == 5 && store.usage().memory_bytes == 0);
    assert_eq!(files(directory.path()), 5);
    let mut reader = store.reader(&key(0)).unwrap();
    (0..4).for_each(|number| store.remove(&key(number)));
    until("the files are gone but one that is read", || files(directory.path()) == 2);
    let mut read = vec![0; 2 * KIB];
    assert_eq!(reader.read(&mut read).unwrap(), KIB);
    assert_eq!(read[..KIB], bytes(0, KIB));
    drop(reader);
    until("that one too", || files(directory.path()) == 1);
    drop(store);
    assert!(!directory.path().exists(), "nothing is left, so the directory goes too");
}

#[test]
fn an_object_above_the_target_goes_straight_to_disk_and_pushes_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 100 * KIB as u64));
    fill(&store, 0..9, 10 * KIB);
    fill(&store, 50..51, 101 * KIB);
    until("it is in a file only", || store.usage().memory_bytes <= 90 * KIB as u64);
    assert!((0..9).all(|number| store.find(&key(number)).is_some()));
    // Read as a whole it does not stay.
    assert_eq!(store.load(&key(50)).unwrap().bytes.len(), 101 * KIB);
    assert!(store.find(&key(50)).is_none());
    assert!(store.is_large(101 * KIB as u64) && !store.is_large(100 * KIB as u64));
}

#[test]
fn a_large_object_comes_in_piece_by_piece_and_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 10));
    let whole = bytes(1, 100 * KIB);
    let meta = object(&whole, &store).meta;
    let mut receiver = store.receive(key(1), meta).unwrap();
    whole.chunks(7_000).for_each(|piece| receiver.write(piece).unwrap());
    assert!(store.insert_received(receiver).unwrap());
    assert_eq!(store.usage().memory_bytes, 0);
    assert_eq!(**store.load(&key(1)).unwrap().bytes, *whole);
    for wrong in [&whole[1..], &[&whole[..], b"x"].concat(), &[b"x", &whole[1..]].concat()] {
        let mut receiver = store.receive(key(2), meta).unwrap();
        receiver.write(wrong).unwrap();
        assert!(!store.insert_received(receiver).unwrap());
    }
    assert!(store.meta(&key(2)).is_none());
    until("nothing is left of what was refused", || files(directory.path()) == 1);
}

#[test]
fn a_reader_begins_where_it_is_told_to_without_reading_what_is_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 10 * KIB as u64));
    fill(&store, 1..2, 100 * KIB);
    until("it is on disk", || store.usage().memory_bytes == 0);
    let all = bytes(1, 100 * KIB);
    for from in [0, 1, 60 * KIB, 100 * KIB, 200 * KIB] {
        let mut reader = store.reader(&key(1)).unwrap();
        reader.skip(from as u64).unwrap();
        let mut rest = vec![0; 200 * KIB];
        let mut read = 0;
        while let count @ 1.. = reader.read(&mut rest[read..]).unwrap() {
            read += count;
        }
        assert!(rest[..read] == all[from.min(all.len())..], "from {from}");
    }
    // What comes before is damaged: that is for whoever has it to find.
    let file = folders(directory.path())
        .into_iter()
        .find_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).next());
    let path = file.unwrap();
    let mut damaged = fs::read(&path).unwrap();
    damaged[200] ^= 1;
    fs::write(&path, damaged).unwrap();
    let mut reader = store.reader(&key(1)).unwrap();
    reader.skip(90 * KIB as u64).unwrap();
    let mut rest = vec![0; 10 * KIB];
    assert_eq!(reader.read(&mut rest).unwrap(), 10 * KIB);
    assert!(store.load(&key(1)).is_err());
}

#[test]
fn what_cannot_be_written_stays_in_memory_and_is_tried_again() {
    for fault in [Fault::Unwritable, Fault::Full, Fault::Crash] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        disk.set(fault);
        let config = config(directory.path(), 20 * KIB as u64);
        let store = Store::open_on(&config, Box::new(disk.clone()));
        fill(&store, 0..5, 10 * KIB);
        until("a write has failed", || store.is_held_off());
        assert!((0..5).all(|number| store.find(&key(number)).is_some()), "{fault:?}");
        assert_eq!((store.usage().spilled, files(directory.path())), (0, 0), "{fault:?}");
        disk.set(Fault::None);
        until("memory is at its target", || store.usage().memory_bytes <= 20 * KIB as u64);
        assert!((0..5).all(|number| store.load(&key(number)).is_ok()), "{fault:?}");
        store.check().unwrap();
    }
}

#[test]
fn what_changed_on_disk_is_told_and_gone() {
    for fault in [Fault::Corrupt, Fault::Short] {
        let directory = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::default();
        disk.set(fault);
        let store = Store::open_on(&config(directory.path(), 0), Box::new(disk));
        fill(&store, 0..2, KIB);
        until("both are in files", || store.usage().memory_bytes == 0);
        let error = store.load(&key(0)).unwrap_err();
        assert!(
            matches!(error, LoadError::Changed { .. } | LoadError::Unreadable { .. }),
            "{fault:?}: {error}"
        );
        assert!(matches!(store.load(&key(0)), Err(LoadError::Missing)));
        let mut reader = store.reader(&key(1));
        let mut buffer = vec![0; 2 * KIB];
        assert!(reader.as_mut().map_or(true, |reader| reader.read(&mut buffer).is_err()));
        store.check().unwrap();
    }
}

#[test]
fn files_hold_no_more_than_they_may() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { spilled_bytes_max: 25 * KIB as u64, ..config(directory.path(), 0) };
    let store = Store::open(&config);
    fill(&store, 0..5, 10 * KIB);
    until("two are in files", || store.usage().memory_bytes == 30 * KIB as u64);
    assert_eq!((store.usage().spilled, store.usage().spilled_bytes), (2, 20 * KIB as u64));
    let spilled = (0..5).find(|number| store.find(&key(*number)).is_none()).unwrap();
    store.remove(&key(spilled));
    until("another one follows", || store.usage().memory_bytes == 20 * KIB as u64);
    assert!(!store.is_large(10 * KIB as u64), "there is no room for it");
}

#[test]
fn pressure_of_the_process_sends_objects_to_disk_below_the_target_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 1 << 30));
    fill(&store, 0..10, 10 * KIB);
    store.press(35 * KIB as u64);
    until("four have gone", || store.usage().memory_bytes == 60 * KIB as u64);
    store.press(1 << 30);
    until("all have gone", || store.usage().memory_bytes == 0);
    fill(&store, 20..30, 10 * KIB);
    store.count_others(0);
    assert_eq!(store.usage().spilled, 10, "the pressure is over");
    store.count_others(1 << 30);
    until("sandboxes count too", || store.usage().memory_bytes == 0);
}

#[test]
fn what_is_read_back_again_need_not_be_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = Store::open_on(&config(directory.path(), 25 * KIB as u64), Box::new(disk.clone()));
    fill(&store, 0..4, 10 * KIB);
    until("two have gone", || store.usage().memory_bytes <= 25 * KIB as u64);
    until("all have a file", || {
        (0..4).for_each(|number| drop(store.load(&key(number))));
        store.usage().spilled == 4
    });
    disk.set(Fault::Unwritable);
    (0..4).for_each(|number| drop(store.load(&key(number))));
    until("they leave without a write", || store.usage().memory_bytes <= 25 * KIB as u64);
}

#[test]
fn several_readers_of_one_spilled_object_read_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&config(directory.path(), 0));
    fill(&store, 0..1, 64 * KIB);
    until("it is in a file", || store.usage().memory_bytes == 0);
    let kept = store.gauge().reserve(0);
    std::thread::scope(|scope| {
        let read = || assert_eq!(store.load(&key(0)).unwrap().bytes.len(), 64 * KIB);
        (0..8).for_each(|_| drop(scope.spawn(read)));
    });
    drop(kept);
    until("nothing is left in memory", || store.usage().memory_bytes == 0);
}

#[test]
fn the_next_process_removes_what_one_that_died_has_left() {
    let directory = tempfile::tempdir().unwrap();
    let other = Store::open(&config(directory.path(), 0));
    fill(&other, 0..1, KIB);
    until("it is in a file", || other.usage().spilled == 1);
    // As a process that was killed leaves it: nobody holds its lock.
    let old = directory.path().join("grid-worker-1-0");
    fs::create_dir(&old).unwrap();
    fs::write(old.join("0000000000000000.object"), b"old").unwrap();
    fs::write(old.with_extension("lock"), b"").unwrap();
    let store = Store::open(&config(directory.path(), 0));
    assert!(!old.exists() && !old.with_extension("lock").exists());
    assert_eq!(folders(directory.path()).len(), 1, "that one lives");
    assert!(other.load(&key(0)).is_ok());
    fill(&store, 0..1, KIB);
    until("it is in a file too", || store.usage().spilled == 1);
    assert_eq!(folders(directory.path()).len(), 2);
}

#[test]
fn without_a_directory_that_can_be_made_everything_stays_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let store = Store::open(&config(&file, 0));
    fill(&store, 0..2, KIB);
    until("a write has failed", || store.is_held_off());
    assert_eq!((store.usage().spilled, store.usage().memory_bytes), (0, 2 * KIB as u64));
    assert!(store.load(&key(1)).is_ok());
}
