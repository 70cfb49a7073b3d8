//! A worker's store alone: what an object costs beside its bytes, and how near spilling comes to the
//! speed of the disk: what is written counts when the disk has it, and what is read back is not in the
//! system's memory any more.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use grid_proto::{Codec, Key, Value};
use grid_store::{Object, Store, StoreConfig};
use rustix::fs::{Advice, fadvise};

use crate::{median, report};

const SMALL: u32 = 1_000_000;
const SMALL_BYTES: usize = 100;
/// 4 GiB under a limit of 1 GiB, of which 0.6 is the target.
const LARGE: u32 = 64;
const LARGE_BYTES: usize = 64 << 20;
const LIMIT_BYTES: u64 = 1 << 30;
const RUNS: usize = 3;

pub(crate) fn run() -> anyhow::Result<()> {
    overhead();
    spill()
}

fn key(number: u32) -> Key {
    let mut key = Key([0; 32]);
    key.0[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    key
}

fn object(number: u32, length: usize, store: &Store) -> Object {
    let mut bytes = vec![0_u8; length];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Object::new(Value { codec: Codec::Raw, bytes }, store.gauge())
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn overhead() {
    let store = Store::default();
    let before = resident_bytes();
    for number in 0..SMALL {
        store.insert(key(number), object(number, SMALL_BYTES, &store));
    }
    let each = resident_bytes().saturating_sub(before) / u64::from(SMALL);
    let measured =
        format!("{} B beside its {SMALL_BYTES}", each.saturating_sub(SMALL_BYTES as u64));
    report("store, an object of a million", &measured, "250 B");
}

fn spill() -> anyhow::Result<()> {
    // On a disk, which the directory for temporary files may not be.
    let directory = tempfile::tempdir_in(".")?;
    let total_mb = f64::from(LARGE) * LARGE_BYTES as f64 / 1e6;
    let (mut write, mut read, mut disk_write, mut disk_read) = (vec![], vec![], vec![], vec![]);
    let (mut cached, mut most) = (vec![], 0);
    for _ in 0..RUNS {
        let (wrote, read_back) = sequential(&directory.path().join("plain"))?;
        disk_write.push(total_mb / wrote);
        disk_read.push(total_mb / read_back);
        let spilled = through_store(directory.path())?;
        write.push(total_mb / spilled.write_s);
        read.push(total_mb / spilled.read_s);
        cached.push(total_mb / spilled.read_cached_s);
        most = most.max(spilled.most_bytes);
    }
    let ratio = |ours: &[f64], disk: &[f64]| {
        let (ours, disk) = (median(ours.to_vec()), median(disk.to_vec()));
        format!("{ours:.0} MB/s, disk {disk:.0}: {:.2}", ours / disk)
    };
    report(
        "store, 4 GiB made and spilled, over the disk's rate",
        &ratio(&write, &disk_write),
        "0.6",
    );
    report(
        "store, 4 GiB read back and verified, over the disk's",
        &ratio(&read, &disk_read),
        "0.6",
    );
    let measured = format!("{:.0} MB/s", median(cached));
    report("store, the same while the system still has the files in memory", &measured, "");
    let measured = format!("{:.2} of the limit", most as f64 / LIMIT_BYTES as f64);
    report("store, most resident memory meanwhile", &measured, "1.1");
    Ok(())
}

/// The system's memory has nothing of these files any more.
fn forget(files: &[PathBuf]) -> anyhow::Result<()> {
    for path in files {
        let file = File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

fn sync(files: &[PathBuf]) -> anyhow::Result<()> {
    Ok(files.iter().try_for_each(|path| File::open(path)?.sync_all())?)
}

/// The same bytes as one file after the other, as fast as the disk takes and gives them, in seconds.
fn sequential(path: &Path) -> anyhow::Result<(f64, f64)> {
    let mut buffer = vec![7_u8; LARGE_BYTES];
    let files: Vec<_> = (0..LARGE).map(|n| path.with_extension(n.to_string())).collect();
    let started = Instant::now();
    for path in &files {
        File::create(path)?.write_all(&buffer)?;
    }
    sync(&files)?;
    let wrote = started.elapsed().as_secs_f64();
    forget(&files)?;
    let started = Instant::now();
    for path in &files {
        File::open(path)?.read_exact(&mut buffer)?;
    }
    let read = started.elapsed().as_secs_f64();
    files.iter().try_for_each(std::fs::remove_file)?;
    Ok((wrote, read))
}

struct Spilled {
    write_s: f64,
    read_s: f64,
    /// Of those whose files the system had just read.
    read_cached_s: f64,
    /// Resident memory at most, all the while.
    most_bytes: u64,
}

/// As much through a store: a worker that pauses makes no more while memory is full.
fn through_store(directory: &Path) -> anyhow::Result<Spilled> {
    let directory = directory.join("store");
    let config = StoreConfig {
        directory: Some(directory.clone()),
        target_bytes: LIMIT_BYTES * 6 / 10,
        ..StoreConfig::default()
    };
    let store = Store::open(&config);
    let base = resident_bytes();
    let mut most_bytes = 0;
    let pause = LIMIT_BYTES * 8 / 10;
    let full = || store.usage().memory_bytes + LARGE_BYTES as u64 > pause;
    let started = Instant::now();
    for number in 0..LARGE {
        while full() {
            std::thread::yield_now();
        }
        store.insert(key(number), object(number, LARGE_BYTES, &store));
        most_bytes = most_bytes.max(resident_bytes().saturating_sub(base));
    }
    while store.usage().memory_bytes > config.target_bytes {
        std::thread::yield_now();
    }
    sync(&files_in(&directory)?)?;
    let write_s = started.elapsed().as_secs_f64();
    let mut read = || -> anyhow::Result<f64> {
        let started = Instant::now();
        for number in 0..LARGE {
            let object = store.load(&key(number))?;
            anyhow::ensure!(object.bytes[..4] == number.to_le_bytes(), "another object");
            most_bytes = most_bytes.max(resident_bytes().saturating_sub(base));
            drop(object);
            while full() {
                std::thread::yield_now();
            }
        }
        Ok(started.elapsed().as_secs_f64())
    };
    forget(&files_in(&directory)?)?;
    let read_s = read()?;
    let read_cached_s = read()?;
    Ok(Spilled { write_s, read_s, read_cached_s, most_bytes })
}

/// All files below a directory.
fn files_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}
