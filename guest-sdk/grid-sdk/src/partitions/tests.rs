//! Partitions of texts and tables in the memory of the native twin.

use proptest::prelude::*;

use super::*;

#[derive(Deserialize, PartialEq, Clone, Debug)]
struct Row {
    name: String,
    number: Option<f64>,
}

fn rows(url: &str, block_bytes: u64) -> Vec<Row> {
    let parts = read_csv(url, block_bytes).unwrap();
    parts.iter().flat_map(|part| part.rows::<Row>().unwrap().map(Result::unwrap)).collect()
}

fn row(name: &str, number: Option<f64>) -> Row {
    Row { name: name.to_owned(), number }
}

/// The error of the first row that has one.
fn first_error(url: &str) -> Error {
    let parts = read_csv(url, 1 << 20).unwrap();
    parts[0].rows::<Row>().unwrap().find_map(Result::err).unwrap()
}

proptest! {
    #[test]
    fn partitions_of_any_size_have_each_row_once(
        table in proptest::collection::vec(("[a-z ,\"ü]{0,12}", any::<Option<i16>>()), 0..40),
        block_bytes in 1u64..400,
        crlf in any::<bool>(),
    ) {
        let url = "memory://rows/drawn.csv";
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("name,number{end}");
        for (name, number) in &table {
            let number = number.map_or(String::new(), |number| number.to_string());
            text += &format!("\"{}\",{number}{end}", name.replace('"', "\"\""));
        }
        store::put(url, &text).unwrap();
        let expected: Vec<_> =
            table.iter().map(|(name, number)| row(name, number.map(f64::from))).collect();
        prop_assert_eq!(rows(url, block_bytes), expected);
    }
}

#[test]
fn files_are_cut_by_name_and_by_pattern() {
    for number in 0..3 {
        let text = format!("name,number\n{number},1\n");
        store::put(&format!("memory://cut/in/{number}.csv"), text).unwrap();
    }
    for (url, count) in
        [("memory://cut/in/", 3), ("memory://cut/in/[12].csv", 2), ("memory://cut/in/0.csv", 1)]
    {
        assert_eq!(rows(url, 1 << 20).len(), count, "{url}");
        assert_eq!(read_lines(url, 1 << 20).unwrap().len(), count, "{url}");
    }
    for url in ["memory://cut/none/", "memory://cut/*.txt", "memory://cut/none.csv"] {
        assert_eq!(read_csv(url, 1).unwrap_err().kind, ErrorKind::NotFound, "{url}");
    }
    let lines = read_lines("memory://cut/in/0.csv", 1).unwrap();
    assert_eq!(lines.len(), 16);
    let all: Vec<_> =
        lines.iter().flat_map(|part| part.lines().unwrap().map(Result::unwrap)).collect();
    assert_eq!(all, [&b"name,number\n"[..], b"0,1\n"]);
    let tuples = read_lines("memory://cut/in/0.csv", 12).unwrap()[1].rows::<(u8, u8)>().unwrap();
    assert_eq!(tuples.map(Result::unwrap).collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn odd_tables_are_read() {
    let url = "memory://odd/x.csv";
    for (text, expected) in [
        ("", vec![]),
        ("name,number", vec![]),
        ("name,number\n", vec![]),
        ("\u{feff}name,number\na,1\n", vec![row("a", Some(1.0))]),
        ("name,number\na,\nb,2", vec![row("a", None), row("b", Some(2.0))]),
        ("number,name\n1,a\n\n2,b\n", vec![row("a", Some(1.0)), row("b", Some(2.0))]),
        ("name,number\n\"a\nb\",1\n", vec![row("a\nb", Some(1.0))]),
    ] {
        store::put(url, text).unwrap();
        assert_eq!(rows(url, 1 << 20), expected, "{text:?}");
    }
    store::put(url, "name,number\nx,NaN\n").unwrap();
    assert!(rows(url, 7)[0].number.unwrap().is_nan());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let url = "memory://wrong/x.csv";
    for (text, at, message) in [
        (&b"name,number\na,1\nb,x\n"[..], 16, "`number`: invalid float literal"),
        (b"name,number\na,1\nb\n", 16, "a row of 1 fields, but the header has 2"),
        (b"name,number\n\xff,1\n", 12, "`name` is not UTF-8"),
        (b"label,number\na,1\n", 13, "missing field `name`"),
    ] {
        store::put(url, text).unwrap();
        let error = first_error(url);
        assert_eq!((error.offset, error.message.as_str()), (Some(at), message));
    }
    // A wrong row does not hide the next.
    store::put(url, "name,number\na,x\nb,1\n").unwrap();
    let parts = read_csv(url, 99).unwrap();
    let read: Vec<_> = parts[0].rows::<Row>().unwrap().map(|row| row.is_ok()).collect();
    assert_eq!(read, [false, true]);
    store::put(url, b"na\xffme\n").unwrap();
    assert_eq!(read_csv(url, 1).unwrap_err().message, "the header is not UTF-8");
    store::put(url, "\"na\nme\"\n1\n").unwrap();
    assert!(read_csv(url, 1).unwrap_err().message.contains("quoted name"));
}

#[test]
fn a_partition_does_not_begin_or_end_inside_of_quotes() {
    let url = "memory://quotes/x.csv";
    store::put(url, "name,number\n\"a\nb\",1\nc,2\n").unwrap();
    let parts = read_csv(url, 3).unwrap();
    let first = parts[0].rows::<Row>().unwrap_err();
    assert_eq!((first.kind, first.offset), (ErrorKind::Other, Some(12)));
    assert!(first.message.contains("larger partitions"), "{first}");
    store::put(url, "name,number\n\"a,1\n").unwrap();
    assert!(read_csv(url, 99).unwrap()[0].rows::<Row>().is_err());
}

#[test]
fn a_file_that_is_not_what_was_planned_is_not_read() {
    let url = "memory://planned/x.csv";
    store::put(url, "name,number\na,1\n").unwrap();
    let parts = read_csv(url, 99).unwrap();
    store::put(url, "name,number\na,1\nb,2\n").unwrap();
    assert_eq!(parts[0].rows::<Row>().unwrap_err().kind, ErrorKind::Changed);
}

#[test]
fn partitions_are_bounded() {
    let url = "memory://many/x";
    store::put(url, vec![b'\n'; 1_000_001]).unwrap();
    assert_eq!(read_lines(url, 1).unwrap_err().kind, ErrorKind::OverLimit);
    assert_eq!(read_lines(url, 2).unwrap().len(), 500_001);
}
