//! Parquet in the memory of the native twin: written, cut, read by columns, and broken in many ways.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_select::concat::concat_batches;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    ColumnChunkMetaDataBuilder, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaDataBuilder,
};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::super::{Manifest, Output, Part, begin, read_csv};
use super::*;

/// Rows from one number to another, some without a delay.
fn batch(numbers: Range<i64>) -> RecordBatch {
    let delay = |number: i64| {
        (number % 7 != 0).then(|| if number % 11 == 0 { f64::NAN } else { number as f64 / 8.0 })
    };
    let delays: Float64Array = numbers.clone().map(delay).collect();
    let carriers: StringArray =
        numbers.clone().map(|number| Some(["AA", "UA", "ü"][number as usize % 3])).collect();
    let notes: StringArray =
        numbers.clone().map(|number| (number % 5 != 0).then(|| format!("note {number}"))).collect();
    let numbers = Int64Array::from_iter_values(numbers);
    let columns: [(_, ArrayRef, _); 4] = [
        ("number", Arc::new(numbers), false),
        ("carrier", Arc::new(carriers), false),
        ("delay", Arc::new(delays), true),
        ("note", Arc::new(notes), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// A file in row groups of so many rows, in pages of a hundred.
fn file(rows: i64, group_rows: usize, compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_compression(compression)
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .build();
    let batch = batch(0..rows);
    let mut table = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    table.write(&batch).unwrap();
    table.into_inner().unwrap()
}

/// The rows of all partitions, and how many partitions those are.
fn read(url: &str, block_bytes: u64) -> (RecordBatch, usize) {
    let parts = read_parquet(url, block_bytes).unwrap();
    let batches = parts.iter().flat_map(|part| part.batches().unwrap());
    let batches: Vec<_> = batches.map(Result::unwrap).collect();
    (concat_batches(&batch(0..0).schema(), &batches).unwrap(), parts.len())
}

/// All rows of a file of any content, or why not.
fn try_read(url: &str) -> Result<usize, Error> {
    let mut rows = 0;
    for part in read_parquet(url, 1 << 20)? {
        for batch in part.batches()? {
            rows += batch?.num_rows();
        }
    }
    Ok(rows)
}

/// As text: not a number is equal to itself there.
fn same(one: &RecordBatch, other: &RecordBatch) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

#[test]
fn files_are_cut_by_row_groups() {
    let url = "memory://cut-parquet/x.parquet";
    let bytes = file(10_000, 1_000, Compression::SNAPPY);
    let size = bytes.len() as u64;
    store::put(url, bytes).unwrap();
    let expected = batch(0..10_000);
    for (block_bytes, least, most) in [(0, 10, 10), (1, 10, 10), (size / 3, 4, 5), (size, 1, 1)] {
        let (rows, parts) = read(url, block_bytes);
        assert!(
            same(&rows, &expected) && (least..=most).contains(&parts),
            "{block_bytes}: {parts}"
        );
    }
    let parts = read_parquet(url, size / 3).unwrap();
    for (one, next) in parts.iter().zip(&parts[1..]) {
        assert!(one.end - one.start <= size / 3 && one.end <= next.start, "{one:?}");
    }
    // By name and by pattern, as texts are.
    store::put("memory://cut-parquet/y.parquet", file(5, 9, Compression::SNAPPY)).unwrap();
    assert_eq!(read_parquet("memory://cut-parquet/", 1 << 20).unwrap().len(), 2);
    assert_eq!(read_parquet("memory://cut-parquet/[y].*", 1 << 20).unwrap().len(), 1);
    let none = read_parquet("memory://cut-parquet/*.csv", 1).unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);
    // It is read by what it was planned as.
    let text = parts[0].rows::<(u8,)>().unwrap_err();
    assert!(text.message.contains("`batches`"), "{text}");
    store::put("memory://cut-csv/x.csv", "a\n1\n").unwrap();
    let text = read_csv("memory://cut-csv/x.csv", 9).unwrap()[0].batches().unwrap_err();
    assert!(text.message.contains("`read_parquet`"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn partitions_of_any_size_have_each_row_once(
        rows in 0i64..3_000, group_rows in 1usize..1_500, block_bytes in 1u64..40_000,
        snappy in any::<bool>(),
    ) {
        let url = "memory://drawn/x.parquet";
        let compression = if snappy { Compression::SNAPPY } else { Compression::UNCOMPRESSED };
        store::put(url, file(rows, group_rows.max(20), compression)).unwrap();
        prop_assert!(same(&read(url, block_bytes).0, &batch(0..rows)));
    }
}

#[test]
fn of_columns_that_nobody_wants_nothing_is_read() {
    let url = "memory://columns/x.parquet";
    let mut bytes = file(2_000, 1_000, Compression::SNAPPY);
    store::put(url, &bytes).unwrap();
    let footer = Footer::read(&store::open(url).unwrap()).unwrap();
    for group in footer.metadata.metadata().row_groups() {
        for column in [0, 3] {
            let place = footer::place_of_chunk(group.column(column)).unwrap();
            bytes[place.start as usize..place.end as usize].fill(0xff);
        }
    }
    store::put(url, bytes).unwrap();
    let part = read_parquet(url, 1 << 20).unwrap().remove(0);
    let batches = part.columns(["delay", "carrier", "delay"]).unwrap();
    let names: Vec<_> = batches.schema().fields().iter().map(|it| it.name().clone()).collect();
    assert_eq!(names, ["delay", "carrier", "delay"]);
    let batches: Vec<_> = batches.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_000);
    let expected = batch(0..1_000).project(&[2, 1, 2]).unwrap();
    assert!(same(&batches[0], &expected));
    // None at all are rows all the same.
    let rows = part.columns([]).unwrap().map(|batch| batch.unwrap().num_rows());
    assert_eq!(rows.sum::<usize>(), 2_000);
    let missing = part.columns(["carrier", "dalay"]).unwrap_err().message;
    let expected = "there is no column `dalay`; there are number, carrier, delay, note";
    assert_eq!(missing, expected);
    let broken = part.batches().unwrap().find_map(Result::err).unwrap();
    assert_eq!((broken.url.as_str(), broken.offset), (url, Some(4)));
}

#[test]
fn columns_larger_than_what_is_read_at_once_are_read() {
    let url = "memory://large/x.parquet";
    let rows = 400_000;
    let numbers =
        (0..rows).map(|number: i64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64));
    let numbers = Int64Array::from_iter_values(numbers);
    let long = StringArray::from(vec!["x".repeat(3 << 20), "y".to_owned()]);
    let first = RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap();
    let output = begin("memory://large/out", false).unwrap();
    let part = output.write_parquet(0, [Ok(first.clone())]).unwrap();
    assert!(part.bytes > 3 << 20, "{part:?}");
    let mut at = 0;
    for batch in read_parquet(&part.url, 1).unwrap()[0].batches().unwrap() {
        let batch = batch.unwrap();
        assert_eq!(batch, first.slice(at, batch.num_rows()));
        at += batch.num_rows();
    }
    assert_eq!(at as i64, rows);
    // A value, too, may be larger.
    let long = RecordBatch::try_from_iter([("t", Arc::new(long) as ArrayRef)]).unwrap();
    let mut table = ArrowWriter::try_new(Vec::new(), long.schema(), None).unwrap();
    table.write(&long).unwrap();
    store::put(url, table.into_inner().unwrap()).unwrap();
    let read: Vec<_> = read_parquet(url, 1).unwrap()[0].batches().unwrap().collect();
    assert_eq!(read, [Ok(long)]);
}

fn write(output: &Output, parts: &[Range<i64>]) -> Vec<Part> {
    let part = |(number, rows): (u32, &Range<i64>)| {
        let pieces = rows.clone().step_by(100).map(|at| at..rows.end.min(at + 100));
        output.write_parquet(number, pieces.map(|piece| Ok(batch(piece)))).unwrap()
    };
    (0..).zip(parts).map(part).collect()
}

#[test]
fn tables_are_written_by_parts() {
    let url = "memory://written-parquet/out";
    let output = begin(url, false).unwrap();
    let parts = write(&output, &[0..500, 500..500, 500..730]);
    assert_eq!(parts[2].url, "memory://written-parquet/out/part-000002.parquet");
    assert_eq!((parts[1].rows, parts[1].bytes, parts[2].rows), (0, 0, 230));
    assert_eq!(write(&output, &vec![0..500; 1])[0], parts[0], "an attempt that is made again");
    let whole = output.finish(parts.clone()).unwrap();
    assert_eq!((whole.rows(), Manifest::read(url).unwrap()), (730, whole.clone()));
    let partitions = whole.read_parquet(1 << 20).unwrap();
    let batches = partitions.iter().flat_map(|part| part.batches().unwrap());
    let batches: Vec<_> = batches.map(Result::unwrap).collect();
    assert_eq!(partitions.len(), 2);
    assert!(same(&concat_batches(&batch(0..0).schema(), &batches).unwrap(), &batch(0..730)));
    let csv = whole.read_csv(1).unwrap_err();
    assert!(csv.message.contains("`read_parquet`"), "{csv}");
    let concat = whole.concat("memory://written-parquet/one").unwrap_err();
    assert!(concat.message.contains("parts of Parquet are not put together"), "{concat}");
    // No form may stand beside the other.
    let other = output.write_csv::<()>(3, []).unwrap();
    let mixed = output.finish([parts, vec![other]].concat()).unwrap_err();
    assert!(mixed.message.contains("either all CSV or all Parquet"), "{mixed}");
}

#[test]
fn a_smaller_table_takes_the_place_of_a_larger_one() {
    let url = "memory://smaller-parquet/out/";
    let first = begin(url, false).unwrap();
    first.finish(write(&first, &[0..10, 10..20, 20..30])).unwrap();
    assert_eq!(begin(url, false).unwrap_err().kind, ErrorKind::Exists);
    let second = begin(url, true).unwrap();
    second.finish(write(&second, &vec![0..5; 1])).unwrap();
    // Not by the manifest, too.
    let (rows, parts) = read("memory://smaller-parquet/out/part-*", 1);
    assert!(same(&rows, &batch(0..5)) && parts == 1, "{parts}");
}

#[test]
fn a_batch_that_is_wrong_leaves_no_part() {
    let output = begin("memory://half-parquet/out/", false).unwrap();
    let place = "memory://half-parquet/out/part-000000.parquet";
    let failed = error(ErrorKind::Other, "memory://in", Some(7), "no");
    for before in 0..2 {
        let batches = (0..before).map(|_| Ok(batch(0..9))).chain([Err(failed.clone())]);
        assert_eq!(output.write_parquet(0, batches).unwrap_err(), failed);
    }
    let other = batch(0..9).project(&[0]).unwrap();
    let mixed = output.write_parquet(0, [Ok(batch(0..9)), Ok(other)]).unwrap_err();
    assert_eq!(
        (mixed.url.as_str(), mixed.message.as_str()),
        (place, "batch 1 has another schema than those before it")
    );
    let many = output.write_parquet(1_000_000, [Ok(batch(0..9))]).unwrap_err();
    assert_eq!(many.kind, ErrorKind::OverLimit);
    assert_eq!(store::open(place).unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn what_is_no_parquet_is_told_with_its_place() {
    let url = "memory://no-parquet/x.parquet";
    let whole = file(500, 100, Compression::SNAPPY);
    let size = whole.len();
    let footer_bytes = u32::from_le_bytes(whole[size - 8..size - 4].try_into().unwrap()) as usize;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    for (bytes, at, message) in [
        (b"".to_vec(), 0, "it is no Parquet"),
        (b"PAR1".to_vec(), 0, "it begins as Parquet and does not end so: it was cut off"),
        (b"carrier,delay\nAA,1\n".to_vec(), 15, "it is no Parquet"),
        (
            whole[..size - 1].to_vec(),
            size - 5,
            "it begins as Parquet and does not end so: it was cut off",
        ),
        (
            whole[..size / 2].to_vec(),
            size / 2 - 4,
            "it begins as Parquet and does not end so: it was cut off",
        ),
        (with(size - 4, b"PARE"), size - 4, "it is encrypted"),
        (
            with(size - 8, &u32::MAX.to_le_bytes()),
            size - 8,
            "its footer has 4294967295 bytes, it says",
        ),
        (with(size - 8, &(size as u32 - 8).to_le_bytes()), size - 8, "its footer has "),
        (with(size - 8, &0_u32.to_le_bytes()), size - 8, "it is broken"),
        (with(size - 8 - footer_bytes, &[0xff; 40]), size - 8 - footer_bytes, "it is broken"),
    ] {
        store::put(url, &bytes).unwrap();
        let failed = read_parquet(url, 1).unwrap_err();
        assert_eq!((failed.url.as_str(), failed.offset), (url, Some(at as u64)), "{failed}");
        assert!(failed.message.starts_with(message), "{failed}");
    }
    let mut large = vec![0; 20 << 20];
    large.extend((17_u32 << 20).to_le_bytes());
    large.extend(b"PAR1");
    store::put(url, large).unwrap();
    assert_eq!(read_parquet(url, 1).unwrap_err().kind, ErrorKind::OverLimit);
}

#[test]
fn a_file_that_is_not_what_was_planned_is_not_read() {
    let url = "memory://planned-parquet/x";
    store::put(url, file(500, 100, Compression::SNAPPY)).unwrap();
    let part = read_parquet(url, 1 << 20).unwrap().remove(0);
    let mut batches = part.batches().unwrap();
    batches.next().unwrap().unwrap();
    store::put(url, file(501, 100, Compression::SNAPPY)).unwrap();
    assert_eq!(part.batches().unwrap_err().kind, ErrorKind::Changed);
    // What is open already notices as well, and then ends.
    let failed = batches.next().unwrap().unwrap_err();
    assert_eq!((failed.kind, failed.url.as_str()), (ErrorKind::Changed, url));
    assert!(failed.offset.is_some() && batches.next().is_none());
}

/// A file whose footer says something else of its row groups.
fn with_footer(
    bytes: &[u8],
    change: impl Fn(RowGroupMetaDataBuilder) -> RowGroupMetaDataBuilder,
) -> Vec<u8> {
    let size = bytes.len();
    let length = u32::from_le_bytes(bytes[size - 8..size - 4].try_into().unwrap()) as usize;
    let (start, end) = (size - 8 - length, size - 8);
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[start..end]).unwrap();
    let mut builder = metadata.into_builder();
    let groups = builder.take_row_groups();
    for group in groups {
        builder = builder.add_row_group(change(group.into_builder()).build().unwrap());
    }
    let mut written = bytes[..start].to_vec();
    ParquetMetaDataWriter::new(&mut written, &builder.build()).finish().unwrap();
    written
}

/// As [`with_footer`], of each column.
fn with_columns(
    bytes: &[u8],
    change: impl Fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder,
) -> Vec<u8> {
    with_footer(bytes, |mut group| {
        let columns = group.take_columns().into_iter();
        let columns = columns.map(|column| change(column.into_builder()).build().unwrap());
        group.set_column_metadata(columns.collect())
    })
}

#[test]
fn what_is_compressed_otherwise_is_told() {
    let url = "memory://codec/x";
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let bytes = with_columns(&file(50, 100, Compression::SNAPPY), |it| it.set_compression(zstd));
    store::put(url, bytes).unwrap();
    let failed = try_read(url).unwrap_err();
    let message = "`number` is compressed by ZSTD; SNAPPY and UNCOMPRESSED are read here";
    assert!(failed.message.starts_with(message) && failed.offset == Some(4), "{failed}");
}

#[test]
fn a_footer_that_lies_is_told() {
    let url = "memory://lies/x";
    let whole = file(500, 100, Compression::SNAPPY);
    let rows = |rows| with_footer(&whole, |group| group.set_num_rows(rows));
    let columns = |change: fn(ColumnChunkMetaDataBuilder) -> ColumnChunkMetaDataBuilder| {
        with_columns(&whole, change)
    };
    for (bytes, message) in [
        (columns(|it| it.set_total_compressed_size(i64::MAX)), "do not lie in the file"),
        (
            columns(|it| it.set_total_compressed_size(1 << 20)),
            "the 1048576 bytes of `number` do not",
        ),
        (columns(|it| it.set_total_compressed_size(-1)), "do not lie in the file"),
        (columns(|it| it.set_dictionary_page_offset(Some(-4))), "do not lie in the file"),
        (columns(|it| it.set_dictionary_page_offset(Some(0))), "do not lie in the file"),
        (columns(|it| it.set_dictionary_page_offset(Some(i64::MAX))), "do not lie in the file"),
        (columns(|it| it.set_dictionary_page_offset(Some(10))), "here a page should begin"),
        (columns(|it| it.set_total_compressed_size(5)), ""),
        (columns(|it| it.set_compression(Compression::UNCOMPRESSED)), ""),
        (rows(101), "its row group ends 1 rows before it should"),
        (rows(i64::MAX / 8), "rows before it should"),
        (rows(99), ""),
        (rows(-1), "it has -1 rows"),
    ] {
        store::put(url, &bytes).unwrap();
        let failed = try_read(url).unwrap_err();
        assert!(failed.url == url && failed.offset.is_some(), "{failed}");
        assert!(failed.message.contains(message), "{failed} {message}");
    }
}

#[test]
fn a_page_that_lies_makes_no_room() {
    let url = "memory://lying-page/x";
    let mut bytes = file(50, 100, Compression::SNAPPY);
    // The first page has less than 8 KiB, so its number has two bytes: the five of 2 GiB have no place
    // there, but two of three bits more have.
    assert_eq!((bytes[4], bytes[6]), (0x15, 0x15));
    let header = [&bytes[4..7], &[0xfe, 0xff, 0xff, 0xff, 0x0f][..]].concat();
    let compressed = bytes[7..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 8;
    bytes.splice(4..compressed, header);
    store::put(url, &bytes).unwrap();
    let chunks = chunks::Chunks::new(Arc::new(store::open(url).unwrap()), [(4..999, Some(22))]);
    let mut page = parquet::file::reader::ChunkReader::get_read(&chunks, 4).unwrap();
    let failed = std::io::Read::read(&mut page, &mut [0; 8]).unwrap_err().to_string();
    assert!(failed.contains("a page cannot have 2147483647 bytes"), "{failed}");
    assert_eq!(chunks.take_failed().unwrap().offset, Some(4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_broken_anywhere_is_told_with_its_place(
        places in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        snappy in any::<bool>(),
    ) {
        let url = "memory://broken-parquet/x";
        let compression = if snappy { Compression::SNAPPY } else { Compression::UNCOMPRESSED };
        let mut bytes = file(200, 100, compression);
        for (place, byte) in &places {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        store::put(url, bytes).unwrap();
        // A changed value is none that is broken; but it is read, or there is an error with a place, or the
        // crate that reads panics; then the place is known, and the sandbox tells it.
        let read = std::panic::catch_unwind(|| try_read(url));
        match (read, place::current()) {
            (Ok(Ok(_)), None) => {}
            (Ok(Err(failed)), None) => {
                prop_assert!(failed.url == url && failed.offset.is_some(), "{}", failed);
            }
            (Err(_), Some(place)) => {
                prop_assert!(place.starts_with(&format!("`{url}` at byte ")), "{}", place);
                place::leave();
            }
            (read, place) => prop_assert!(false, "{:?} {:?}", read, place),
        }
    }
}
