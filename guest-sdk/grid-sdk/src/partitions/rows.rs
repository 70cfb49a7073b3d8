//! Rows of CSV, with errors that say where.

use std::fmt::Display;
use std::io::Cursor;
use std::marker::PhantomData;
use std::str::FromStr;

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::{BYTE_ORDER_MARK, error};
use crate::store::{Error, ErrorKind, Lines, Pieces};

mod lines;
mod row;
mod wanted;

use wanted::Wanted;

/// The rows of a partition. After a row that cannot be read, the next one can.
pub struct Rows<T> {
    records: Records,
    row: PhantomData<fn() -> T>,
}

/// The rows of a partition, lent one by one: texts in them need not be copied.
///
/// A struct gets the columns that it has fields for, and of the others nothing is looked at but their number.
pub struct Records {
    url: String,
    header: Option<StringRecord>,
    /// What is not read yet.
    pieces: Pieces,
    source: Source,
    choice: Option<Choice>,
    record: StringRecord,
}

/// What the rows come from that are in memory; `start` is where those begin in the file.
enum Source {
    /// No quotes: a row is a line.
    Lines { start: u64, bytes: Vec<u8>, at: usize },
    /// Whatever CSV may have.
    Reader { start: u64, reader: Box<csv::Reader<Cursor<Vec<u8>>>>, bytes: ByteRecord },
}

/// What is wanted of each row.
struct Choice {
    /// Where the function is that says what a type wants.
    asked: usize,
    /// The columns in the order of the file; `None` are all.
    columns: Option<Vec<usize>>,
    /// The names of those.
    header: Option<StringRecord>,
    /// Fields are what [`row`] knows.
    simple: bool,
}

impl<T> std::fmt::Debug for Rows<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rows").field("url", &self.records.url).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Records").field("url", &self.url).finish_non_exhaustive()
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

impl Records {
    pub(super) fn new(url: &str, lines: Lines, header: Option<&str>) -> Result<Self, Error> {
        let header = header.map(|header| names(url, header)).transpose()?;
        let source = Source::Lines { start: 0, bytes: Vec::new(), at: 0 };
        let (url, record, pieces) = (url.to_owned(), StringRecord::new(), lines.into_pieces());
        let mut records = Self { url, header, pieces, source, choice: None, record };
        records.refill()?;
        Ok(records)
    }

    /// Goes to the next lines; false if there are none. With a quote among them, all that are left are read:
    /// a row may have several lines.
    fn refill(&mut self) -> Result<bool, Error> {
        self.source = Source::Lines { start: 0, bytes: Vec::new(), at: 0 };
        let Some((mut start, mut bytes)) = self.pieces.next()? else { return Ok(false) };
        if start == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
            start = BYTE_ORDER_MARK.len() as u64;
        }
        self.source = match lines::is_plain(&bytes) {
            true => Source::Lines { start, bytes, at: 0 },
            false => {
                while let Some((_, more)) = self.pieces.next()? {
                    bytes.extend_from_slice(&more);
                }
                of_any(&self.url, start, bytes)?
            }
        };
        Ok(true)
    }

    /// The next row; `None` at the end. It may borrow its texts, as `&str`.
    ///
    /// # Errors
    /// A row that is none, with its place; the next one can be read.
    pub fn next<'a, T: Deserialize<'a>>(&'a mut self) -> Option<Result<T, Error>> {
        // A type is asked once. Functions that are one and the same answer the same.
        let asked = wanted::of::<T> as fn() -> _;
        if self.choice.as_ref().is_none_or(|choice| choice.asked != asked as usize) {
            self.choice = Some(Choice::new(asked, self.header.as_ref()));
        }
        match self.advance() {
            Ok(offset) => Some(self.row(offset?)),
            Err(failed) => Some(Err(failed)),
        }
    }

    /// Goes to the next record; says where that begins, or that there is none.
    fn advance(&mut self) -> Result<Option<u64>, Error> {
        loop {
            if let Some(offset) = self.advance_here()? {
                return Ok(Some(offset));
            }
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// The same, of what is in memory.
    fn advance_here(&mut self) -> Result<Option<u64>, Error> {
        let Self { url, header, source, choice, record, .. } = self;
        let columns = choice.as_ref().and_then(|choice| choice.columns.as_deref());
        record.clear();
        let (offset, fields) = match source {
            Source::Lines { start, bytes, at } => {
                let Some((begin, end)) = next_line(bytes, at) else { return Ok(None) };
                (*start + begin as u64, split(&bytes[begin..end], columns, record))
            }
            Source::Reader { start, reader, bytes } => {
                // Bytes in memory cannot fail to be read.
                let read = reader.read_byte_record(bytes);
                let failed = |failed: csv::Error| {
                    error(ErrorKind::Other, url, Some(*start), failed.to_string())
                };
                if !read.map_err(failed)? {
                    return Ok(None);
                }
                let offset = *start + bytes.position().map_or(0, csv::Position::byte);
                (offset, choose(bytes, columns, record).map(|()| bytes.len()))
            }
        };
        let fields = fields.map_err(|field| {
            let what = format!("{} is not UTF-8", name(header.as_ref(), field as u64));
            error(ErrorKind::Other, url, Some(offset), what)
        })?;
        match header {
            Some(header) if header.len() != fields => {
                let what = format!("a row of {fields} fields, but the header has {}", header.len());
                Err(error(ErrorKind::Other, url, Some(offset), what))
            }
            Some(_) | None => Ok(Some(offset)),
        }
    }

    /// The record as what is wanted.
    fn row<'a, T: Deserialize<'a>>(&'a self, offset: u64) -> Result<T, Error> {
        let header = self.choice.as_ref().and_then(|choice| choice.header.as_ref());
        let wrong = |message: String| error(ErrorKind::Other, &self.url, Some(offset), message);
        if let (Some(Choice { simple: true, .. }), Some(names)) = (&self.choice, header) {
            return row::of(names, &self.record).map_err(|failed| match failed.field {
                Some(field) => wrong(format!("{}: {}", name(header, field as u64), failed.message)),
                None => wrong(failed.message),
            });
        }
        self.record.deserialize(header).map_err(|failed| match failed.kind() {
            csv::ErrorKind::Deserialize { err, .. } => match err.field() {
                Some(field) => wrong(format!("{}: {}", name(header, field), err.kind())),
                None => wrong(err.kind().to_string()),
            },
            _ => wrong(failed.to_string()),
        })
    }
}

/// The names in a header.
fn names(url: &str, header: &str) -> Result<StringRecord, Error> {
    let mut names = StringRecord::new();
    let read = reader(header.as_bytes().to_vec()).read_record(&mut names);
    let broken =
        |failed: csv::Error| error(ErrorKind::Other, url, Some(0), format!("the header: {failed}"));
    read.map(|_| names).map_err(broken)
}

/// Rows that may have quotes, if those are as they should be.
fn of_any(url: &str, start: u64, bytes: Vec<u8>) -> Result<Source, Error> {
    let broken = |at: usize, what: &str| {
        let message = format!(
            "{what}: either the file is broken, or this partition begins or ends at a line break \
             inside of quotes; then take larger partitions"
        );
        error(ErrorKind::Other, url, Some(start + at as u64), message)
    };
    match wrong_quote(&bytes) {
        Some(Quote::Open(at)) => Err(broken(at, "this quote is not closed")),
        Some(Quote::Early(at)) => Err(broken(at, "text stands behind a closing quote")),
        None => {
            let reader = Box::new(reader(bytes));
            Ok(Source::Reader { start, reader, bytes: ByteRecord::new() })
        }
    }
}

impl Choice {
    fn new(asked: fn() -> Wanted, header: Option<&StringRecord>) -> Self {
        let number = asked as usize;
        let (simple, wanted) = match asked() {
            Wanted::All => (false, None),
            Wanted::Fields(wanted) => (false, Some(wanted)),
            Wanted::Simple(wanted) => (true, Some(wanted)),
        };
        let (Some(names), Some(wanted)) = (header, wanted) else {
            return Self { asked: number, columns: None, header: header.cloned(), simple: false };
        };
        let columns = names.iter().enumerate().filter(|(_, name)| wanted.contains(name));
        let (columns, header) = columns.unzip::<_, _, Vec<_>, Vec<_>>();
        Self { asked: number, columns: Some(columns), header: Some(header.into()), simple }
    }
}

/// What a column is called in an error.
fn name(header: Option<&StringRecord>, field: u64) -> String {
    let name = usize::try_from(field).ok().and_then(|field| header?.get(field));
    name.map_or_else(|| format!("field {}", field + 1), |name| format!("`{name}`"))
}

/// Where the next line begins and ends that is not empty.
fn next_line(bytes: &[u8], at: &mut usize) -> Option<(usize, usize)> {
    while *at < bytes.len() {
        let begin = *at;
        let (end, next) = lines::line_end(bytes, begin);
        *at = next;
        if end > begin {
            return Some((begin, end));
        }
    }
    None
}

/// Takes the wanted fields of a line and says how many it has, or which one is no text.
fn split(
    line: &[u8],
    columns: Option<&[usize]>,
    record: &mut StringRecord,
) -> Result<usize, usize> {
    let mut push = |number: usize, field: &[u8]| {
        let text = std::str::from_utf8(field).map_err(|_| number)?;
        record.push_field(text);
        Ok(())
    };
    let Some(columns) = columns else {
        let fields = line.split(|byte| *byte == b',').enumerate();
        fields.clone().try_for_each(|(number, field)| push(number, field))?;
        return Ok(fields.count());
    };
    let mut wanted = columns.iter().copied();
    let mut next = wanted.next();
    let (mut number, mut begin) = (0, 0);
    let mut pushed = Ok(());
    let commas = lines::commas(line, |comma| {
        if next == Some(number) {
            pushed = pushed.and_then(|()| push(number, &line[begin..comma]));
            next = wanted.next();
        }
        (number, begin) = (number + 1, comma + 1);
        next.is_some()
    });
    if next == Some(commas) {
        pushed = pushed.and_then(|()| push(commas, &line[begin..]));
    }
    pushed.map(|()| commas + 1)
}

/// Takes the wanted fields of a record, or says which one is no text.
fn choose(
    bytes: &ByteRecord,
    columns: Option<&[usize]>,
    record: &mut StringRecord,
) -> Result<(), usize> {
    let mut wanted = columns.map(|columns| columns.iter().copied().peekable());
    for (number, field) in bytes.iter().enumerate() {
        let is_wanted =
            |columns: &mut std::iter::Peekable<_>| columns.next_if_eq(&number).is_some();
        if wanted.as_mut().is_none_or(is_wanted) {
            record.push_field(std::str::from_utf8(field).map_err(|_| number)?);
        }
    }
    Ok(())
}

/// A number, or whatever else can be read from a text, that may be missing: nothing, or `NA` as R writes it.
/// Of a plain `Option`, only nothing is missing, and `NA` is an error.
///
/// ```
/// # use grid_sdk::{partitions, store};
/// #[derive(serde::Deserialize)]
/// struct Flight {
///     #[serde(deserialize_with = "partitions::optional")]
///     delay: Option<f64>,
/// }
///
/// store::put("memory://optional/in.csv", "delay\n2\nNA\n").unwrap();
/// let part = partitions::read_csv("memory://optional/in.csv", 16 << 20).unwrap().remove(0);
/// let delays = part.rows::<Flight>().unwrap().map(|flight| flight.unwrap().delay);
/// assert_eq!(delays.collect::<Vec<_>>(), [Some(2.0), None]);
/// ```
///
/// # Errors
/// A text that is neither.
pub fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    match <&str>::deserialize(deserializer)? {
        "" | "NA" => Ok(None),
        text => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(failed) => Err(serde::de::Error::custom(format_args!("`{text}`: {failed}"))),
        },
    }
}

impl<T: DeserializeOwned> Rows<T> {
    pub(super) fn new(records: Records) -> Self {
        Self { records, row: PhantomData }
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.records.next::<T>()
    }
}
