//! Objects of which parts are read, and objects that are written piece by piece.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use grid_proto::{Codec, ObjectMeta};

use super::disk::{Fault, FaultyDisk};
use super::spill::until;
use super::{key, object};
use crate::{LoadError, RangeReader, Store, StoreConfig};

const MIB: usize = 1 << 20;

fn store(directory: &Path, target_bytes: usize) -> Store {
    let directory = Some(directory.to_owned());
    let target_bytes = target_bytes as u64;
    Store::open(&StoreConfig { directory, target_bytes, ..StoreConfig::default() })
}

fn bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(b"ranges").finalize_xof().fill(&mut bytes);
    bytes
}

fn meta(bytes: &[u8]) -> ObjectMeta {
    let (size, hash) = (bytes.len() as u64, *blake3::hash(bytes).as_bytes());
    ObjectMeta { codec: Codec::Raw, size, hash }
}

fn read(reader: &mut RangeReader, offset: u64, length: usize) -> Result<Vec<u8>, LoadError> {
    let mut buffer = vec![0; length];
    let count = reader.read_at(offset, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Everywhere that a part can begin and end.
fn all_parts_are_right(store: &Store, bytes: &[u8]) {
    let mut reader = store.ranges(&key(1)).unwrap();
    assert_eq!(reader.meta().size, bytes.len() as u64);
    let edges = [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, bytes.len() - 1, bytes.len()];
    for start in edges {
        for length in [0, 1, 100, MIB, 2 * MIB + 3, 10 * MIB] {
            let start = start.min(bytes.len());
            let expected = &bytes[start..(start + length).min(bytes.len())];
            assert_eq!(read(&mut reader, start as u64, length).unwrap(), expected, "{start}");
        }
    }
    assert_eq!(read(&mut reader, u64::MAX, 5).unwrap(), b"", "behind the end");
}

fn receive(store: &Store, bytes: &[u8]) {
    let mut receiver = store.receive(key(1), meta(bytes)).unwrap();
    bytes.chunks(300_000).for_each(|piece| receiver.write(piece).unwrap());
    assert!(store.insert_received(receiver).unwrap());
}

/// The only file of a store.
fn only_file(directory: &Path) -> File {
    let folders = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.into_iter().find(|path| path.is_dir()).unwrap();
    let path = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn any_part_of_an_object_can_be_read_wherever_it_is() {
    for length in [1, 5_000, MIB, 3 * MIB + 17] {
        let bytes = bytes(length);
        let directory = tempfile::tempdir().unwrap();
        let memory = Store::default();
        memory.insert(key(1), object(&bytes, &memory));
        all_parts_are_right(&memory, &bytes);
        let small = store(directory.path(), 0);
        small.insert(key(1), object(&bytes, &small));
        until("it is on disk", || small.find(&key(1)).is_none());
        all_parts_are_right(&small, &bytes);
        let received = store(directory.path(), 0);
        receive(&received, &bytes);
        all_parts_are_right(&received, &bytes);
        assert_eq!(received.usage().memory_bytes, 0, "nothing of it stays in memory");
    }
}

#[test]
fn a_block_that_has_changed_on_disk_is_told_and_the_others_can_be_read() {
    let bytes = bytes(3 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 0);
    receive(&store, &bytes);
    let mut reader = store.ranges(&key(1)).unwrap();
    only_file(directory.path()).write_all_at(&[!bytes[MIB + 9]], (96 + MIB + 9) as u64).unwrap();
    assert_eq!(read(&mut reader, 0, MIB).unwrap(), bytes[..MIB]);
    let changed = read(&mut reader, (MIB - 1) as u64, 2).unwrap_err();
    assert!(matches!(changed, LoadError::Changed { .. }), "{changed}");
    assert_eq!(read(&mut reader, 2 * MIB as u64, 5).unwrap(), bytes[2 * MIB..2 * MIB + 5]);
}

#[test]
fn a_file_of_which_no_block_is_known_is_verified_as_a_whole_first() {
    let bytes = bytes(2 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 0);
    store.insert(key(1), object(&bytes, &store));
    until("it is on disk", || store.find(&key(1)).is_none());
    only_file(directory.path()).write_all_at(&[!bytes[0]], 96).unwrap();
    assert!(matches!(store.ranges(&key(1)), Err(LoadError::Changed { .. })));
    assert!(matches!(store.ranges(&key(2)), Err(LoadError::Missing)));
}

#[test]
fn what_is_written_in_pieces_is_an_object_like_others() {
    let bytes = bytes(2 * MIB + 5);
    for target_bytes in [MIB, 100 * MIB] {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), target_bytes);
        let mut writing = store.write(key(1), Codec::Raw);
        for piece in bytes.chunks(100_001) {
            writing.write(piece).unwrap();
            assert!(store.usage().memory_bytes <= 2 * target_bytes as u64);
        }
        assert_eq!(writing.size(), bytes.len() as u64);
        let written = writing.finish().unwrap();
        assert_eq!(written.meta(), meta(&bytes));
        assert_eq!(written.object().is_some(), target_bytes > bytes.len());
        assert_eq!(store.usage().objects, 0, "not before somebody wants it");
        store.insert_written(written);
        all_parts_are_right(&store, &bytes);
        assert_eq!(**store.load(&key(1)).unwrap().bytes, *bytes);
        store.check().unwrap();
    }
}

#[test]
fn what_is_not_written_to_its_end_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::default();
    let config = StoreConfig {
        directory: Some(directory.path().to_owned()),
        target_bytes: 10,
        ..StoreConfig::default()
    };
    let store = Store::open_on(&config, Box::new(disk.clone()));
    let mut writing = store.write(key(1), Codec::Raw);
    writing.write(&[1; 100]).unwrap();
    drop(writing);
    let mut writing = store.write(key(1), Codec::Raw);
    disk.set(Fault::Full);
    writing.write(&[1; 100]).unwrap_err();
    drop(writing);
    let files = |folder: fs::DirEntry| fs::read_dir(folder.path()).map_or(0, Iterator::count);
    assert_eq!(fs::read_dir(directory.path()).unwrap().flatten().map(files).sum::<usize>(), 0);
    assert_eq!(store.usage().memory_bytes, 0);
}

#[test]
fn what_is_written_and_received_at_the_same_time_keeps_to_the_limit_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        directory: Some(directory.path().to_owned()),
        target_bytes: 10,
        spilled_bytes_max: 1_000,
    };
    let store = Store::open(&config);
    let (mut one, mut two) = (store.write(key(1), Codec::Raw), store.write(key(2), Codec::Raw));
    one.write(&[1; 600]).unwrap();
    two.write(&[2; 300]).unwrap();
    assert_eq!(two.write(&[2; 101]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let large = meta(&[3; 200]);
    assert!(store.receive(key(3), large).is_err() && !store.is_large(200));
    drop(two);
    let received = store.receive(key(3), large).unwrap();
    store.insert_written(one.finish().unwrap());
    assert!(store.is_large(200) && !store.is_large(201), "it counts once, and what comes counts");
    drop(received);
    assert!(store.is_large(400));
}

#[test]
fn without_files_no_more_is_written_than_memory_has_room_for() {
    let store = Store::open(&StoreConfig { target_bytes: 100, ..StoreConfig::default() });
    let mut writing = store.write(key(1), Codec::Raw);
    writing.write(&[1; 100]).unwrap();
    assert_eq!(writing.write(&[1]).unwrap_err().kind(), io::ErrorKind::Unsupported);
}
