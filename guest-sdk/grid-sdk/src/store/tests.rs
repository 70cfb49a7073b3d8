//! The native twin, and blocks of lines. The memory is the process's: URLs differ from test to test.

use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::*;

fn urls(pattern: &str) -> Vec<String> {
    list(pattern).unwrap().map(|entry| entry.unwrap().url).collect()
}

/// The lines of all blocks behind each other.
fn lines_of(url: &str, block_bytes: u64) -> Vec<Vec<u8>> {
    let size = open(url).unwrap().size();
    let in_block = |block| lines(url, block).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    blocks(size, block_bytes).flat_map(in_block).collect()
}

/// The same, found in another way.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

proptest! {
    #[test]
    fn blocks_of_any_size_have_each_line_once(
        text in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
        block_bytes in 1u64..250,
    ) {
        let url = "memory://lines/drawn";
        // One test at a time uses it: cases of one test follow each other.
        put(url, &text).unwrap();
        prop_assert_eq!(lines_of(url, block_bytes), split(&text));
    }
}

#[test]
fn blocks_cover_an_object() {
    assert_eq!(blocks(0, 10).count(), 0);
    assert_eq!(blocks(25, 10).collect::<Vec<_>>(), [0..10, 10..20, 20..25]);
    assert_eq!(blocks(20, 10).len(), 2);
    assert_eq!(blocks(3, 0).len(), 3);
    assert_eq!(blocks(3, u64::MAX).next(), Some(0..3));
}

#[test]
fn lines_are_as_they_are_in_the_object() {
    let url = "memory://lines/kinds";
    let long = format!("{}\n", "x".repeat(3 << 20));
    for text in ["", "\n", "one", "one\ntwo", "a\r\n\r\nb\r\n", "\n\n\n", long.as_str()] {
        put(url, text).unwrap();
        for block_bytes in [1, 2, 3, 7, 1 << 16, u64::MAX] {
            // A long row has a block for each of its bytes; one and a few are enough.
            if text.len() > 100 && block_bytes < 1 << 16 {
                continue;
            }
            assert_eq!(lines_of(url, block_bytes), split(text.as_bytes()), "{block_bytes}");
        }
    }
    put(url, &long).unwrap();
    assert_eq!(lines(url, 1..2 << 20).unwrap().count(), 0);
    assert_eq!(lines(url, 0..1).unwrap().read_to_end().unwrap(), long.as_bytes());
    assert_eq!(lines(url, 5..5).unwrap().count(), 0);
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake")]
    let reversed = lines(url, 9..5).unwrap();
    assert_eq!(reversed.count(), 0);
}

#[test]
fn a_reader_reads_and_seeks() {
    let text: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    put("memory://reader/x", &text).unwrap();
    let mut reader = open("memory://reader/x").unwrap().reader();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all == text);
    let mut four = [0; 4];
    for (to, at) in [
        (SeekFrom::Start(1_999_999), 1_999_999),
        (SeekFrom::Current(-4), 1_999_999),
        (SeekFrom::End(-4), text.len() - 4),
    ] {
        assert_eq!(reader.seek(to).unwrap(), at as u64);
        reader.read_exact(&mut four).unwrap();
        assert_eq!(four, text[at..at + 4]);
    }
    assert!(reader.seek(SeekFrom::Current(-9_999_999)).is_err());
    reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
    assert_eq!(reader.read(&mut four).unwrap(), 0);
    reader.seek(SeekFrom::Start(0)).unwrap();
    let mut until = Vec::new();
    reader.read_until(9, &mut until).unwrap();
    assert_eq!(until, text[..10]);
    let object = open("memory://reader/x").unwrap();
    assert_eq!(object.read(10..20).unwrap(), text[10..20]);
    assert_eq!(object.read(2_999_999..9_000_000).unwrap(), text[2_999_999..]);
    assert!(read("memory://reader/x").unwrap() == text);
}

#[test]
fn what_changes_while_it_is_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("file://{}", dir.path().join("x").display());
    for url in ["memory://changes/x", &file] {
        put(url, "before").unwrap();
        let object = open(url).unwrap();
        assert_eq!(object.read(0..3).unwrap(), b"bef");
        match url.strip_prefix("file://") {
            // A file that is replaced stays what was opened.
            Some(path) => std::fs::write(path, "after that").unwrap(),
            None => put(url, "after").unwrap(),
        }
        let error = object.read(3..6).unwrap_err();
        assert_eq!((error.kind, error.offset), (ErrorKind::Changed, Some(3)), "{error}");
        let mut lines = object.lines(0..9);
        assert!(lines.next().unwrap().is_err() && lines.next().is_none());
    }
}

#[test]
fn objects_are_there_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    for base in ["memory://whole".to_owned(), format!("file://{}", dir.path().display())] {
        let url = format!("{base}/out/part-0.csv");
        assert_eq!(open(&url).unwrap_err().kind, ErrorKind::NotFound);
        let mut writer = create(&url).unwrap();
        for _ in 0..20 {
            writer.write_all(&[7; 100_000]).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(open(&url).unwrap_err().kind, ErrorKind::NotFound);
        assert!(urls(&base).is_empty());
        writer.finish().unwrap();
        assert_eq!(open(&url).unwrap().size(), 2_000_000);
        drop(create(&url).unwrap());
        assert_eq!(open(&url).unwrap().size(), 2_000_000);
        for result in [
            put_if_absent(&url, "x"),
            put_if_absent(&url, vec![0; 1 << 20]),
            create_if_absent(&url).map(drop),
        ] {
            assert_eq!(result.unwrap_err().kind, ErrorKind::Exists);
        }
        put(&url, "small").unwrap();
        assert_eq!(read(&url).unwrap(), b"small");
        let late = create_if_absent(&format!("{base}/late")).unwrap();
        put_if_absent(&format!("{base}/late"), "first").unwrap();
        assert_eq!(late.finish().unwrap_err().kind, ErrorKind::Exists);
        assert_eq!(urls(&base), [format!("{base}/late"), url]);
    }
    let left: Vec<_> = std::fs::read_dir(dir.path().join("out")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn lists_are_by_names_and_globs() {
    let dir = tempfile::tempdir().unwrap();
    for base in ["memory://listed".to_owned(), format!("file://{}", dir.path().display())] {
        for name in ["a/1.csv", "a/2.csv", "a/b/3.csv", "ab/4.csv", "c.txt"] {
            put(&format!("{base}/{name}"), name).unwrap();
        }
        let of =
            |names: &[&str]| names.iter().map(|name| format!("{base}/{name}")).collect::<Vec<_>>();
        assert_eq!(urls(&format!("{base}/a")), of(&["a/1.csv", "a/2.csv", "a/b/3.csv"]));
        assert_eq!(urls(&format!("{base}/a/*.csv")), of(&["a/1.csv", "a/2.csv"]));
        assert_eq!(urls(&format!("{base}/**/[34].csv")), of(&["a/b/3.csv", "ab/4.csv"]));
        assert_eq!(urls(&format!("{base}/nothing/*")), of(&[]));
    }
}

#[test]
fn what_the_grid_refuses_the_twin_refuses() {
    for url in
        ["memory://x/../y", "memory://x/a//b", "file:///a/./b", "file://host/a", "memory:///a"]
    {
        assert_eq!(open(url).unwrap_err().kind, ErrorKind::Denied, "{url}");
    }
    for url in ["s3://bucket/x", "/plain/path"] {
        assert_eq!(open(url).unwrap_err().kind, ErrorKind::Unavailable, "{url}");
    }
}
