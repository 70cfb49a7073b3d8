//! Tables that are written, finished, read back and put together in the memory of the native twin.

use super::super::{begin, read_csv};
use super::*;

#[derive(Serialize, Deserialize, PartialEq, Clone, Debug)]
struct Row {
    name: String,
    number: Option<f64>,
}

fn row(name: &str, number: Option<f64>) -> Row {
    Row { name: name.to_owned(), number }
}

fn rows_of(partitions: &[super::super::Partition]) -> Vec<Row> {
    let rows = partitions.iter().flat_map(|part| part.rows::<Row>().unwrap());
    rows.map(Result::unwrap).collect()
}

fn text(url: &str) -> String {
    String::from_utf8(store::read(url).unwrap()).unwrap()
}

/// Names and sizes of what lies below.
fn listed(url: &str) -> Vec<(String, u64)> {
    let name = |entry: store::Entry| (entry.url[url.len()..].to_owned(), entry.size);
    store::list(url).unwrap().map(|entry| name(entry.unwrap())).collect()
}

/// Rows that are hard to write.
fn odd_rows() -> Vec<Row> {
    vec![
        row("plain", Some(1.5)),
        row("", None),
        row("a, \"b\"\r\nc", Some(-0.0)),
        row("\u{feff}ü", Some(1e300)),
        row("x".repeat(200_000).as_str(), Some(0.1)),
    ]
}

/// Writes each list as a part.
fn write(output: &Output, parts: &[Vec<Row>]) -> Vec<Part> {
    let part =
        |(number, rows): (u32, &Vec<Row>)| output.write_csv(number, rows.iter().map(Ok)).unwrap();
    (0..).zip(parts).map(part).collect()
}

#[test]
fn what_is_written_is_read_back_and_put_together() {
    let url = "memory://written/out";
    let output = begin(url, false).unwrap();
    assert_eq!(output.url, "memory://written/out/");
    let all = [odd_rows(), vec![], vec![row("last", None)]];
    let mut parts = write(&output, &all);
    assert_eq!(parts[1], Part { bytes: 0, rows: 0, ..parts[1].clone() });
    assert_eq!(parts[2].url, "memory://written/out/part-000002.csv");
    assert_eq!(text(&parts[2].url), "name,number\nlast,\n");
    assert_eq!((parts[2].rows, parts[2].bytes), (1, 18));
    // Before the end there is none.
    let unfinished = Manifest::read(url).unwrap_err();
    assert!(unfinished.message.contains("has not finished"), "{unfinished}");
    parts.reverse();
    let manifest = output.finish(parts.clone()).unwrap();
    assert_eq!((manifest.rows(), manifest.parts[0].number), (6, 0));
    assert_eq!(Manifest::read(url).unwrap(), manifest);
    // Another attempt of the last call does no harm.
    assert_eq!(output.finish(parts).unwrap(), manifest);

    let expected = all.concat();
    assert_eq!(rows_of(&manifest.read_csv(1 << 20).unwrap()), expected);
    let one = "memory://written/one.csv";
    assert_eq!(manifest.concat(one).unwrap(), text(one).len() as u64);
    assert_eq!(rows_of(&read_csv(one, 1 << 20).unwrap()), expected);
    assert_eq!(text(one).matches("name,number").count(), 1);
    let among = manifest.concat("memory://written/out/one.csv").unwrap_err();
    assert!(among.message.contains("among the parts"), "{among}");
}

#[test]
fn an_attempt_that_is_made_again_leaves_one_part() {
    let url = "memory://again/";
    let output = begin(url, false).unwrap();
    let rows = [vec![row("a", Some(1.0)), row("b", None)]];
    let first = write(&output, &rows);
    let second = write(&output, &rows);
    assert_eq!(first, second);
    let parts: Vec<_> = listed(url).into_iter().filter(|it| it.0.starts_with("part-")).collect();
    assert_eq!(parts, [("part-000000.csv".to_owned(), first[0].bytes)]);
}

#[test]
fn a_row_that_is_an_error_leaves_no_part() {
    let url = "memory://half/";
    let output = begin(url, false).unwrap();
    store::put("memory://half-in.csv/x", "name,number\na,1\nb,x\n").unwrap();
    let read = read_csv("memory://half-in.csv/x", 99).unwrap();
    let failed = output.write_csv(0, read[0].rows::<Row>().unwrap()).unwrap_err();
    assert_eq!((failed.url.as_str(), failed.offset), ("memory://half-in.csv/x", Some(16)));
    assert_eq!(listed(url).len(), 1, "the manifest alone");
    // Nor does it touch the part of an attempt before it.
    let whole = output.write_csv(0, [Ok(row("a", None))]).unwrap();
    output.write_csv(0, read[0].rows::<Row>().unwrap()).unwrap_err();
    assert_eq!(text(&whole.url), "name,number\na,\n");
}

#[test]
fn rows_that_are_none_are_told() {
    let output = begin("memory://no-rows/", false).unwrap();
    let tuple = output.write_csv(7, [Ok((1, 2))]).unwrap_err();
    assert_eq!(tuple.url, "memory://no-rows/part-000007.csv");
    assert!(tuple.message.contains("have no names"), "{tuple}");
    #[derive(Serialize)]
    struct Listed {
        list: Vec<u8>,
    }
    let lists = [1, 2].map(|count| Ok(Listed { list: vec![0; count] }));
    let listed = output.write_csv(0, lists).unwrap_err();
    assert!(listed.message.starts_with("row 1 is no row: "), "{listed}");
    let many = output.write_csv(1_000_000, [Ok(row("a", None))]).unwrap_err();
    assert_eq!(many.kind, ErrorKind::OverLimit);
}

#[test]
fn what_is_there_is_refused_unless_it_may_be_overwritten() {
    let url = "memory://there/out/";
    let first = begin(url, false).unwrap();
    // Somebody has begun, and nobody has written yet.
    assert_eq!(begin(url, false).unwrap_err().kind, ErrorKind::Exists);
    let parts = write(&first, &[odd_rows(), odd_rows(), odd_rows()]);
    first.finish(parts.clone()).unwrap();
    let refused = begin(url, false).unwrap_err();
    assert_eq!((refused.kind, refused.url.as_str()), (ErrorKind::Exists, url));
    assert!(refused.message.contains("memory://there/out/_manifest.json"), "{refused}");
    store::put("memory://there/other/x.txt", "x").unwrap();
    assert_eq!(begin("memory://there/other", false).unwrap_err().kind, ErrorKind::Exists);
    // A name is whole.
    begin("memory://there/oth", false).unwrap();

    store::put("memory://there/out/notes.txt", "mine").unwrap();
    let second = begin(url, true).unwrap();
    assert!(Manifest::read(url).is_err(), "what was whole is not any more");
    let lost = first.finish(parts).unwrap_err();
    assert_eq!((lost.kind, lost.url.as_str()), (ErrorKind::Changed, url));
    let written = write(&second, &[vec![row("new", None)]]);
    let manifest = second.finish(written).unwrap();
    assert_eq!(rows_of(&manifest.read_csv(9).unwrap()), [row("new", None)]);
    // Not by the manifest, too.
    assert_eq!(rows_of(&read_csv("memory://there/out/part-*", 99).unwrap()), [row("new", None)]);
    let sizes = listed(url).into_iter().filter(|it| it.0.starts_with("part-"));
    assert_eq!(sizes.map(|it| it.1).collect::<Vec<_>>(), [17, 0, 0]);
    assert_eq!(text("memory://there/out/notes.txt"), "mine");
}

#[test]
fn parts_that_are_not_what_was_written_are_told() {
    let url = "memory://parts/out/";
    let output = begin(url, false).unwrap();
    let parts = write(&output, &[odd_rows(), vec![row("a", None)]]);
    let failed = |parts: &[&Part]| {
        let parts = parts.iter().map(|part| (*part).clone()).collect();
        output.finish(parts).unwrap_err()
    };
    assert!(failed(&[&parts[0], &parts[0]]).message.contains("twice"));
    let missing = Part { number: 9, url: part_url(url, 9, Form::Csv), ..parts[0].clone() };
    let missing = failed(&[&parts[0], &missing]);
    assert_eq!((missing.kind, missing.url), (ErrorKind::NotFound, part_url(url, 9, Form::Csv)));
    let other = Part { bytes: 5, ..parts[0].clone() };
    assert_eq!(failed(&[&other]).kind, ErrorKind::Changed);
    let outside = Part { url: "memory://parts/else.csv".to_owned(), ..parts[0].clone() };
    assert!(failed(&[&outside]).message.contains("no part of"));

    let manifest = output.finish(parts.clone()).unwrap();
    let one = "memory://parts/one.csv";
    store::put(&parts[1].url, "name,other\na,\n").unwrap();
    let changed = manifest.concat(one).unwrap_err();
    assert_eq!((changed.kind, &changed.url), (ErrorKind::Changed, &parts[1].url));
    store::put(&parts[1].url, "mane,number\na,\n").unwrap();
    let header = manifest.concat(one).unwrap_err();
    assert_eq!((header.offset, &header.url), (Some(0), &parts[1].url));
    assert_eq!(store::open(one).unwrap_err().kind, ErrorKind::NotFound, "nothing half is there");
    assert!(manifest.read_csv(1).unwrap()[0].rows::<Row>().is_ok());
}

#[test]
fn a_table_of_no_parts_or_no_rows_is_whole_and_empty() {
    for (url, parts) in [("memory://nothing/a/", 0), ("memory://nothing/b/", 2)] {
        let output = begin(url, false).unwrap();
        let manifest = output.finish(write(&output, &vec![vec![]; parts])).unwrap();
        assert_eq!((manifest.rows(), manifest.bytes()), (0, 0));
        assert!(Manifest::read(url).unwrap().read_csv(1).unwrap().is_empty());
        assert_eq!(manifest.concat("memory://nothing/one.csv").unwrap(), 0);
        assert_eq!(text("memory://nothing/one.csv"), "");
    }
}

#[test]
fn manifests_that_are_none_are_told() {
    assert_eq!(Manifest::read("memory://none/x").unwrap_err().kind, ErrorKind::NotFound);
    let url = "memory://manifest/_manifest.json";
    for (text, message) in [
        ("", "it is no manifest of parts: EOF"),
        ("{\"finished\":true}", "it is no manifest of parts: missing field"),
        (
            "{\"finished\":true,\"run\":\"\",\"rows\":1,\"bytes\":1,\
              \"parts\":[{\"name\":\"../secret\",\"rows\":1,\"bytes\":1}]}",
            "`../secret` is not the name of a part",
        ),
    ] {
        store::put(url, text).unwrap();
        let failed = Manifest::read("memory://manifest/").unwrap_err();
        assert_eq!(failed.url, url);
        assert!(failed.message.starts_with(message), "{failed}");
    }
    assert_eq!(begin("memory://manifest", false).unwrap_err().kind, ErrorKind::Exists);
    begin("memory://manifest", true).unwrap();
}

#[test]
fn a_place_that_is_none_is_refused() {
    for url in ["memory://place/../x", "memory://place/a/./b", "x", "memory:///x", "s3://b/x"] {
        let refused = begin(url, true).unwrap_err();
        assert!(matches!(refused.kind, ErrorKind::Denied | ErrorKind::Unavailable), "{refused}");
        assert!(refused.url.contains(url), "{refused}");
    }
    assert!(begin("memory://place/*/x", true).unwrap_err().message.contains("pattern"));
}

#[test]
fn files_are_written_as_memory_is() {
    let home = tempfile::tempdir().unwrap();
    let url = format!("file://{}/deep/out", home.path().display());
    let output = begin(&url, false).unwrap();
    let parts = write(&output, &[odd_rows(), vec![]]);
    let manifest = output.finish(parts).unwrap();
    let one = format!("file://{}/one.csv", home.path().display());
    manifest.concat(&one).unwrap();
    assert_eq!(rows_of(&read_csv(&one, 1 << 20).unwrap()), odd_rows());
    let mut names: Vec<_> = std::fs::read_dir(home.path().join("deep/out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["_manifest.json", "part-000000.csv", "part-000001.csv"]);
}
