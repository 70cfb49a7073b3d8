//! Tables as partitions: read, chosen, put together in a tree, written by parts and put together again, in
//! files and on Garage.

use std::sync::Arc;

use grid_client::{Client, ClientError};
use grid_objects::{Objects, ObjectsConfig, S3Config};
use grid_proto::FailureKind;
use grid_sandbox::EngineConfig;
use grid_sdk::partitions::{Manifest, Output, Part, Partition};
use outside::tables::{self, Trip};

use crate::garage::Garage;
use crate::support::{Grid, Processes, bundle_bytes, failure, target_dir};

/// A grid whose bundles may read and write below a directory.
pub(crate) async fn grid_beside_files(home: &std::path::Path) -> (Grid, String) {
    let base = format!("file://{}/data", home.display());
    let grants = ["read", "write"].map(|right| format!("*:{right}:{base}/"));
    let grants = grants.map(|grant| grant.parse().unwrap()).into();
    let stores = Objects::new(ObjectsConfig { grants, s3: S3Config::default() });
    // A bundle with Parquet takes long to compile: once is enough.
    let cache_dir = Some(target_dir().join("native"));
    let stores = Some(Arc::new(stores) as _);
    let engine = EngineConfig { stores, cache_dir, ..EngineConfig::default() };
    let grid = Grid::start_with(2, 1, engine).await;
    grid.deploy("outside").await;
    (grid, base)
}

/// The rows of one file.
pub(crate) fn trips(file: u32) -> Vec<Trip> {
    let carriers = ["AA", "UA", "B6"];
    let trip = |number: u32| Trip {
        number: file * 1_000 + number,
        carrier: carriers[(number % 3) as usize].to_owned(),
        delay: (!number.is_multiple_of(7)).then(|| f64::from(number) / 8.0),
        note: format!("a, \"{number}\""),
    };
    (0..300).map(trip).collect()
}

/// As text.
pub(crate) fn csv(trips: &[Trip], header: bool) -> String {
    let mut text = if header { "number,carrier,delay,note\n".to_owned() } else { String::new() };
    for Trip { number, carrier, delay, note } in trips {
        let delay = delay.map_or(String::new(), |delay| format!("{delay:?}"));
        text += &format!("{number},{carrier},{delay},\"{}\"\n", note.replace('"', "\"\""));
    }
    text
}

pub(crate) async fn run<T: grid_sdk::FromValue>(
    client: &Client,
    call: grid_sdk::Call<T>,
) -> Result<T, ClientError> {
    client.submit(call).await?.result().await
}

pub(crate) async fn put(client: &Client, url: String, text: String) {
    run(client, outside::put::call(url, text, false)).await.unwrap();
}

/// Three files of rows and one without any; gives their rows.
pub(crate) async fn fill(client: &Client, base: &str) -> Vec<Trip> {
    for file in 0..3 {
        put(client, format!("{base}/in/{file}.csv"), csv(&trips(file), true)).await;
    }
    put(client, format!("{base}/in/3.csv"), csv(&[], true)).await;
    (0..3).flat_map(trips).collect()
}

pub(crate) async fn plan(client: &Client, base: &str, block_bytes: u64) -> Vec<Partition> {
    let planned = outside::plan::call(format!("{base}/in/*.csv"), block_bytes);
    run(client, planned).await.unwrap()
}

/// What a task says that failed.
pub(crate) fn said<T: std::fmt::Debug>(ended: Result<T, ClientError>) -> String {
    let failure = failure(ended);
    assert_eq!(failure.kind, FailureKind::User, "{failure}");
    failure.message
}

#[tokio::test]
async fn partitions_are_mapped_chosen_and_put_together() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    let client = &grid.client;
    let all = fill(client, &base).await;
    let late: Vec<_> = all.iter().filter(|trip| trip.carrier == "UA").collect();
    let sum: f64 = late.iter().filter_map(|trip| trip.delay).sum();
    let expected = (late.len() as u64, sum);
    for block_bytes in [500, 4_000, 1 << 20] {
        let parts = client.partitions(plan(client, &base, block_bytes).await);
        let found = parts.map(|part| outside::delays::call(part, "UA"));
        let two = found.reduce(2, |pair| tables::both::call(&pair[0], &pair[1])).await.unwrap();
        assert_eq!(two.result().await.unwrap(), expected, "{block_bytes}");
        let three = |group: &[_]| match group {
            [a, b, c] => tables::all_three::call(a, b, c),
            group => tables::both::call(&group[0], &group[1]),
        };
        let three = found.reduce(3, three).await.unwrap();
        assert_eq!(three.result().await.unwrap(), expected, "{block_bytes}");
    }
    // One that nobody flies is in no partition; all are in some.
    let parts = client.partitions(plan(client, &base, 2_000).await);
    let none = parts.map(|part| outside::delays::call(part, "none"));
    let none = none.filter(tables::any::call).await.unwrap();
    assert!(none.is_empty() && parts.len() > 9, "{}", parts.len());
    let calls = grid.counts("delays").await.calls;
    let some = parts.map(|part| outside::delays::call(part, "UA")).persist().await.unwrap();
    let some = some.filter(tables::any::call).await.unwrap();
    let total = some.reduce(2, |pair| tables::both::call(&pair[0], &pair[1])).await.unwrap();
    assert_eq!((some.len(), total.result().await.unwrap()), (parts.len(), expected));
    let each = some.gather().await.unwrap();
    assert_eq!(each.iter().map(|found| found.0).sum::<u64>(), expected.0);
    let calls = grid.counts("delays").await.calls - calls;
    assert_eq!(calls, parts.len() as u64, "what is persisted runs once");
}

#[tokio::test]
async fn trees_are_of_one_shape_and_of_some_size() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("outside").await;
    let client = &grid.client;
    let letters = |count: usize| ["a", "b", "c", "d", "e"][..count].iter().map(|it| it.to_string());
    let pair = |pair: &[_]| tables::joined::call(&pair[0], &pair[1]);
    for (count, tree) in [(1, "a"), (2, "(ab)"), (3, "((ab)c)"), (5, "(((ab)(cd))e)")] {
        let parts = client.partitions(letters(count));
        let joined = parts.reduce(2, pair).await.unwrap();
        assert_eq!(joined.result().await.unwrap(), tree);
        assert_eq!(parts.gather().await.unwrap().concat(), "abcde"[..count]);
    }
    // Of calls and of futures it is the same.
    let call = |letter| tables::joined::call(letter, "");
    let calls: Vec<_> = letters(3).map(call).collect();
    let parts = client.partitions(calls.clone());
    let tree = "(((a)(b))(c))";
    assert_eq!(parts.reduce(2, pair).await.unwrap().result().await.unwrap(), tree);
    let futures = client.map(calls).await.unwrap();
    let parts = client.partitions(&futures);
    drop(futures);
    let alone = client.partitions(letters(1)).map(|letter| tables::joined::call(letter, "!"));
    assert_eq!(alone.reduce(2, pair).await.unwrap().result().await.unwrap(), "(a!)");
    let mapped = parts.map_numbered(|number, it| tables::joined::call(it, number.to_string()));
    drop(parts);
    assert_eq!(mapped.gather().await.unwrap(), ["((a)0)", "((b)1)", "((c)2)"]);
    assert_eq!(mapped.persist().await.unwrap().gather().await.unwrap().len(), 3);

    for (count, fan_in, what) in [(0, 2, "no partitions"), (3, 1, "fan-in of 1")] {
        let refused = client.partitions(letters(count)).reduce(fan_in, pair).await;
        let Err(ClientError::Value(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains(what), "{message}");
    }
    assert!(client.partitions(letters(0)).gather().await.unwrap().is_empty());
}

/// Writes what is delayed by so many minutes; every call fails for once when its work is done.
async fn write_late(client: &Client, base: &str, url: &str, minutes: f64) -> Manifest {
    let begun = client.submit(tables::begin::call(url, false, true).retries(1)).await.unwrap();
    let output: Output = begun.result().await.unwrap();
    let planned = plan(client, base, 3_000).await;
    let parts = client.partitions(planned.clone());
    let written = parts.map_numbered(|number, part| {
        tables::write_late::call(part, number, minutes, &begun, true).retries(1)
    });
    let written: Vec<Part> = written.gather().await.unwrap();
    // Attempts at the same time, too, are one part.
    let first = |_| tables::write_late::call(planned[0].clone(), 0_u32, minutes, &begun, false);
    let same = client.partitions((0..4).map(first)).gather().await.unwrap();
    assert!(same.iter().all(|part| *part == written[0]));
    let unfinished = said(run(client, tables::concat::call(url, format!("{base}/no"))).await);
    assert!(unfinished.contains("has not finished"), "{unfinished}");
    run(client, tables::finish::call(output, written)).await.unwrap()
}

/// All that is written by parts and read back: each row once, whatever fails.
async fn written_and_read_back(client: &Client, base: &str) {
    let all = fill(client, base).await;
    let url = format!("{base}/out");
    let manifest = write_late(client, base, &url, 5.0).await;
    let late: Vec<_> =
        all.into_iter().filter(|trip| trip.delay.is_some_and(|delay| delay >= 5.0)).collect();
    assert_eq!((manifest.rows(), manifest.url), (late.len() as u64, format!("{url}/")));
    let listed = run(client, outside::list::call(format!("{url}/*"))).await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.0[url.len() + 1..].to_owned()).collect();
    let mut expected = vec!["_manifest.json".to_owned()];
    expected.extend((0..manifest.parts.len()).map(|number| format!("part-{number:06}.csv")));
    assert_eq!(names, expected);

    let one = format!("{base}/one.csv");
    let bytes = run(client, tables::concat::call(url.as_str(), one.as_str())).await.unwrap();
    for planned in [
        outside::plan::call(one.as_str(), 2_000_u64),
        tables::parts_of::call(url.as_str(), 900_u64),
    ] {
        let parts = client.partitions(run(client, planned).await.unwrap());
        let read = parts.map(tables::trips::call).gather().await.unwrap();
        assert_eq!(read.concat(), late);
    }
    let text = run(client, outside::read::call(one.as_str(), 0_u64, u64::MAX)).await.unwrap();
    assert_eq!((text.len() as u64, &*text), (bytes, csv(&late, true).as_bytes()));
    overwritten(client, base, &url).await;
}

/// A second table at the same place, which is smaller.
async fn overwritten(client: &Client, base: &str, url: &str) {
    let refused = said(run(client, tables::begin::call(url, false, false)).await);
    assert!(refused.starts_with(&format!("Exists: `{url}/`: there is something")), "{refused}");
    let output = run(client, tables::begin::call(url, true, false)).await.unwrap();
    let whole = run(client, tables::parts_of::call(url, 99_u64)).await;
    assert!(said(whole).contains("not whole"));
    let first = plan(client, base, 3_000).await.remove(0);
    let part = tables::write_late::call(first, 0_u32, 1e9, output.clone(), false);
    let part = run(client, part).await.unwrap();
    let manifest = run(client, tables::finish::call(output, vec![part])).await.unwrap();
    assert_eq!((manifest.rows(), manifest.parts.len()), (0, 1));
    let listed = run(client, outside::list::call(format!("{url}/part-*"))).await.unwrap();
    assert!(listed.len() > 5 && listed.iter().all(|it| it.1 == 0), "{listed:?}");
}

#[tokio::test]
async fn tables_of_files_are_written_by_parts() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    written_and_read_back(&grid.client, &base).await;
    let outside = home.path().join("x");
    for place in [format!("{base}/../x"), format!("file://{}", outside.display())] {
        let denied =
            said(run(&grid.client, tables::begin::call(place.as_str(), true, false)).await);
        assert!(denied.starts_with("Denied: ") && denied.contains(&place), "{denied}");
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn tables_of_a_bucket_are_written_by_parts() {
    let garage = Garage::start();
    let args = [
        "--workers=2",
        "--grant-store=outside:read:s3://grid/data/",
        "--grant-store=outside:write:s3://grid/data/",
    ];
    let home = tempfile::tempdir().unwrap();
    let grid = Processes::up_with(home, &args, garage.environment());
    let client = grid.client().await;
    client.deploy(&bundle_bytes("outside"), false).await.unwrap();
    written_and_read_back(&client, "s3://grid/data").await;
}

#[tokio::test]
async fn a_row_that_is_wrong_is_told_and_leaves_no_part() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    let client = &grid.client;
    let rows = csv(&trips(0), true);
    let wrong = rows.len();
    put(client, format!("{base}/in/0.csv"), format!("{rows}1,AA,late,x\n")).await;
    let url = format!("{base}/out");
    let output = run(client, tables::begin::call(url.as_str(), false, false)).await.unwrap();
    let parts = client.partitions(plan(client, &base, 3_000).await);
    let written = parts.map_numbered(|number, part| {
        tables::write_late::call(part, number, 0.0, output.clone(), false)
    });
    let failed = said(written.gather().await);
    let place = format!("Other: `{base}/in/0.csv` at byte {wrong}: `delay`: invalid float literal");
    assert_eq!(failed, place);
    let last = format!("part-{:06}.csv", parts.len() - 1);
    let names = std::fs::read_dir(home.path().join("data/out")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| *name != *last), "{names:?}");
    assert!(said(run(client, tables::parts_of::call(url, 99_u64)).await).contains("not whole"));
}
