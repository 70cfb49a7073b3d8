//! Tables by columns: Parquet that calls write and read, in files and on Garage, tables that are arguments and
//! results, and files that are broken.

use columns::Trip;
use grid_client::Client;
use grid_proto::FailureKind;
use grid_sdk::arrow::Table;
use grid_sdk::arrow::array::cast::AsArray;
use grid_sdk::arrow::array::types::Float64Type;
use grid_sdk::partitions::{Manifest, Output, Part, Partition};
use grid_sdk::{Codec, Value};
use outside::tables;

use crate::garage::Garage;
use crate::partitions::{fill, grid_beside_files, plan, run, said, trips};
use crate::support::{Processes, bundle_bytes, failure};

/// Copies what `fill` wrote to Parquet; every call fails for once when its work is done.
async fn copy(client: &Client, base: &str) -> Manifest {
    let url = format!("{base}/table");
    let begun = tables::begin::call(url.as_str(), false, true).retries(1);
    let begun = client.submit(begun).await.unwrap();
    let planned = plan(client, base, 3_000).await;
    let parts = client.partitions(planned.clone());
    let written = parts
        .map_numbered(|number, part| columns::copy::call(part, number, &begun, true).retries(1));
    let written: Vec<Part> = written.gather().await.unwrap();
    // Attempts at the same time, too, are one part.
    let first = |_| columns::copy::call(planned[0].clone(), 0_u32, &begun, false);
    let same = client.partitions((0..4).map(first)).gather().await.unwrap();
    assert!(same.iter().all(|part| *part == written[0]));
    let unfinished = said(run(client, columns::parts_of::call(url.as_str(), 9u64)).await);
    assert!(unfinished.contains("has not finished"), "{unfinished}");
    let output: Output = begun.result().await.unwrap();
    run(client, tables::finish::call(output, written)).await.unwrap()
}

/// How many trips of `UA` there are in partitions, and their delays together.
async fn lateness(client: &Client, parts: Vec<Partition>) -> (u64, f64) {
    let parts = client.partitions(parts);
    let found = parts.map(|part| columns::lateness::call(part, "UA"));
    let all = found.reduce(2, |pair| tables::both::call(&pair[0], &pair[1])).await.unwrap();
    all.result().await.unwrap()
}

/// All that is copied to Parquet and read: what the CSV has, whatever fails.
async fn copied_and_read(client: &Client, base: &str) {
    let all = fill(client, base).await;
    let late = all.iter().filter(|trip| trip.carrier == "UA");
    let expected = late.clone().filter_map(|trip| trip.delay).sum();
    let expected = (late.count() as u64, expected);
    let manifest = copy(client, base).await;
    assert_eq!(manifest.rows(), all.len() as u64);
    let url = format!("{base}/table");
    let listed = run(client, outside::list::call(format!("{url}/*"))).await.unwrap();
    let names: Vec<_> = listed.iter().map(|it| it.0[url.len() + 1..].to_owned()).collect();
    let mut parts = vec!["_manifest.json".to_owned()];
    parts.extend((0..manifest.parts.len()).map(|number| format!("part-{number:06}.parquet")));
    assert_eq!(names, parts);
    for planned in [
        columns::parts_of::call(url.as_str(), 1u64),
        columns::plan::call(format!("{url}/*.parquet"), 1u64 << 20),
    ] {
        let parts = run(client, planned).await.unwrap();
        assert_eq!(lateness(client, parts).await, expected);
    }
    let refused =
        said(run(client, tables::concat::call(url.as_str(), format!("{base}/one"))).await);
    assert!(refused.contains("parts of Parquet are not put together"), "{refused}");
    let refused = said(run(client, tables::begin::call(url.as_str(), false, false)).await);
    assert!(refused.starts_with("Exists: "), "{refused}");
}

#[tokio::test]
async fn parquet_in_files_is_written_by_parts_and_read() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    grid.deploy("columns").await;
    copied_and_read(&grid.client, &base).await;
    let secret = home.path().join("secret.parquet");
    std::fs::copy(home.path().join("data/table/part-000000.parquet"), &secret).unwrap();
    std::os::unix::fs::symlink(&secret, home.path().join("data/link.parquet")).unwrap();
    for place in [
        format!("file://{}", secret.display()),
        format!("{base}/../secret.parquet"),
        format!("{base}/link.parquet"),
    ] {
        let denied = said(run(&grid.client, columns::plan::call(place.as_str(), 1u64)).await);
        assert!(denied.starts_with("Denied: ") && denied.contains(&place), "{denied}");
    }
}

#[tokio::test]
async fn parquet_in_a_bucket_is_written_by_parts_and_read() {
    let garage = Garage::start();
    let args = [
        "--workers=2",
        "--grant-store=*:read:s3://grid/data/",
        "--grant-store=*:write:s3://grid/data/",
    ];
    let home = tempfile::tempdir().unwrap();
    let grid = Processes::up_with(home, &args, garage.environment());
    let client = grid.client().await;
    for bundle in ["outside", "columns"] {
        client.deploy(&bundle_bytes(bundle), false).await.unwrap();
    }
    copied_and_read(&client, "s3://grid/data").await;
}

#[tokio::test]
async fn tables_are_arguments_and_results() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    grid.deploy("columns").await;
    let client = &grid.client;
    fill(client, &base).await;
    let manifest = copy(client, &base).await;
    let planned = columns::parts_of::call(manifest.url.as_str(), 1u64);
    let parts = client.partitions(run(client, planned).await.unwrap());
    // From a task to another, and then here.
    let read = parts.map(columns::as_table::call).persist().await.unwrap();
    let few = read.map(|table| columns::within::call(table, 10.0, 20.0)).gather().await.unwrap();
    let delays: Vec<f64> = few
        .iter()
        .flat_map(Table::batches)
        .flat_map(|batch| batch["delay"].as_primitive::<Float64Type>().values().to_vec())
        .collect();
    let expected = (0..3).flat_map(trips).filter_map(|trip| trip.delay);
    let expected: Vec<_> = expected.filter(|delay| (10.0..=20.0).contains(delay)).collect();
    assert_eq!(delays, expected);
    // From here, and as bytes for whoever has another library.
    let made = made();
    let table = Table::from(columns::batch_of(&made).unwrap());
    let call = || columns::within::call(table.clone(), 0.0, 1e9);
    let known = made.iter().filter(|trip| trip.delay.is_some()).count();
    assert_eq!(run(client, call()).await.unwrap().rows(), known);
    let bytes = client.submit(call()).await.unwrap();
    let value: Value = client.future::<Value>(bytes.key()).await.unwrap().result().await.unwrap();
    assert_eq!((value.codec, &value.bytes[..4]), (Codec::Arrow, &[0xff; 4][..]));
    // Something else is told.
    let scattered = client.scatter("no table").await.unwrap();
    let scattered = client.future::<Table>(scattered.key()).await.unwrap();
    let other = columns::within::call(&scattered, 0.0, 1.0);
    let failed = failure(run(client, other).await);
    assert!(matches!(failed.kind, FailureKind::BadArgument { .. }), "{failed}");
    assert!(failed.message.contains("not an Arrow table"), "{failed}");
}

/// Rows.
fn made() -> Vec<Trip> {
    let made = trips(9).into_iter();
    made.map(|tables::Trip { number, carrier, delay, note }| Trip { number, carrier, delay, note })
        .collect()
}

/// A file, made without a grid.
fn parquet() -> Vec<u8> {
    let output = grid_sdk::partitions::begin("memory://made/", true).unwrap();
    let batch = columns::batch_of(&made()).unwrap();
    let part = output.write_parquet(0, [Ok(batch)]).unwrap();
    grid_sdk::store::read(&part.url).unwrap()
}

#[tokio::test]
async fn parquet_that_is_broken_fails_its_call_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let (grid, base) = grid_beside_files(home.path()).await;
    grid.deploy("columns").await;
    let client = &grid.client;
    std::fs::create_dir(home.path().join("data")).unwrap();
    let (url, path) = (format!("{base}/x.parquet"), home.path().join("data/x.parquet"));
    let whole = parquet();
    let size = whole.len();
    let planned = async |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        run(client, columns::plan::call(url.as_str(), 1u64)).await
    };
    let at = |at: usize, what: &str| format!("Other: `{url}` at byte {at}: {what}");
    for (bytes, message) in [
        (&whole[..size / 2], at(size / 2 - 4, "it begins as Parquet and does not end so")),
        (&whole[1..size - 9], at(size - 14, "it is no Parquet")),
        (b"a,b\n1,2\n3,4\n", at(8, "it is no Parquet")),
        (b"", at(0, "it is no Parquet")),
    ] {
        let failed = said(planned(bytes).await);
        assert!(failed.starts_with(&message), "{failed}\n{message}");
    }
    let part = planned(&whole).await.unwrap().remove(0);
    assert_eq!(run(client, columns::as_table::call(part.clone())).await.unwrap().rows(), 300);
    // It was planned, and somebody writes another.
    planned(&whole[..size - 1]).await.unwrap_err();
    let changed = said(run(client, columns::as_table::call(part)).await);
    assert!(changed.starts_with(&format!("Changed: `{url}`")), "{changed}");
    // Each eighth byte of the pages changed: it is read, or it fails and says where.
    let footer = u32::from_le_bytes(whole[size - 8..size - 4].try_into().unwrap()) as usize;
    let mut failures = 0;
    for place in (4..size - 8 - footer).step_by(8).take(200) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        let part = planned(&bytes).await.unwrap().remove(0);
        if let Err(failed) = run(client, columns::as_table::call(part)).await {
            let failed = failure::<Table>(Err(failed));
            assert!(failed.message.contains(&format!("`{url}` at byte ")), "{failed}");
            failures += 1;
        }
    }
    assert!(failures > 20, "{failures}");
}
