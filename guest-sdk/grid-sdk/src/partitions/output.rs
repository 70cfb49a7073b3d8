//! Tables that calls write: a part for each partition.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::manifest::{self, Manifest};
use super::{PARTITIONS_MAX, error, of_io};
use crate::store::{self, Error, ErrorKind, Writer};

#[cfg(feature = "parquet")]
mod parquet;
#[cfg(test)]
mod tests;

/// Digits of a part's number: as many as the largest has, so that names sort as numbers do.
const DIGITS: usize = 6;
/// Bytes that are gathered before they are given to the store.
const BUFFER_BYTES: usize = 64 << 10;

/// A place below which calls write the parts of one table. It is small, an argument for them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What all of it lies below; it ends with `/`.
    pub url: String,
    /// Who began to write there.
    pub(super) run: String,
}

/// A part that is there, as a whole.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The object.
    pub url: String,
    /// The partition's number, from 0.
    pub number: u32,
    /// Its rows, without the header.
    pub rows: u64,
    /// Its bytes, with the header or the footer.
    pub bytes: u64,
}

/// Begins to write a table below a URL: leaves a manifest there that says that it is not whole. It is for
/// one call, whose result the calls that write take; those calls, this one and the last need to be granted
/// reading and writing there. If that call runs again, because its worker is gone, it goes on with what it
/// began; so its task says `pure = false`.
///
/// With `overwrite`, what is there loses its manifest at once and its parts one by one, as new ones take
/// their places.
///
/// # Errors
/// [`ErrorKind::Exists`] if anything is there and `overwrite` was not said; else see there.
pub fn begin(url: &str, overwrite: bool) -> Result<Output, Error> {
    if store::is_pattern(url) {
        let message = "a pattern is no place to write to";
        return Err(error(ErrorKind::Other, url, None, message));
    }
    let url = below(url);
    let output = Output { url, run: run() };
    if manifest::run_of(&output.url)?.as_ref() == Some(&output.run) {
        return Ok(output);
    }
    if !overwrite && let Some(found) = store::list(&output.url)?.next().transpose()? {
        let message = format!(
            "there is something already, `{}`: write elsewhere, or say that it be overwritten",
            found.url
        );
        return Err(error(ErrorKind::Exists, &output.url, None, message));
    }
    manifest::write_unfinished(&output, overwrite)?;
    Ok(output)
}

/// A URL as what others lie below.
pub(super) fn below(url: &str) -> String {
    format!("{}/", url.trim_end_matches('/'))
}

/// What the attempts of one call share.
#[cfg(target_family = "wasm")]
fn run() -> String {
    crate::context::current().key
}

/// Natively no call runs again.
#[cfg(not(target_family = "wasm"))]
fn run() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("native-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What a part is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Csv,
    Parquet,
}

impl Form {
    /// How names end.
    fn suffix(self) -> &'static str {
        match self {
            Self::Csv => ".csv",
            Self::Parquet => ".parquet",
        }
    }
}

/// The URL of a part.
pub(super) fn part_url(below: &str, number: u32, form: Form) -> String {
    format!("{below}part-{number:0DIGITS$}{}", form.suffix())
}

/// The number and the form of a part by its name.
pub(super) fn part_of_name(name: &str) -> Option<(u32, Form)> {
    let rest = name.strip_prefix("part-")?;
    let of = |form: Form| Some((rest.strip_suffix(form.suffix())?, form));
    let (digits, form) = of(Form::Csv).or_else(|| of(Form::Parquet))?;
    let are_digits = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| Some((digits.parse().ok()?, form)))?
}

/// Whether a URL has the name of a part.
#[cfg(feature = "parquet")]
pub(super) fn is_part(url: &str) -> bool {
    url.rsplit('/').next().and_then(part_of_name).is_some()
}

impl Output {
    /// Writes rows as the part of a partition's number: a CSV with a header, the names of the fields of
    /// `T`, or an empty object if there are no rows. It is there as a whole or not at all, and its name says
    /// nothing but the number: an attempt that is made again, or twice at the same time, replaces the part
    /// by itself, if it gives the same rows.
    ///
    /// Rows are written as they come, and none is held. The first that is an error ends it, so rows that
    /// are read can be handed on; any others are given by `map(Ok)`.
    ///
    /// # Errors
    /// That of a row; a row that has no names (a tuple), other fields than the first, or lists in its
    /// fields; a number of 1,000,000 or more; see [`ErrorKind`].
    pub fn write_csv<T: Serialize>(
        &self,
        number: u32,
        rows: impl IntoIterator<Item = Result<T, Error>>,
    ) -> Result<Part, Error> {
        let (url, object) = self.create(number, Form::Csv)?;
        let mut table = csv::WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(object);
        let mut count = 0;
        for row in rows {
            let row = row?;
            if count == 0 {
                check_names(&url, &row)?;
            }
            count += 1;
            table.serialize(row).map_err(|failed| unwritten(&url, count, failed))?;
        }
        table.flush().map_err(|failed| of_io(&url, failed))?;
        let object = table.into_inner().map_err(|failed| of_io(&url, failed.into_error()))?;
        object.writer.finish()?;
        Ok(Part { url, number, rows: count, bytes: object.bytes })
    }

    /// Begins a part.
    fn create(&self, number: u32, form: Form) -> Result<(String, Counted), Error> {
        let url = part_url(&self.url, number, form);
        if number as usize >= PARTITIONS_MAX {
            let message = format!("parts are numbered from 0 to {}", PARTITIONS_MAX - 1);
            return Err(error(ErrorKind::OverLimit, &url, None, message));
        }
        let object = Counted { writer: store::create(&url)?, bytes: 0 };
        Ok((url, object))
    }

    /// Says that these are all parts, in whatever order, by writing the manifest: from then on the table
    /// is whole. What else lies there under the name of a part, as of an earlier table that had more, is
    /// made empty, as a store has no way to take it away.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Changed`] if a part is not there as it was written, or
    /// somebody else has begun to write there; a number that comes twice; parts of CSV and of Parquet; else see
    /// [`ErrorKind`].
    pub fn finish(&self, mut parts: Vec<Part>) -> Result<Manifest, Error> {
        parts.sort_by_key(|part| part.number);
        for (part, after) in parts.iter().zip(parts.iter().skip(1)) {
            if part.number == after.number {
                return Err(error(ErrorKind::Other, &part.url, None, "this part was given twice"));
            }
        }
        self.check_forms(&parts)?;
        if manifest::run_of(&self.url)?.as_ref() != Some(&self.run) {
            let message = "somebody else has begun to write here since: nothing says what is whose";
            return Err(error(ErrorKind::Changed, &self.url, None, message));
        }
        for superfluous in self.superfluous(&parts)? {
            store::put(&superfluous, [])?;
        }
        manifest::write(self, parts)
    }

    /// Looks whether all parts belong here, and are written alike.
    fn check_forms(&self, parts: &[Part]) -> Result<(), Error> {
        let mut first = None;
        for part in parts {
            let name = part.url.strip_prefix(&self.url).and_then(part_of_name);
            let Some((_, form)) = name.filter(|(number, _)| *number == part.number) else {
                let message = format!("it is no part of what lies below `{}`", self.url);
                return Err(error(ErrorKind::Other, &part.url, None, message));
            };
            if *first.get_or_insert(form) != form {
                let message = "parts of one table are either all CSV or all Parquet";
                return Err(error(ErrorKind::Other, &part.url, None, message));
            }
        }
        Ok(())
    }

    /// Looks whether all parts are there, and which others are.
    fn superfluous(&self, parts: &[Part]) -> Result<Vec<String>, Error> {
        let mut awaited: BTreeMap<_, _> = parts.iter().map(|part| (&part.url, part)).collect();
        let mut superfluous = Vec::new();
        for entry in store::list(&self.url)? {
            let entry = entry?;
            match awaited.remove(&entry.url) {
                Some(part) if part.bytes == entry.size => {}
                Some(part) => {
                    let message =
                        format!("{} bytes were written, and {} are there", part.bytes, entry.size);
                    return Err(error(ErrorKind::Changed, &part.url, None, message));
                }
                None => {
                    let name = entry.url.strip_prefix(&self.url);
                    if name.and_then(part_of_name).is_some() && entry.size > 0 {
                        superfluous.push(entry.url);
                    }
                }
            }
        }
        match awaited.keys().next() {
            Some(missing) => Err(error(ErrorKind::NotFound, missing, None, "this part is missing")),
            None => Ok(superfluous),
        }
    }
}

/// An object that is being written, and how much that is.
struct Counted {
    writer: Writer,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    /// What is gathered here need not go to the store at once.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Looks whether a row's fields have names: without, nothing can read the parts by names.
fn check_names<T: Serialize>(url: &str, row: &T) -> Result<(), Error> {
    let bytes = |has_headers: bool| {
        let mut table = csv::WriterBuilder::new().has_headers(has_headers).from_writer(Vec::new());
        table.serialize(row)?;
        table.flush()?;
        Ok(table.into_inner().map_or(0, |bytes| bytes.len()))
    };
    let unwritten = |failed: csv::Error| unwritten(url, 1, failed);
    if bytes(true).map_err(unwritten)? > bytes(false).map_err(unwritten)? {
        return Ok(());
    }
    let message = "its rows have no names: write structs, whose fields have";
    Err(error(ErrorKind::Other, url, None, message))
}

fn unwritten(url: &str, number: u64, failed: csv::Error) -> Error {
    match failed.into_kind() {
        csv::ErrorKind::Io(failed) => of_io(url, failed),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let message =
                format!("row {number} has {len} fields, and those before it have {expected_len}");
            error(ErrorKind::Other, url, None, message)
        }
        csv::ErrorKind::Serialize(message) => {
            error(ErrorKind::Other, url, None, format!("row {number} is no row: {message}"))
        }
        other => {
            let failed = format!("row {number} cannot be written: {other:?}");
            error(ErrorKind::Other, url, None, failed)
        }
    }
}
