//! Calls that use stores: files and memory; S3 itself is in the integration tests.

use std::os::unix::fs::symlink;
use std::path::Path;

use grid_proto::outside::{ObjectStores, StoreAccess, StoreError, StoreErrorKind as Kind};

use super::*;

/// A directory with things in and beside what is granted.
struct Yard {
    home: tempfile::TempDir,
    stores: Objects,
}

impl Yard {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("in");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/deep.csv"), "deep").unwrap();
        std::fs::write(root.join("a.csv"), "0123456789").unwrap();
        std::fs::write(home.path().join("secret"), "hunter2").unwrap();
        let at = |path: &str| format!("file://{}", home.path().join(path).display());
        let grants = [
            format!("b:read:{}/", at("in")),
            format!("b:write:{}/", at("in/out")),
            format!("b:write:{}", at("in/one.txt")),
            "b:read:memory://m/".to_owned(),
            "b:write:memory://m/".to_owned(),
        ];
        let grants = grants.map(|grant| grant.parse().unwrap()).into();
        Self { home, stores: Objects::new(ObjectsConfig { grants, s3: S3Config::default() }) }
    }

    fn url(&self, path: &str) -> String {
        format!("file://{}", self.home.path().join("in").join(path).display())
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join("in").join(path)
    }

    fn call(&self) -> std::sync::Arc<dyn StoreAccess> {
        let all = ["file://", "memory://", "s3://"].map(str::to_owned);
        self.stores.for_call("b", &all, &all)
    }

    async fn read(&self, url: String) -> Result<Vec<u8>, StoreError> {
        self.call().open(url).await?.read(0, 100).await
    }

    async fn list(&self, url: String) -> Result<Vec<String>, StoreError> {
        let call = self.call();
        let mut listing = call.list(url).await?;
        let mut all = Vec::new();
        loop {
            let page = listing.next().await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page.into_iter().map(|entry| entry.url));
        }
    }
}

fn kind<T>(result: Result<T, StoreError>) -> Kind {
    match result {
        Ok(_) => panic!("it went well"),
        Err(error) => error.kind,
    }
}

/// Unfinished files are taken away on another thread.
async fn nothing_unfinished(dir: &Path) {
    let began = std::time::Instant::now();
    let left = || {
        std::fs::read_dir(dir)
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".grid-part-"))
    };
    while left() {
        assert!(began.elapsed().as_secs() < 20, "an unfinished file is left");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn files_are_read_by_ranges() {
    let yard = Yard::new();
    let object = yard.call().open(yard.url("a.csv")).await.unwrap();
    assert_eq!(object.entry().size, 10);
    assert_eq!(object.entry().url, yard.url("a.csv"));
    assert!(object.entry().modified_ms > 1_000_000_000_000);
    assert_eq!(object.read(2, 3).await.unwrap(), b"234");
    assert_eq!(object.read(8, 100).await.unwrap(), b"89");
    assert_eq!(object.read(10, 1).await.unwrap(), b"");
    assert_eq!(object.read(u64::MAX, u32::MAX).await.unwrap(), b"");
    let missing = yard.read(yard.url("none.csv")).await.unwrap_err();
    assert_eq!((missing.kind, missing.url), (Kind::NotFound, yard.url("none.csv")));
    assert_eq!(kind(yard.read(yard.url("a")).await), Kind::NotFound);
    assert_eq!(kind(yard.read(yard.url("a.csv/x")).await), Kind::NotFound);
}

#[tokio::test]
async fn a_file_that_is_written_into_while_it_is_read_is_changed() {
    let yard = Yard::new();
    let object = yard.call().open(yard.url("a.csv")).await.unwrap();
    // Replaced as a whole, it is still what was opened.
    std::fs::write(yard.path("new"), "other").unwrap();
    std::fs::rename(yard.path("new"), yard.path("a.csv")).unwrap();
    assert_eq!(object.read(0, 4).await.unwrap(), b"0123");
    let object = yard.call().open(yard.url("a.csv")).await.unwrap();
    std::fs::write(yard.path("a.csv"), "ot").unwrap();
    let error = object.read(1, 4).await.unwrap_err();
    assert_eq!((error.kind, error.offset), (Kind::Changed, Some(1)));
}

#[tokio::test]
async fn no_name_and_no_link_leads_out_of_a_grant() {
    let yard = Yard::new();
    for path in ["../secret", "a/../../secret", "./../secret", "%2e%2e/secret", "..%2fsecret"] {
        assert_eq!(kind(yard.read(yard.url(path)).await), Kind::Denied, "{path}");
        assert_eq!(kind(yard.list(yard.url(path)).await), Kind::Denied, "{path}");
    }
    let secret = yard.home.path().join("secret");
    symlink(&secret, yard.path("link")).unwrap();
    symlink("../secret", yard.path("up")).unwrap();
    symlink(yard.home.path(), yard.path("home")).unwrap();
    symlink("a.csv", yard.path("inside")).unwrap();
    for path in ["link", "up", "home/secret"] {
        assert_eq!(kind(yard.read(yard.url(path)).await), Kind::Denied, "{path}");
    }
    assert_eq!(yard.read(yard.url("inside")).await.unwrap(), b"0123456789");
    let listed = yard.list(yard.url("")).await.unwrap();
    assert_eq!(listed, ["a.csv", "a/b/deep.csv", "inside"].map(|path| yard.url(path)));
    // Written is beneath the grant too, wherever a link of that name shows.
    std::fs::create_dir(yard.path("out")).unwrap();
    symlink(yard.home.path(), yard.path("out/home")).unwrap();
    symlink(&secret, yard.path("out/link")).unwrap();
    let call = yard.call();
    let denied = call.put(yard.url("out/home/secret"), b"x".to_vec(), false).await;
    assert_eq!(kind(denied), Kind::Denied);
    call.put(yard.url("out/link"), b"x".to_vec(), false).await.unwrap();
    assert_eq!(std::fs::read(&secret).unwrap(), b"hunter2");
    assert_eq!(std::fs::read(yard.path("out/link")).unwrap(), b"x");
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    let yard = Yard::new();
    let made = std::process::Command::new("mkfifo").arg(yard.path("pipe")).status().unwrap();
    assert!(made.success());
    assert_eq!(kind(yard.read(yard.url("pipe")).await), Kind::NotFound);
}

#[tokio::test]
async fn files_are_written_as_a_whole_or_not_at_all() {
    let yard = Yard::new();
    let call = yard.call();
    let url = yard.url("out/x/part.csv");
    call.put(url.clone(), b"one".to_vec(), true).await.unwrap();
    assert_eq!(kind(call.put(url.clone(), b"two".to_vec(), true).await), Kind::Exists);
    assert_eq!(yard.read(url.clone()).await.unwrap(), b"one");
    call.put(url.clone(), b"three".to_vec(), false).await.unwrap();
    assert_eq!(yard.read(url.clone()).await.unwrap(), b"three");
    let mut writer = call.create(url.clone(), false).await.unwrap();
    for _ in 0..3 {
        writer.write(vec![b'x'; 1 << 10]).await.unwrap();
    }
    assert_eq!(yard.read(url.clone()).await.unwrap(), b"three");
    assert_eq!(yard.list(yard.url("out/")).await.unwrap(), std::slice::from_ref(&url));
    writer.finish().await.unwrap();
    assert_eq!(kind(writer.finish().await), Kind::Other);
    assert_eq!(std::fs::metadata(yard.path("out/x/part.csv")).unwrap().len(), 3 << 10);
    let mut given_up = call.create(url.clone(), false).await.unwrap();
    given_up.write(b"never".to_vec()).await.unwrap();
    drop(given_up);
    assert_eq!(std::fs::metadata(yard.path("out/x/part.csv")).unwrap().len(), 3 << 10);
    nothing_unfinished(&yard.path("out/x")).await;
    assert_eq!(kind(call.create(url, true).await), Kind::Exists);
    assert_eq!(kind(call.create(yard.url("out/x"), false).await), Kind::Exists);
}

#[tokio::test]
async fn what_is_not_granted_is_denied() {
    let yard = Yard::new();
    let call = yard.call();
    // A single file may be granted before there is one.
    call.put(yard.url("one.txt"), b"1".to_vec(), true).await.unwrap();
    assert_eq!(kind(call.put(yard.url("two.txt"), b"1".to_vec(), true).await), Kind::Denied);
    assert_eq!(kind(call.create(yard.url("a.csv"), false).await), Kind::Denied);
    assert_eq!(kind(call.open("s3://bucket/x".to_owned()).await), Kind::Denied);
    assert_eq!(kind(call.open("file:///etc/passwd".to_owned()).await), Kind::Denied);
    let stranger = yard.stores.for_call("c", &["file://".to_owned()], &[]);
    assert_eq!(kind(stranger.open(yard.url("a.csv")).await), Kind::Denied);
    let modest = yard.stores.for_call("b", &[yard.url("a/")], &[]);
    assert!(modest.open(yard.url("a/b/deep.csv")).await.is_ok());
    assert_eq!(kind(modest.open(yard.url("a.csv")).await), Kind::Denied);
    // Unfinished files have no name.
    std::fs::write(yard.path(".grid-part-1"), "x").unwrap();
    assert_eq!(kind(call.open(yard.url(".grid-part-1")).await), Kind::Denied);
}

#[tokio::test]
async fn listings_come_in_the_order_of_keys_and_in_pages() {
    let yard = Yard::new();
    std::fs::create_dir_all(yard.path("many/sub")).unwrap();
    for number in 0..2_500 {
        std::fs::write(yard.path(&format!("many/{number:05}.csv")), "").unwrap();
    }
    std::fs::write(yard.path("many/sub/x"), "").unwrap();
    std::fs::write(yard.path("many/sub.csv"), "").unwrap();
    let call = yard.call();
    let mut listing = call.list(yard.url("many")).await.unwrap();
    let mut pages = Vec::new();
    loop {
        let page = listing.next().await.unwrap();
        if page.is_empty() {
            break;
        }
        pages.push(page);
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [1_000, 1_000, 502]);
    let urls: Vec<_> = pages.concat().into_iter().map(|entry| entry.url).collect();
    assert!(urls.is_sorted());
    assert_eq!(urls[2_500..], [yard.url("many/sub.csv"), yard.url("many/sub/x")]);
    assert!(yard.list(yard.url("nothing/here/")).await.unwrap().is_empty());
}

#[tokio::test]
async fn memory_is_a_store_for_tests() {
    let yard = Yard::new();
    let call = yard.call();
    let url = |key: &str| format!("memory://m/{key}");
    assert_eq!(kind(call.open(url("x")).await), Kind::NotFound);
    call.put(url("d/x"), b"0123456789".to_vec(), true).await.unwrap();
    assert_eq!(kind(call.put(url("d/x"), b"no".to_vec(), true).await), Kind::Exists);
    let object = call.open(url("d/x")).await.unwrap();
    assert_eq!(object.read(3, 4).await.unwrap(), b"3456");
    call.put(url("d/x"), b"abcdefghij".to_vec(), false).await.unwrap();
    let error = object.read(3, 4).await.unwrap_err();
    assert_eq!((error.kind, error.offset), (Kind::Changed, Some(3)));
    // An upload of several parts.
    let mut writer = call.create(url("d/large"), false).await.unwrap();
    for _ in 0..40 {
        writer.write(vec![7; 512 << 10]).await.unwrap();
    }
    assert_eq!(kind(call.open(url("d/large")).await), Kind::NotFound);
    writer.finish().await.unwrap();
    assert_eq!(call.open(url("d/large")).await.unwrap().entry().size, 20 << 20);
    assert_eq!(yard.list(url("d/")).await.unwrap(), [url("d/large"), url("d/x")]);
    let too_much = call.put(url("y"), vec![0; (512 << 10) + 1], false).await;
    assert_eq!(kind(too_much), Kind::OverLimit);
    // Only where there is none: in one part, or not at all.
    let mut writer = call.create(url("once"), true).await.unwrap();
    let mut written = Ok(());
    for _ in 0..17 {
        written = writer.write(vec![7; 512 << 10]).await;
    }
    assert_eq!(kind(written), Kind::OverLimit);
    assert_eq!(kind(call.open(url("once")).await), Kind::NotFound);
}

#[tokio::test]
async fn memory_is_bounded() {
    let yard = Yard::new();
    let call = yard.call();
    let mut last = Ok(());
    for _ in 0..513 {
        last = call.put("memory://m/x".to_owned(), vec![0; 512 << 10], false).await;
    }
    assert_eq!(kind(last), Kind::OverLimit);
}
