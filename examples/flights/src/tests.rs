//! The tasks natively: whatever the blocks, the result is that of one pass over the whole file.

use std::fs;
use std::path::Path;

use super::*;

const MONTH: &str = "flights-2013-01.csv";

/// All flights of a few lines, among them quotes, a missing value and a late one.
const FEW: &str = "carrier,note,dep_delay\nUA,a,301\n\"AA\",\"b, c\",-4\nUA,d,NA\nUA,e,17.5\n";

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/data"))
}

fn job(file: &str) -> Job {
    Job { file: file.to_owned(), run: "run".to_owned(), late_minutes: 300.0 }
}

fn scan_all(directory: &Path, file: &str, block_bytes: u64, parts: &Path) -> Summary {
    let bytes = fs::metadata(directory.join(file)).unwrap().len();
    let scanned: Vec<_> = block::plan(bytes, block_bytes)
        .iter()
        .map(|block| job(file).scan(directory, parts, block, 0).unwrap())
        .collect();
    tree(scanned)
}

fn tree(mut level: Vec<Summary>) -> Summary {
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs.map(|pair| pair.iter().cloned().reduce(merge).unwrap()).collect();
    }
    level.pop().unwrap()
}

fn assert_right(summary: &Summary, csv: &Path) {
    check::equals_one_pass(summary, csv, 300.0).unwrap();
}

#[test]
fn a_month_is_the_same_in_blocks_of_any_size() {
    let parts = tempfile::tempdir().unwrap();
    for block_bytes in [64 << 10, 1 << 20, 4 << 20] {
        let summary = scan_all(data(), MONTH, block_bytes, parts.path());
        assert_right(&summary, &data().join(MONTH));
    }
}

#[test]
fn every_cut_of_a_few_lines_gives_the_same() {
    let directory = tempfile::tempdir().unwrap();
    // With and without a last line break, and as other systems break lines.
    for text in [FEW.to_owned(), FEW.trim_end().to_owned(), FEW.replace('\n', "\r\n")] {
        fs::write(directory.path().join("few.csv"), &text).unwrap();
        // Each size among them cuts right before, at or right behind some line break.
        for block_bytes in 1..=text.len() as u64 + 1 {
            let summary = scan_all(directory.path(), "few.csv", block_bytes, directory.path());
            assert_right(&summary, &directory.path().join("few.csv"));
            assert_eq!((summary.rows, summary.late(), summary.missing()), (4, 1, 1));
            let described = Description::of_parts(directory.path(), &summary.parts).unwrap();
            assert_eq!(described.quartiles, Some([301.0; 5]));
        }
    }
}

#[test]
fn parts_are_whole_and_hold_the_late_rows() {
    let root = tempfile::tempdir().unwrap();
    let summary = scan_all(data(), MONTH, 500_000, root.path());
    assert_eq!(summary.parts.len(), 5);
    assert_eq!(summary.parts.iter().map(|part| part.rows).sum::<u64>(), summary.late());
    let described = Description::of_parts(root.path(), &summary.parts).unwrap();
    assert_eq!(described.count, summary.late());
    let late = summary.carriers.values().fold(Moments::default(), |sum, c| sum.merge(c.late));
    assert!((described.mean.unwrap() - late.mean).abs() < 1e-9);
    assert!((described.std.unwrap() - late.std().unwrap()).abs() < 1e-9);
    assert_eq!(described.quartiles.unwrap()[4], late.max.unwrap());
}

#[test]
fn a_repeated_attempt_leaves_one_part() {
    let root = tempfile::tempdir().unwrap();
    let block = Block { number: 0, start: 0, end: 100_000 };
    fs::create_dir(root.path().join("run")).unwrap();
    // An attempt died while it wrote.
    fs::write(root.path().join("run/.part-00000.0"), "half").unwrap();
    let first = job(MONTH).scan(data(), root.path(), &block, 1).unwrap();
    let again = job(MONTH).scan(data(), root.path(), &block, 2).unwrap();
    assert_eq!(first, again);
    let names = fs::read_dir(root.path().join("run")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["part-00000.csv"]);
}

#[test]
fn what_is_no_flight_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let message = |text: &str| {
        fs::write(directory.path().join("bad.csv"), text).unwrap();
        let block = Block { number: 0, start: 0, end: text.len() as u64 };
        let error = job("bad.csv").scan(directory.path(), directory.path(), &block, 0).unwrap_err();
        format!("{error:#}")
    };
    assert!(message("carrier,delay\nUA,1\n").contains("no column `dep_delay`; there are carrier"));
    let fields = message("carrier,dep_delay\nUA,1\nUA\n");
    assert!(fields.contains("line 3 of the block that begins at byte 0"), "{fields}");
    assert!(fields.contains("it has 1 fields, and the header has 2"), "{fields}");
    assert!(message("carrier,dep_delay\nUA,late\n").contains("its delay `late` is not a number"));
    assert!(!directory.path().join("run/part-00000.csv").exists());
}

#[test]
fn quartiles_lie_between_the_nearest() {
    let root = tempfile::tempdir().unwrap();
    let text = "carrier,dep_delay\nUA,4\nUA,1\nUA,3\nUA,2\n";
    fs::write(root.path().join("p.csv"), text).unwrap();
    let part = |rows| Part { name: "p.csv".to_owned(), rows };
    let described = Description::of_parts(root.path(), &[part(4)]).unwrap();
    assert_eq!(described.quartiles, Some([1.0, 1.75, 2.5, 3.25, 4.0]));
    let error = Description::of_parts(root.path(), &[part(5)]).unwrap_err();
    assert_eq!(error.to_string(), "`p.csv` has 4 rows of 5");
    assert_eq!(Description::of_parts(root.path(), &[]).unwrap().count, 0);
}

#[test]
fn the_check_notices_what_is_wrong() {
    let parts = tempfile::tempdir().unwrap();
    let csv = data().join(MONTH);
    let right = scan_all(data(), MONTH, 1 << 20, parts.path());
    let wrong: [fn(&mut Summary); 6] = [
        |summary| summary.rows += 1,
        |summary| assert!(summary.carriers.remove("UA").is_some()),
        |summary| summary.carriers.get_mut("UA").unwrap().missing += 1,
        |summary| summary.carriers.get_mut("UA").unwrap().all.mean += 1e-6,
        |summary| summary.carriers.get_mut("UA").unwrap().late.m2 *= 1.0 + 1e-6,
        |summary| summary.carriers.get_mut("UA").unwrap().all.max = None,
    ];
    for change in wrong {
        let mut summary = right.clone();
        change(&mut summary);
        assert!(check::equals_one_pass(&summary, &csv, 300.0).is_err());
    }
}

/// The URL of a directory.
fn url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

#[test]
fn partitions_and_their_copy_in_parquet_give_the_same() {
    use crate::tables::*;

    let home = tempfile::tempdir().unwrap();
    let csv = data().join(MONTH);
    for (round, block_bytes) in [300_000, 8 << 20].into_iter().enumerate() {
        let (out, copy) =
            (home.path().join(format!("{round}")), home.path().join(format!("{round}c")));
        let planned = plan_table(url(&csv), block_bytes).unwrap();
        let output = begin_table(url(&out)).unwrap();
        let scanned = (0..)
            .zip(&planned)
            .map(|(number, part)| scan_table(part.clone(), number, output.clone(), 300.0).unwrap());
        let Scanned { summary, parts } = scanned.reduce(merge_scanned).unwrap();
        assert_right(&summary, &csv);
        assert!(begin_table(url(&out)).is_err(), "something is there");
        let written = finish_table(output, parts).unwrap();
        assert_eq!(written.rows(), summary.late());
        assert_eq!(describe_table(url(&out)).unwrap().count, summary.late());

        let output = begin_table(url(&copy)).unwrap();
        let parts = (0..).zip(planned);
        let parts = parts.map(|(number, part)| copy_table(part, number, output.clone()).unwrap());
        finish_table(output.clone(), parts.collect()).unwrap();
        let copied = plan_copy(url(&copy), 1).unwrap();
        let summaries = copied.iter().map(|part| summarize_copy(part.clone(), 300.0).unwrap());
        assert_right(&summaries.reduce(merge).unwrap(), &csv);
        let origins = copied.into_iter().map(|part| count_origins(part).unwrap());
        let origins = origins.reduce(add_counts).unwrap();
        assert_eq!(origins.into_values().collect::<Vec<_>>(), [9_893, 9_161, 7_950]);
    }
}
