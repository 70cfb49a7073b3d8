//! Rows of CSV, with errors that say where.

use std::io::Cursor;
use std::marker::PhantomData;

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde::de::DeserializeOwned;

use super::{BYTE_ORDER_MARK, error};
use crate::store::{Error, ErrorKind};

/// The rows of a partition. After a row that cannot be read, the next one can.
pub struct Rows<T> {
    url: String,
    /// Where the first row begins in the file.
    start: u64,
    reader: csv::Reader<Cursor<Vec<u8>>>,
    header: Option<StringRecord>,
    row: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Rows<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rows").field("url", &self.url).finish_non_exhaustive()
    }
}

fn reader(bytes: Vec<u8>) -> csv::Reader<Cursor<Vec<u8>>> {
    // The number of fields is compared with the header's here.
    ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Cursor::new(bytes))
}

/// The text of a first line, without a mark in front of it and its end.
pub(super) fn header(url: &str, line: &[u8]) -> Result<String, Error> {
    let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let wrong = |at: usize, message: &str| {
        error(ErrorKind::Other, url, Some((line.len() - text.len() + at) as u64), message)
    };
    match wrong_quote(text) {
        Some(Quote::Open(at)) => {
            return Err(wrong(at, "a line break lies inside of a quoted name of the header"));
        }
        Some(Quote::Early(at)) => return Err(wrong(at, "text stands behind a closing quote")),
        None => {}
    }
    let text = std::str::from_utf8(text)
        .map_err(|failed| wrong(failed.valid_up_to(), "the header is not UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What is wrong with quotes, and at which byte.
enum Quote {
    /// It opens, and nothing closes it.
    Open(usize),
    /// Something else than the end of a field stands behind the one that closes.
    Early(usize),
}

/// Looks for quotes that are not as they should be. One opens a field where that begins, is an ordinary
/// character further on, and stands for itself in quotes if it is doubled.
fn wrong_quote(text: &[u8]) -> Option<Quote> {
    enum At {
        Begin,
        Plain,
        Quoted,
        Closed,
    }
    if !text.contains(&b'"') {
        return None;
    }
    let mut at = At::Begin;
    let mut opened = 0;
    for (place, byte) in text.iter().enumerate() {
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) => At::Quoted,
            (At::Closed, b'"') => At::Quoted,
            (At::Begin, b'"') => {
                opened = place;
                At::Quoted
            }
            (At::Begin | At::Plain | At::Closed, b',' | b'\n' | b'\r') => At::Begin,
            (At::Begin | At::Plain, _) => At::Plain,
            (At::Closed, _) => return Some(Quote::Early(place)),
        };
    }
    match at {
        At::Quoted => Some(Quote::Open(opened)),
        At::Begin | At::Plain | At::Closed => None,
    }
}

impl<T: DeserializeOwned> Rows<T> {
    pub(super) fn new(
        url: &str,
        start: u64,
        bytes: Vec<u8>,
        header: Option<&str>,
    ) -> Result<Self, Error> {
        let marked = start == 0 && bytes.starts_with(BYTE_ORDER_MARK);
        let (start, bytes) = match marked {
            true => (BYTE_ORDER_MARK.len() as u64, bytes[BYTE_ORDER_MARK.len()..].to_vec()),
            false => (start, bytes),
        };
        let broken = |at: usize, what: &str| {
            let message = format!(
                "{what}: either the file is broken, or this partition begins or ends at a line break \
                 inside of quotes; then take larger partitions"
            );
            error(ErrorKind::Other, url, Some(start + at as u64), message)
        };
        match wrong_quote(&bytes) {
            Some(Quote::Open(at)) => return Err(broken(at, "this quote is not closed")),
            Some(Quote::Early(at)) => return Err(broken(at, "text stands behind a closing quote")),
            None => {}
        }
        let header = header.map(|header| {
            let mut names = StringRecord::new();
            let read = reader(header.as_bytes().to_vec()).read_record(&mut names);
            let broken = |failed: csv::Error| {
                error(ErrorKind::Other, url, Some(0), format!("the header: {failed}"))
            };
            read.map(|_| names).map_err(broken)
        });
        let header = header.transpose()?;
        Ok(Self { url: url.to_owned(), start, reader: reader(bytes), header, row: PhantomData })
    }

    fn row(&self, record: ByteRecord) -> Result<T, Error> {
        let offset = self.start + record.position().map_or(0, csv::Position::byte);
        let wrong = |message: String| error(ErrorKind::Other, &self.url, Some(offset), message);
        if let Some(header) = &self.header
            && header.len() != record.len()
        {
            let (has, names) = (record.len(), header.len());
            return Err(wrong(format!("a row of {has} fields, but the header has {names}")));
        }
        let record = StringRecord::from_byte_record(record).map_err(|failed| {
            wrong(format!("{} is not UTF-8", self.name(failed.utf8_error().field() as u64)))
        })?;
        record.deserialize(self.header.as_ref()).map_err(|failed| match failed.kind() {
            csv::ErrorKind::Deserialize { err, .. } => match err.field() {
                Some(field) => wrong(format!("{}: {}", self.name(field), err.kind())),
                None => wrong(err.kind().to_string()),
            },
            _ => wrong(failed.to_string()),
        })
    }

    fn name(&self, field: u64) -> String {
        let name = usize::try_from(field).ok().and_then(|field| self.header.as_ref()?.get(field));
        name.map_or_else(|| format!("field {}", field + 1), |name| format!("`{name}`"))
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Some(self.row(record)),
            Ok(false) => None,
            // Bytes in memory cannot fail to be read.
            Err(failed) => {
                Some(Err(error(ErrorKind::Other, &self.url, Some(self.start), failed.to_string())))
            }
        }
    }
}
