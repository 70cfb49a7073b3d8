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
fn broken_quotes_are_told_with_their_place() {
    let url = "memory://broken/x.csv";
    for (text, at, message) in [
        ("name,number\na,1\n\"b,2\n", 16, "this quote is not closed"),
        ("name,number\n\"a\"b,1\n", 15, "text stands behind a closing quote"),
        ("name,number\n\"a\" ,1\n", 15, "text stands behind a closing quote"),
        ("\u{feff}name,number\n\"a\"\"\n", 15, "this quote is not closed"),
    ] {
        store::put(url, text).unwrap();
        let failed = read_csv(url, 99).unwrap()[0].rows::<Row>().unwrap_err();
        assert_eq!((failed.url.as_str(), failed.offset), (url, Some(at)), "{text:?}");
        assert!(failed.message.starts_with(message), "{text:?}: {failed}");
    }
    // Inside of a field that begins without one, it is a character.
    store::put(url, "name,number\n5\" disk,1\nb\"c\"\"d,2\n").unwrap();
    assert_eq!(rows(url, 3), [row("5\" disk", Some(1.0)), row("b\"c\"\"d", Some(2.0))]);
    store::put(url, "name,\"number\"x\na,1\n").unwrap();
    assert_eq!(read_csv(url, 99).unwrap_err().offset, Some(13));
}

#[test]
fn rows_longer_than_blocks_and_marks_are_read() {
    let url = "memory://long/x.csv";
    let long = "x".repeat(10_000);
    store::put(url, format!("name,number\r\n{long},1\r\nb,NaN\r\n{long},\r\n")).unwrap();
    for block_bytes in [1_000, 9_999, 1 << 20] {
        let read = rows(url, block_bytes);
        let names: Vec<_> = read.iter().map(|row| row.name.len()).collect();
        assert_eq!(names, [10_000, 1, 10_000], "{block_bytes}");
        assert!(read[1].number.unwrap().is_nan() && read[2].number.is_none());
    }
    store::put(url, "name,number\na,1\nb,2\n").unwrap();
    assert_eq!(rows(url, 1).len(), 2);
    // A mark is none of the first field, with a header or without.
    store::put(url, "\u{feff}a,1\nb,x\n").unwrap();
    let lines = read_lines(url, 99).unwrap();
    let mut read = lines[0].rows::<(String, u8)>().unwrap();
    assert_eq!(read.next().unwrap().unwrap(), ("a".to_owned(), 1));
    assert_eq!(read.next().unwrap().unwrap_err().offset, Some(7));
    // What has no line breaks is no table.
    store::put(url, vec![b'x'; (1 << 20) + 1]).unwrap();
    let failed = read_csv(url, 99).unwrap_err();
    assert_eq!((failed.kind, failed.offset), (ErrorKind::OverLimit, Some(0)));
    store::put(url, format!("{}\n1\n", "x".repeat(100_000))).unwrap();
    assert_eq!(read_csv(url, 99).unwrap().len(), 1);
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

/// The first row of a file as some type, or the error.
fn first<T: serde::de::DeserializeOwned>(url: &str) -> Result<T, String> {
    let part = read_csv(url, 1 << 20).unwrap().remove(0);
    part.rows::<T>().unwrap().next().unwrap().map_err(|error| error.message)
}

#[test]
fn a_type_gets_the_columns_that_it_knows() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Few {
        #[serde(rename = "c")]
        third: u8,
        #[serde(alias = "first")]
        a: String,
        #[serde(default)]
        other: u8,
    }
    #[derive(Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[expect(dead_code, reason = "it is refused before")]
        a: String,
    }
    #[derive(Deserialize, Debug)]
    struct All {
        #[serde(flatten)]
        all: std::collections::BTreeMap<String, serde_json::Value>,
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Within(Few);
    let url = "memory://known/x.csv";
    // As lines, and with a quote somewhere.
    for last in ["z", "\"z\""] {
        store::put(url, format!("a,b,c,d\nx,y,7,{last}\n")).unwrap();
        let few = Few { third: 7, a: "x".to_owned(), other: 0 };
        assert_eq!(first::<Within>(url).unwrap().0, few);
        assert_eq!(first::<Few>(url).unwrap(), few);
        assert!(first::<Strict>(url).unwrap_err().contains("unknown field `b`"));
        assert_eq!(first::<All>(url).unwrap().all.len(), 4);
        let map = first::<std::collections::BTreeMap<String, String>>(url).unwrap();
        assert_eq!(map["d"], "z");
        let tuple = first::<(String, String, u8, String)>(url).unwrap();
        assert_eq!((tuple.2, tuple.3.as_str()), (7, "z"));
        store::put(url, format!("first,b,c,d\nx,y,300,{last}\n")).unwrap();
        assert!(first::<Few>(url).unwrap_err().starts_with("`c`: "));
        store::put(url, format!("a,c,c,d\nx,1,2,{last}\n")).unwrap();
        assert_eq!(first::<Few>(url).unwrap_err(), "duplicate field `c`");
        store::put(url, format!("a,b,c,d\nx,y,7,{last},\n")).unwrap();
        assert_eq!(first::<Few>(url).unwrap_err(), "a row of 5 fields, but the header has 4");
        // What nobody wants may be anything.
        let text = [b"a,b,c,d\nx,\xff,7,", last.as_bytes(), b"\n"].concat();
        store::put(url, text).unwrap();
        assert_eq!(first::<Few>(url).unwrap(), few);
        assert_eq!(first::<(String, String, u8, String)>(url).unwrap_err(), "`b` is not UTF-8");
    }
}

#[test]
fn rows_are_lent_to_one_type_or_another() {
    #[derive(Deserialize, PartialEq, Debug)]
    struct Lent<'a> {
        name: &'a str,
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Number {
        #[serde(deserialize_with = "optional")]
        number: Option<u8>,
    }
    let url = "memory://lent-rows/x.csv";
    store::put(url, "name,number\na,1\nb,NA\nc,\nd,x\ne,5").unwrap();
    let part = read_csv(url, 1 << 20).unwrap().remove(0);
    let mut records = part.records().unwrap();
    assert_eq!(records.next::<Lent>().unwrap().unwrap(), Lent { name: "a" });
    assert_eq!(records.next::<Number>().unwrap().unwrap(), Number { number: None });
    assert_eq!(records.next::<Number>().unwrap().unwrap(), Number { number: None });
    let wrong = records.next::<Number>().unwrap().unwrap_err();
    assert_eq!(wrong.offset, Some(24));
    assert!(wrong.message.contains("`x`: invalid digit"), "{wrong}");
    assert_eq!(records.next::<Lent>().unwrap().unwrap(), Lent { name: "e" });
    assert!(records.next::<Lent>().is_none());
}

#[test]
fn blocks_larger_than_what_is_read_at_once_have_each_row_once() {
    let url = "memory://large-blocks/x.csv";
    let mut text = "name,number\n".to_owned();
    let lengths: Vec<_> = (0..600_u32).map(|row| (row * 7_919 % 40_000) as usize).collect();
    for (row, length) in lengths.iter().enumerate() {
        text += &format!("{}{row},{row}\n", "x".repeat(*length));
    }
    let size = text.len() as u64;
    assert!(size > 10 << 20);
    store::put(url, text).unwrap();
    for block_bytes in [size, size / 2, (5 << 20) + 1, 4 << 20, 100_001] {
        let read = rows(url, block_bytes).into_iter().map(|row| row.number);
        assert!(read.eq((0..600).map(|row| Some(f64::from(row)))), "{block_bytes}");
    }
}

#[test]
fn fields_are_read_as_csv_reads_them() {
    #[derive(Deserialize, PartialEq, Debug)]
    enum Kind {
        Cargo,
    }
    #[derive(Deserialize, PartialEq, Debug)]
    struct Code(String);
    #[derive(Deserialize, PartialEq, Debug)]
    struct Simple {
        code: Code,
        hex: u16,
        yes: bool,
        small: Option<f32>,
    }
    // Of which one field is not simple: it is made by another.
    #[derive(Deserialize, PartialEq, Debug)]
    struct WithKind {
        code: Code,
        hex: i64,
        yes: bool,
        small: Option<f32>,
        kind: Kind,
        letter: char,
    }
    // A field that takes what is left.
    #[derive(Deserialize, PartialEq, Debug)]
    struct WithList {
        code: String,
        yes: Vec<bool>,
    }
    let url = "memory://fields/x.csv";
    store::put(url, "code,hex,yes,small,kind,letter\n7,0x1f,true,,Cargo,ü\n").unwrap();
    let code = || Code("7".to_owned());
    let simple = Simple { code: code(), hex: 31, yes: true, small: None };
    assert_eq!(first::<Simple>(url).unwrap(), simple);
    let kind = first::<WithKind>(url).unwrap();
    assert_eq!((kind.code, kind.hex, kind.kind, kind.letter), (code(), 31, Kind::Cargo, 'ü'));
    store::put(url, "code,hex,yes\n7,0x1f,true\n").unwrap();
    let list = first::<WithList>(url).unwrap();
    assert_eq!(list, WithList { code: "7".to_owned(), yes: vec![true] });
    for (row, message) in [
        ("7,0xfffff,true,1,a,b", "`hex`: number too large to fit in target type"),
        ("7,1,TRUE,1,a,b", "`yes`: provided string was not `true` or `false`"),
        ("7,1,true,x,a,b", "`small`: invalid float literal"),
    ] {
        store::put(url, format!("code,hex,yes,small,kind,letter\n{row}\n")).unwrap();
        assert_eq!(first::<Simple>(url).unwrap_err(), message);
    }
}
