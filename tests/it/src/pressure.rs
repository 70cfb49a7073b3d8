//! Thousands of drawn operations by several clients on workers that have room for a part of what they
//! hold, and that are killed one after the other: whatever is not told to be lost is what it was.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use grid_client::{Client, ClientError, ClientOptions, Future};
use grid_proto::data::{Held, ITEMS_MAX};
use grid_proto::report::WorkerInfo;
use grid_proto::{FailureKind, Key, hash_of};
use grid_sdk::Raw;
use noop::{blend, echo};
use tokio::task::{JoinSet, LocalSet};

use crate::support::{PATIENCE, Processes, bundle_bytes, eventually, runs, signal};

const CLIENTS: u64 = 4;
const OPERATIONS_EACH: u64 = 2_500;
/// The first client kills a worker after each so many of its operations.
const KILL_EVERY: u64 = 250;
/// A call whose inputs hold more is refused: no worker has so much memory.
const INPUTS_BYTES_MAX: usize = 14 << 20;
/// What one client holds at a time.
const HELD_MAX: usize = 60;
/// The header of a spilled object's file.
const FILE_HEADER_BYTES: u64 = 96;

const ARGS: [&str; 7] = [
    "--workers=3",
    "--slots=1",
    "--memory-limit=16MiB",
    // The process alone is above limits as small as this.
    "--memory-spill=off",
    "--memory-pause=off",
    "--memory-terminate=off",
    "--allowed-failures=100",
];

/// Splitmix: the same operations for the same seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// Most are small; some go over shared memory, and a few are larger than what a worker keeps in
    /// memory at all.
    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.below(1_000) {
            0..700 => self.below(32 << 10),
            700..950 => (64 << 10) + self.below(256 << 10),
            950..997 => (1 << 20) + self.below(2 << 20),
            _ => 10 << 20,
        };
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// Data that a client brought.
#[derive(Clone, Copy, Debug)]
struct Root {
    /// When it had not been brought yet.
    from: Instant,
    copies: u32,
    released: bool,
}

/// A worker that was killed, and where data was just before.
struct Kill {
    at: Instant,
    name: String,
    holders: HashMap<Key, Vec<String>>,
}

/// What all clients know together.
#[derive(Default)]
struct Known {
    roots: Mutex<BTreeMap<Key, Root>>,
    kills: Mutex<Vec<Kill>>,
}

impl Known {
    /// Whether a kill can have taken this data, or what was computed from it after its client let go of
    /// it: one that came after it, of a worker that had the last copy, or one of those that mere use
    /// had made and that go by themselves.
    fn may_be_lost(&self, key: &Key) -> bool {
        let roots = self.roots.lock().unwrap();
        let root = roots[key];
        self.kills.lock().unwrap().iter().filter(|kill| kill.at > root.from).any(|kill| match kill
            .holders
            .get(key)
            .map(Vec::as_slice)
        {
            None | Some([]) => true,
            Some(_) if root.released => true,
            Some(holders) if root.copies > 1 && holders.len() > 1 => false,
            Some(holders) => holders.contains(&kill.name),
        })
    }

    /// Data, and who had it at each kill.
    fn tell(&self, key: &Key) -> String {
        let kills = self.kills.lock().unwrap();
        let told = kills.iter().map(|kill| (&kill.name, kill.at.elapsed(), kill.holders.get(key)));
        format!("{:?}, kills: {:?}", self.roots.lock().unwrap()[key], told.collect::<Vec<_>>())
    }
}

/// A future and what must be behind it.
struct Expected {
    future: Future<Raw>,
    bytes: Arc<Vec<u8>>,
    hash: [u8; 32],
    /// Data that it is, or was computed from.
    roots: Vec<Key>,
    is_data: bool,
}

struct Program {
    number: u64,
    client: Client,
    known: Arc<Known>,
    draw: Draw,
    held: Vec<Expected>,
    lost: usize,
}

/// Whatever a client waits for comes, or fails.
async fn in_time<T>(what: &str, coming: impl std::future::Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    let late = |_| panic!("{what}: neither a result nor a failure within {limit:?}");
    tokio::time::timeout(limit, coming).await.unwrap_or_else(late)
}

impl Program {
    async fn run(&mut self, operation: u64) {
        let what = format!("client {}, operation {operation}", self.number);
        if self.number == 0 && operation % KILL_EVERY == KILL_EVERY / 2 {
            self.kill().await;
        }
        match self.draw.below(100) {
            _ if self.held.len() < 5 => self.put(&what).await,
            _ if self.held.len() > HELD_MAX => self.release(),
            0..25 => self.put(&what).await,
            25..45 => self.release(),
            45..75 => self.call(&what).await,
            _ => {
                let place = self.draw.below(self.held.len());
                self.read(&what, place).await;
            }
        }
    }

    async fn put(&mut self, what: &str) {
        let bytes = self.draw.bytes();
        let copies = if self.draw.below(8) == 0 { 2 } else { 1 };
        let from = Instant::now();
        let scattering = self.client.scattering().copies(copies);
        let brought = in_time(what, scattering.value(Raw(bytes.clone()))).await;
        let future = brought.unwrap_or_else(|error| panic!("{what}: {error}"));
        let root = Root { from, copies, released: false };
        self.known.roots.lock().unwrap().insert(future.key(), root);
        let (hash, roots) = (hash_of(&bytes), vec![future.key()]);
        self.held.push(Expected { future, bytes: Arc::new(bytes), hash, roots, is_data: true });
    }

    /// A call that reads what is held, mostly on a worker that does not have it.
    async fn call(&mut self, what: &str) {
        let place = self.draw.below(self.held.len());
        let (first, second) = (&self.held[place], &self.held[self.draw.below(self.held.len())]);
        let inputs = first.bytes.len() + second.bytes.len();
        if first.roots.len() + second.roots.len() > 6 || inputs > INPUTS_BYTES_MAX {
            return self.read(what, place).await;
        }
        let worker = format!("worker-{}", self.draw.below(3));
        let (call, bytes, roots) = match self.draw.below(2) {
            0 => (echo::call(&first.future), first.bytes.to_vec(), first.roots.clone()),
            _ => {
                let raw = |expected: &Expected| Raw(expected.bytes.to_vec());
                let bytes = blend(raw(first), raw(second)).0;
                let roots = [&first.roots[..], &second.roots[..]].concat();
                (blend::call(&first.future, &second.future), bytes, roots)
            }
        };
        let submitted = in_time(what, self.client.submit(call.prefer(&worker))).await;
        let future = submitted.unwrap_or_else(|error| panic!("{what}: {error}"));
        let hash = hash_of(&bytes);
        self.held.push(Expected { future, bytes: Arc::new(bytes), hash, roots, is_data: false });
    }

    fn release(&mut self) {
        let place = self.draw.below(self.held.len());
        let released = self.held.swap_remove(place);
        self.forget(&released);
    }

    fn forget(&self, released: &Expected) {
        if released.is_data
            && let Some(root) = self.known.roots.lock().unwrap().get_mut(&released.future.key())
        {
            root.released = true;
        }
    }

    async fn read(&mut self, what: &str, place: usize) {
        let expected = &self.held[place];
        let key = expected.future.key().short();
        match in_time(&format!("{what}, {key}"), expected.future.result()).await {
            Ok(Raw(bytes)) => assert_eq!(hash_of(&bytes), expected.hash, "{what}: wrong bytes"),
            Err(ClientError::Failed(failure)) if failure.kind == FailureKind::LostData => {
                let known = &self.known;
                let lost = expected.roots.iter().any(|root| known.may_be_lost(root));
                if !lost {
                    let mut told = Vec::new();
                    for key in [vec![expected.future.key()], expected.roots.clone()].concat() {
                        told.push(self.client.story(&key.to_string()).await);
                    }
                    let roots: Vec<_> =
                        expected.roots.iter().map(|root| known.tell(root)).collect();
                    panic!(
                        "{what}: {key} is lost though no kill can have taken it: {failure}\n\
                         {roots:#?}\n{told:#?}"
                    );
                }
                self.lost += 1;
                let lost = self.held.swap_remove(place);
                self.forget(&lost);
            }
            Err(error) => panic!("{what}: {key}: {error}"),
        }
    }

    async fn kill(&mut self) {
        let all = async || {
            let workers = self.client.workers().await.unwrap();
            workers.len() == 3 && workers.iter().all(|worker| runs(u64::from(worker.pid)))
        };
        eventually("all workers are there again", all).await;
        let workers = self.client.workers().await.unwrap();
        let worker = &workers[self.draw.below(workers.len())];
        let keys: Vec<_> = self.known.roots.lock().unwrap().keys().copied().collect();
        let mut holders = HashMap::new();
        for keys in keys.chunks(ITEMS_MAX) {
            for object in self.client.who_has(keys).await.unwrap() {
                holders.insert(object.key, object.workers);
            }
        }
        signal("-KILL", u64::from(worker.pid));
        // Nobody on this thread has seen yet what follows from it.
        let kill = Kill { at: Instant::now(), name: worker.name.clone(), holders };
        self.known.kills.lock().unwrap().push(kill);
    }
}

async fn programs(grid: &Processes, seed: u64) -> Vec<Program> {
    let known = Arc::new(Known::default());
    let mut programs = Vec::new();
    for number in 0..CLIENTS {
        let options = ClientOptions {
            scheduler: grid.address.clone(),
            identity_dir: grid.home().join("identity"),
            timeout: PATIENCE,
            // Half of them as if they were on another host.
            shared_memory: number % 2 == 0,
            ..ClientOptions::new("")
        };
        let client = Client::connect_with(&options).await.unwrap();
        client.deploy(&bundle_bytes("noop"), false).await.unwrap();
        let draw = Draw(seed.wrapping_mul(1_000).wrapping_add(number));
        let known = Arc::clone(&known);
        programs.push(Program { number, client, known, draw, held: Vec::new(), lost: 0 });
    }
    programs
}

/// The files of spilled objects below a directory, and what they hold together.
fn files(directory: &Path) -> (u64, u64) {
    let folders = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten();
    let sizes: Vec<_> = files
        .flatten()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "object"))
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len() - FILE_HEADER_BYTES)
        .collect();
    (sizes.len() as u64, sizes.iter().sum())
}

fn sum(workers: &[WorkerInfo], of: impl Fn(&WorkerInfo) -> u64) -> u64 {
    workers.iter().map(of).sum()
}

/// What workers say that they hold is what the scheduler knows, and what is on the disk; else the books.
async fn books(client: &Client, directory: &Path) -> Result<(), String> {
    let workers = client.workers().await.unwrap();
    let held = client.has_what(None, u32::MAX).await.unwrap();
    for holding in &held {
        let listed: u64 = holding.listed.iter().map(|Held { size_bytes, .. }| size_bytes).sum();
        assert_eq!((holding.objects, holding.bytes), (holding.listed.len() as u64, listed));
    }
    let known: u64 = held.iter().map(|holding| holding.bytes).sum();
    let memory = sum(&workers, |worker| worker.memory.objects_bytes);
    let spilled = (
        sum(&workers, |worker| worker.memory.spilled),
        sum(&workers, |worker| worker.memory.spilled_bytes),
    );
    let found = files(directory);
    // An object that was read back is in both.
    match found == spilled && memory <= known && memory + spilled.1 >= known {
        true => Ok(()),
        false => Err(format!(
            "known {known} bytes, in memory {memory}, in files (their number, bytes) {spilled:?}, on the \
             disk {found:?}; of each worker {:?}",
            workers.iter().map(|worker| worker.memory).collect::<Vec<_>>()
        )),
    }
}

async fn books_agree(client: &Client, directory: &Path) {
    let started = Instant::now();
    while let Err(told) = books(client, directory).await {
        assert!(started.elapsed() < PATIENCE, "the books do not agree: {told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_survives_kills_under_pressure_is_what_it_was_and_the_rest_is_told() {
    let seed = std::env::var("GRID_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}: GRID_SEED={seed} does the same operations again");
    let grid = Processes::up(&ARGS);
    let directory = grid.home().join("grid-scratch-space");
    let (clients, mut running) = (LocalSet::new(), JoinSet::new());
    for mut program in programs(&grid, seed).await {
        let run = async move {
            let mut spilled_most = 0;
            for operation in 0..OPERATIONS_EACH {
                program.run(operation).await;
                if operation % 100 == 0 {
                    let workers = in_time("workers", program.client.workers()).await.unwrap();
                    spilled_most = spilled_most.max(sum(&workers, |it| it.memory.spilled_bytes));
                }
            }
            (program, spilled_most)
        };
        running.spawn_local_on(run, &clients);
    }
    let ended = clients.run_until(running.join_all()).await;
    let spilled_most = ended.iter().map(|(_, most)| *most).max().unwrap();
    assert!(spilled_most > 4 << 20, "the pressure was none: {spilled_most} bytes in files");
    let mut programs: Vec<_> = ended.into_iter().map(|(program, _)| program).collect();
    for program in &mut programs {
        for place in (0..program.held.len()).rev() {
            program.read("at the end", place).await;
        }
    }
    let held: usize = programs.iter().map(|program| program.held.len()).sum();
    let lost: usize = programs.iter().map(|program| program.lost).sum();
    let kills = programs[0].known.kills.lock().unwrap().len();
    println!("{held} held, {lost} lost by {kills} kills, {spilled_most} bytes in files at most");
    assert!(held > 10 && kills as u64 == OPERATIONS_EACH / KILL_EVERY);
    let client = grid.client().await;
    books_agree(&client, &directory).await;
    drop(programs);
    eventually("nothing is left", async || {
        let workers = client.workers().await.unwrap();
        let left = |worker: &WorkerInfo| {
            worker.objects + worker.memory.objects_bytes + worker.memory.spilled_bytes
        };
        sum(&workers, left) == 0 && files(&directory) == (0, 0)
    })
    .await;
}
