//! Objects outside of the grid: against Garage, with and without a grid; files and memory in a grid of one
//! process.

use std::sync::Arc;

use grid_client::Client;
use grid_objects::{Objects, ObjectsConfig, S3Config};
use grid_proto::FailureKind;
use grid_proto::outside::{ObjectStores, StoreAccess, StoreError, StoreErrorKind as Kind};
use grid_sandbox::EngineConfig;
use outside::*;

use crate::garage::{ACCESS_KEY, Garage, PRIVATE, SECRET_KEY};
use crate::support::{Grid, Processes, bundle_bytes, eventually, failure};

/// A call that asks for everything.
fn call(stores: &Objects) -> Arc<dyn StoreAccess> {
    let all = ["s3://".to_owned()];
    stores.for_call("b", &all, &all)
}

/// The error of an answer that must be one, which holds nothing secret.
fn error<T>(answer: Result<T, StoreError>) -> StoreError {
    let Err(error) = answer else { panic!("it went well") };
    let text = error.to_string();
    assert!(!text.contains(SECRET_KEY) && !text.contains(ACCESS_KEY), "{text}");
    error
}

#[tokio::test]
async fn s3_says_what_is_wrong() {
    let garage = Garage::start();
    let stores = garage.stores(&[]);
    let good = call(&stores);
    let url = |bucket: &str| format!("s3://{bucket}/x");
    let there = url("grid");
    good.put(there.clone(), b"x".to_vec(), false).await.unwrap();

    let missing = error(good.open(url("none")).await);
    assert_eq!((missing.kind, missing.url.as_str()), (Kind::NotFound, "s3://none/x"));
    assert_eq!(missing.message, "there is no bucket `none`");
    assert_eq!(error(good.put(url("none"), vec![], false).await).kind, Kind::NotFound);
    let mut listing = good.list("s3://none/".to_owned()).await.unwrap();
    assert_eq!(error(listing.next().await).kind, Kind::NotFound);
    let missing = error(good.open("s3://grid/none".to_owned()).await);
    assert_eq!(
        (missing.kind, missing.message.as_str()),
        (Kind::NotFound, "there is no such object")
    );

    for denied in
        [error(good.open(url(PRIVATE)).await), error(good.put(url(PRIVATE), vec![], false).await)]
    {
        assert_eq!(denied.kind, Kind::Denied, "{denied}");
    }
    for changes in [
        [("AWS_SECRET_ACCESS_KEY", Some("wrong"))],
        [("AWS_ACCESS_KEY_ID", Some("GK000000000000000000000000"))],
    ] {
        let stores = garage.stores(&changes);
        for wrong in [
            error(call(&stores).open(there.clone()).await),
            error(call(&stores).put(there.clone(), vec![], false).await),
        ] {
            assert_eq!(wrong.kind, Kind::Credentials, "{wrong}");
        }
    }
    let nobody = garage.stores(&[("AWS_SECRET_ACCESS_KEY", None), ("AWS_ACCESS_KEY_ID", None)]);
    let none = error(call(&nobody).open(there.clone()).await);
    assert_eq!(none.kind, Kind::Credentials, "{none}");
    assert!(none.message.contains("no credentials"), "{none}");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_after_a_while() {
    let stores = {
        let garage = Garage::start();
        garage.stores(&[])
    };
    let gone = error(call(&stores).open("s3://grid/x".to_owned()).await);
    assert_eq!(gone.kind, Kind::Unavailable, "{gone}");
    assert!(gone.message.starts_with("the store cannot be reached"), "{gone}");
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_taken_back() {
    let garage = Garage::start();
    let stores = garage.stores(&[]);
    let call = call(&stores);
    let mut writer = call.create("s3://grid/large".to_owned(), false).await.unwrap();
    for _ in 0..40 {
        writer.write(vec![7; 512 << 10]).await.unwrap();
    }
    let unfinished = || {
        let info = garage.bucket_info();
        let line = info.lines().find(|line| line.contains("multipart uploads")).map(str::to_owned);
        line.is_some_and(|line| line.split_whitespace().any(|word| word == "1"))
    };
    eventually("the upload is known", async || unfinished()).await;
    drop(writer);
    eventually("the upload is forgotten", async || !unfinished()).await;
    assert_eq!(error(call.open("s3://grid/large".to_owned()).await).kind, Kind::NotFound);
    // Given up while a part is on its way, too.
    let mut writer = call.create("s3://grid/large".to_owned(), false).await.unwrap();
    for _ in 0..16 {
        writer.write(vec![7; 512 << 10]).await.unwrap();
    }
    {
        let mut write = writer.write(vec![7; 512 << 10]);
        let polled = futures_once(&mut write).await;
        assert!(polled.is_none() || polled == Some(Ok(())));
    }
    drop(writer);
    eventually("nothing of it is left", async || !unfinished()).await;
}

/// What a future gives when it is asked once.
async fn futures_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// A grid of processes whose bundle `outside` may read `in/` and write `out/` of the bucket.
async fn grid_beside(garage: &Garage) -> (Processes, Client) {
    let home = tempfile::tempdir().unwrap();
    let args = [
        "--workers=2",
        "--grant-store=outside:read:s3://grid/in/",
        "--grant-store=outside:read:s3://grid/out/",
        "--grant-store=outside:write:s3://grid/out/",
    ];
    let grid = Processes::up_with(home, &args, garage.environment());
    let client = grid.client().await;
    client.deploy(&bundle_bytes("outside"), false).await.unwrap();
    (grid, client)
}

/// What a task that failed says, which begins with the kind of the error.
fn said<T: std::fmt::Debug>(ended: Result<T, grid_client::ClientError>) -> String {
    let failure = failure(ended);
    assert_eq!(failure.kind, FailureKind::User, "{failure}");
    let all = format!("{failure:?}");
    assert!(!all.contains(SECRET_KEY) && !all.contains(ACCESS_KEY), "{all}");
    failure.message
}

pub(crate) async fn fill(garage: &Garage, key: &str, text: &str) {
    let stores = garage.stores(&[]);
    let mut writer = call(&stores).create(format!("s3://grid/{key}"), false).await.unwrap();
    for piece in text.as_bytes().chunks(512 << 10) {
        writer.write(piece.to_vec()).await.unwrap();
    }
    writer.finish().await.unwrap();
}

#[tokio::test]
async fn tasks_read_and_list_a_bucket() {
    let garage = Garage::start();
    for month in 1..4 {
        fill(&garage, &format!("in/2013-0{month}.csv"), &format!("month,{month}\n")).await;
    }
    let rows: String =
        (0..1_000).map(|row| format!("{row},{}\r\n", "x".repeat(row % 90))).collect();
    fill(&garage, "in/rows.csv", &rows).await;
    let (_grid, client) = grid_beside(&garage).await;
    let bytes = client.submit(read::call("s3://grid/in/2013-02.csv", 6u64, 99u64)).await.unwrap();
    assert_eq!(bytes.result().await.unwrap().0, b"2\n");
    let listed = client.submit(list::call("s3://grid/in/2013-*.csv")).await.unwrap();
    let months = ["1", "2", "3"].map(|month| (format!("s3://grid/in/2013-0{month}.csv"), 8));
    assert_eq!(listed.result().await.unwrap(), months);
    let last = client.submit(last_line::call("s3://grid/in/rows.csv", 200u64)).await.unwrap();
    assert!(last.result().await.unwrap().starts_with("999,"));
    // Every line once, however it is cut.
    for block in [1_000, 7_919, 1 << 20] {
        let blocks = grid_sdk::store::blocks(rows.len() as u64, block);
        let calls =
            blocks.map(|block| count::call("s3://grid/in/rows.csv", block.start, block.end));
        let counts = client.map(calls).await.unwrap();
        let counts = client.gather(&counts).await.unwrap();
        let (lines, bytes) = counts.iter().fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!((lines, bytes), (1_000, rows.len() as u64), "{block}");
    }
}

#[tokio::test]
async fn tables_are_read_by_partitions() {
    let garage = Garage::start();
    let carriers = ["AA", "UA", "B6"];
    for month in 1..3 {
        let mut text = "\u{feff}month,carrier,delay,note\r\n".to_owned();
        for row in 0..500 {
            let delay = if row % 7 == 0 { String::new() } else { row.to_string() };
            text += &format!("{month},{},{delay},\"a, \"\"b\"\"\"\r\n", carriers[row % 3]);
        }
        fill(&garage, &format!("in/{month}.csv"), &text).await;
    }
    fill(&garage, "in/3.csv", "month,carrier,delay,note\n").await;
    fill(&garage, "in/wrong.txt", "carrier,delay\nAA,late\n").await;
    let (_grid, client) = grid_beside(&garage).await;
    let parts_of = async |url: &'static str, block_bytes: u64| {
        client.submit(plan::call(url, block_bytes)).await.unwrap().result().await
    };
    let rows: Vec<_> = (0..500_u32).filter(|row| row % 3 == 1).collect();
    let late: u32 = rows.iter().filter(|row| *row % 7 != 0).sum();
    for block_bytes in [999, 1 << 20] {
        let parts = parts_of("s3://grid/in/*.csv", block_bytes).await.unwrap();
        assert!(parts.len() == 2 || block_bytes == 999 && parts.len() > 20, "{}", parts.len());
        let calls = parts.into_iter().map(|part| delays::call(part, "UA"));
        let found = client.map(calls).await.unwrap();
        let found = client.gather(&found).await.unwrap();
        let sum = found.iter().fold((0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        assert_eq!(sum, (2 * rows.len() as u64, 2.0 * f64::from(late)), "{block_bytes}");
    }
    let wrong = parts_of("s3://grid/in/wrong.txt", 99).await.unwrap().remove(0);
    let wrong = client.submit(delays::call(wrong, "AA")).await.unwrap().result().await;
    let expected = "Other: `s3://grid/in/wrong.txt` at byte 14: `delay`: invalid float literal";
    assert_eq!(said(wrong), expected);
    assert!(said(parts_of("s3://grid/in/*.tsv", 99).await).starts_with("NotFound:"));
}

#[tokio::test]
async fn tasks_write_to_a_bucket_as_a_whole_or_not_at_all() {
    let garage = Garage::start();
    let (_grid, client) = grid_beside(&garage).await;
    let put = async |text: &'static str, if_absent| {
        client.submit(put::call("s3://grid/out/x", text, if_absent)).await.unwrap().result().await
    };
    put("one", true).await.unwrap();
    let exists = said(put("two", true).await);
    assert!(exists.starts_with("Exists: `s3://grid/out/x`"), "{exists}");
    put("three", false).await.unwrap();
    let read_back = async |url: &'static str, start: u64, end: u64| {
        client.submit(read::call(url, start, end)).await.unwrap().result().await
    };
    assert_eq!(read_back("s3://grid/out/x", 0, 9).await.unwrap().0, b"three");

    const LARGE: u64 = (20 << 20) + 5;
    let large = "s3://grid/out/large";
    let write = |finish| write::call(large, LARGE, finish);
    client.submit(write(false)).await.unwrap().result().await.unwrap();
    let missing = said(read_back(large, 0, 1).await);
    assert!(missing.starts_with("NotFound:"), "{missing}");
    client.submit(write(true)).await.unwrap().result().await.unwrap();
    let middle = read_back(large, (8 << 20) - 2, (8 << 20) + 2).await.unwrap().0;
    let expected: Vec<_> = ((8 << 20) - 2..(8 << 20) + 2).map(pattern).collect();
    assert_eq!(middle, expected);
    let end = read_back(large, LARGE - 2, LARGE + 9).await.unwrap().0;
    assert_eq!(end, [pattern(LARGE - 2), pattern(LARGE - 1)]);
}

#[tokio::test]
async fn a_call_that_is_cancelled_leaves_no_upload() {
    let garage = Garage::start();
    let (_grid, client) = grid_beside(&garage).await;
    let url = "s3://grid/out/never";
    let writing = client.submit(write_for_ever::call(url, "written")).await.unwrap();
    client.event("written").wait().await.unwrap();
    assert!(garage.bucket_info().contains("multipart"), "{}", garage.bucket_info());
    client.cancel(vec![writing.key()], false).await.unwrap();
    assert_eq!(failure(writing.result().await).kind, FailureKind::Cancelled);
    eventually("the upload is forgotten", async || {
        !garage.bucket_info().contains("multipart uploads")
    })
    .await;
    let missing = said(client.submit(read::call(url, 0u64, 1u64)).await.unwrap().result().await);
    assert!(missing.starts_with("NotFound:"), "{missing}");
}

#[tokio::test]
async fn an_object_that_changes_between_two_reads_is_told() {
    let garage = Garage::start();
    fill(&garage, "in/x", "before").await;
    let (_grid, client) = grid_beside(&garage).await;
    let reading = client.submit(read_twice::call("s3://grid/in/x", "read", "go")).await.unwrap();
    client.event("read").wait().await.unwrap();
    fill(&garage, "in/x", "behind").await;
    client.event("go").set().await.unwrap();
    let changed = said(reading.result().await);
    assert!(changed.starts_with("Changed: `s3://grid/in/x` at byte 1: "), "{changed}");
}

#[tokio::test]
async fn nothing_beyond_a_grant_is_touched() {
    let garage = Garage::start();
    fill(&garage, "in/x", "allowed").await;
    fill(&garage, "inner/x", "not allowed").await;
    fill(&garage, "secret", "not allowed").await;
    let (grid, client) = grid_beside(&garage).await;
    for url in [
        "s3://grid/secret",
        "s3://grid/inner/x",
        "s3://grid/in/../secret",
        "s3://grid/in/%2e%2e/secret",
        "s3://grid/in/..%2fsecret",
        "s3://private/x",
        "file:///etc/passwd",
        "memory://x/y",
    ] {
        let denied = said(client.submit(read::call(url, 0u64, 9u64)).await.unwrap().result().await);
        assert!(denied.starts_with("Denied:"), "{url}: {denied}");
        assert!(denied.contains(url), "{url}: {denied}");
        let denied = client.submit(put::call(url, "x", false)).await.unwrap().result().await;
        assert!(said(denied).starts_with("Denied:"), "{url}");
    }
    let denied =
        client.submit(put::call("s3://grid/in/x", "x", false)).await.unwrap().result().await;
    assert!(said(denied).contains("--grant-store 'outside:write:URL'"));
    // Granted, but not asked for by this task.
    fill(&garage, "out/x", "allowed").await;
    let modest = async |url: &'static str| {
        client.submit(read_modestly::call(url, 0u64, 9u64)).await.unwrap().result().await
    };
    assert_eq!(modest("s3://grid/in/x").await.unwrap().0, b"allowed");
    assert!(said(modest("s3://grid/out/x").await).contains("`reads` of the task"));
    // Another name is another bundle.
    drop(grid);
    let grid = Processes::up_with(
        tempfile::tempdir().unwrap(),
        &["--workers=1", "--grant-store=other:read:s3://grid/in/"],
        garage.environment(),
    );
    let client = grid.client().await;
    client.deploy(&bundle_bytes("outside"), false).await.unwrap();
    let call = read::call("s3://grid/in/x", 0u64, 9u64);
    let denied = said(client.submit(call).await.unwrap().result().await);
    assert!(denied.contains("--grant-store 'outside:read:URL'"), "{denied}");
}

#[tokio::test]
async fn files_and_memory_are_stores_too() {
    let home = tempfile::tempdir().unwrap();
    let base = format!("file://{}", home.path().display());
    let grants = [
        format!("outside:read:{base}/"),
        format!("outside:write:{base}/out/"),
        "*:read:memory://t/".to_owned(),
        "*:write:memory://t/".to_owned(),
    ];
    let grants = grants.map(|grant| grant.parse().unwrap()).into();
    let stores = Objects::new(ObjectsConfig { grants, s3: S3Config::default() });
    let engine = EngineConfig { stores: Some(Arc::new(stores)), ..EngineConfig::default() };
    let grid = Grid::start_with(2, 1, engine).await;
    grid.deploy("outside").await;
    let client = &grid.client;
    for base in [format!("{base}/out"), "memory://t/out".to_owned()] {
        let url = format!("{base}/part-0");
        client
            .submit(write::call(url.as_str(), 3u64 << 20, true))
            .await
            .unwrap()
            .result()
            .await
            .unwrap();
        let bytes =
            client.submit(read::call(url.as_str(), 1u64 << 20, (1u64 << 20) + 3)).await.unwrap();
        let expected: Vec<_> = (1 << 20..(1 << 20) + 3).map(pattern).collect();
        assert_eq!(bytes.result().await.unwrap().0, expected);
        let again = client.submit(put::call(url.as_str(), "x", true)).await.unwrap();
        assert!(said(again.result().await).starts_with("Exists:"));
        let dropped = write::call(format!("{base}/part-1"), 1u64, false);
        client.submit(dropped).await.unwrap().result().await.unwrap();
        let listed = client.submit(list::call(format!("{base}/part-*"))).await.unwrap();
        assert_eq!(listed.result().await.unwrap(), [(url, 3 << 20)]);
    }
    std::os::unix::fs::symlink("/etc/hostname", home.path().join("link")).unwrap();
    for path in ["link", "../x", "out/../../x"] {
        let url = format!("{base}/{path}");
        let denied =
            client.submit(read::call(url.as_str(), 0u64, 9u64)).await.unwrap().result().await;
        assert!(said(denied).starts_with("Denied:"), "{path}");
    }
    let many = client.submit(hold_listings::call("memory://t/", 9u64)).await.unwrap();
    assert!(said(many.result().await).starts_with("OverLimit:"));
    let some = client.submit(hold_listings::call("memory://t/", 8u64)).await.unwrap();
    assert_eq!(some.result().await.unwrap(), 8);
}
