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
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    if has_open_quote(line) {
        let message = "a line break lies inside of a quoted name of the header";
        return Err(error(ErrorKind::Other, url, Some(0), message));
    }
    let text = std::str::from_utf8(line)
        .map_err(|_| error(ErrorKind::Other, url, Some(0), "the header is not UTF-8"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a text ends inside of quotes. A quote inside of quotes is written twice.
fn has_open_quote(text: &[u8]) -> bool {
    text.iter().filter(|&&byte| byte == b'"').count() % 2 == 1
}

impl<T: DeserializeOwned> Rows<T> {
    pub(super) fn new(
        url: &str,
        start: u64,
        bytes: Vec<u8>,
        header: Option<&str>,
    ) -> Result<Self, Error> {
        if has_open_quote(&bytes) {
            let message = "a quote is not closed in this partition: either the file is broken, or a line \
                           break lies inside of quotes at one of its ends; take larger partitions";
            return Err(error(ErrorKind::Other, url, Some(start), message));
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
