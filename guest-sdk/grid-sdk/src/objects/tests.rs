use std::io::{BufRead, Read, Seek, SeekFrom, Write};

use super::{BUFFER_BYTES, Reader, Writer};
use crate::value::{Codec, FromValue, IntoValue, Raw, Value};

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_reader_gives_its_bytes_in_order_and_from_any_place() {
    let bytes = bytes(2 * BUFFER_BYTES + 7);
    let mut reader = Reader::from(bytes.clone());
    assert_eq!((reader.size(), reader.codec()), (bytes.len() as u64, Codec::Raw));
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert!(all == bytes);
    assert_eq!(reader.fill_buf().unwrap(), b"", "at the end");
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), bytes.len() as u64 - 3);
    let mut last = Vec::new();
    reader.read_to_end(&mut last).unwrap();
    assert_eq!(last, bytes[bytes.len() - 3..]);
    reader.seek(SeekFrom::Start(5)).unwrap();
    reader.seek(SeekFrom::Current(-6)).unwrap_err();
    assert_eq!(reader.fill_buf().unwrap()[0], bytes[5]);
    assert_eq!(reader.read_at(9, 4), bytes[9..13]);
    assert_eq!(reader.read_at(bytes.len() as u64 - 2, 9), bytes[bytes.len() - 2..]);
    assert_eq!(reader.read_at(u64::MAX, 1), b"");
}

#[test]
fn a_writer_gives_what_was_written_in_pieces_of_any_size() {
    let bytes = bytes(3 * BUFFER_BYTES);
    for size in [1_000, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, bytes.len()] {
        let mut writer = Writer::begin(Codec::Arrow).unwrap();
        for piece in bytes.chunks(size) {
            writer.write_all(piece).unwrap();
        }
        let written = writer.finish().unwrap();
        assert_eq!(written.codec(), Codec::Arrow);
        assert!(written.into_bytes() == bytes, "{size}");
    }
}

#[test]
fn only_readers_are_lazy() {
    let lazy = [Reader::LAZY, Raw::LAZY, Vec::<u8>::LAZY, Value::LAZY];
    assert_eq!(lazy, [true, false, false, false]);
    let value = Raw(b"abc".to_vec()).into_value().unwrap();
    assert_eq!(Reader::from_argument(0, value).unwrap().read_at(1, 9), b"bc");
}
