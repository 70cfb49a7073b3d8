//! What says that a table of parts is whole.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::output::{Form, Output, Part, below, part_of_name, part_url};
use super::{Partition, cut_csv, error, first_line, of_io, rows};
use crate::store::{self, Error, ErrorKind, Object};

const NAME: &str = "_manifest.json";
/// What is copied at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// A table of parts that is whole, as its manifest says: `_manifest.json` beside them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// What all of it lies below; it ends with `/`.
    pub url: String,
    /// The parts in the order of their numbers.
    pub parts: Vec<Part>,
}

/// The object.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Whether the parts are all there.
    finished: bool,
    /// Who wrote it.
    run: String,
    rows: u64,
    bytes: u64,
    parts: Vec<StoredPart>,
}

#[derive(Serialize, Deserialize)]
struct StoredPart {
    name: String,
    rows: u64,
    bytes: u64,
}

fn url_of(below: &str) -> String {
    format!("{below}{NAME}")
}

/// Who wrote, or writes, what lies below a URL; `None` if that has no manifest, or none of ours.
pub(super) fn run_of(below: &str) -> Result<Option<String>, Error> {
    match store::read(&url_of(below)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok().map(|stored: Stored| stored.run)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says that what lies there is not whole.
pub(super) fn write_unfinished(output: &Output, overwrite: bool) -> Result<(), Error> {
    let run = output.run.clone();
    let stored = Stored { finished: false, run, rows: 0, bytes: 0, parts: Vec::new() };
    let url = url_of(&output.url);
    let bytes = encode(&url, &stored)?;
    if overwrite { store::put(&url, bytes) } else { store::put_if_absent(&url, bytes) }
}

/// Says that it is whole.
pub(super) fn write(output: &Output, parts: Vec<Part>) -> Result<Manifest, Error> {
    let manifest = Manifest { url: output.url.clone(), parts };
    let name = |part: &Part| part.url[manifest.url.len()..].to_owned();
    let parts = manifest.parts.iter();
    let stored = Stored {
        finished: true,
        run: output.run.clone(),
        rows: manifest.rows(),
        bytes: manifest.bytes(),
        parts: parts
            .map(|part| StoredPart { name: name(part), rows: part.rows, bytes: part.bytes })
            .collect(),
    };
    let url = url_of(&output.url);
    store::put(&url, encode(&url, &stored)?)?;
    Ok(manifest)
}

fn encode(url: &str, stored: &Stored) -> Result<Vec<u8>, Error> {
    let failed = |failed: serde_json::Error| error(ErrorKind::Other, url, None, failed.to_string());
    let mut bytes = serde_json::to_vec_pretty(stored).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

impl Manifest {
    /// The manifest of the table below a URL.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it has none; one that is not finished, because its writer is at work or
    /// has failed; one that [`Output::finish`] did not write; else see [`ErrorKind`].
    pub fn read(url: &str) -> Result<Self, Error> {
        let below = below(url);
        let url = url_of(&below);
        let wrong = |message: String| error(ErrorKind::Other, &url, None, message);
        let bytes = store::read(&url)?;
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|failed| wrong(format!("it is no manifest of parts: {failed}")))?;
        if !stored.finished {
            let message =
                "the table is not whole: whoever writes it has not finished, or has failed";
            return Err(wrong(message.to_owned()));
        }
        let part = |StoredPart { name, rows, bytes }| {
            let (number, form) = part_of_name(&name)
                .ok_or_else(|| wrong(format!("`{name}` is not the name of a part")))?;
            Ok(Part { url: part_url(&below, number, form), number, rows, bytes })
        };
        let parts = stored.parts.into_iter().map(part).collect::<Result<_, Error>>()?;
        Ok(Self { url: below, parts })
    }

    /// The rows of all parts.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Cuts the parts, and nothing else that lies there, into partitions as [`super::read_csv`] does.
    ///
    /// # Errors
    /// As there; [`ErrorKind::Changed`] if a part is not what was written; a table of Parquet.
    pub fn read_csv(&self, block_bytes: u64) -> Result<Vec<Partition>, Error> {
        self.check_form(Form::Csv, "it is Parquet: cut it by `read_parquet`")?;
        let mut partitions = Vec::new();
        for part in self.parts.iter().filter(|part| part.bytes > 0) {
            cut_csv(&open(part)?, block_bytes, &mut partitions)?;
        }
        Ok(partitions)
    }

    /// Cuts the parts, and nothing else that lies there, into partitions as [`super::read_parquet`] does.
    ///
    /// # Errors
    /// As there; [`ErrorKind::Changed`] if a part is not what was written; a table of CSV.
    #[cfg(feature = "parquet")]
    pub fn read_parquet(&self, block_bytes: u64) -> Result<Vec<Partition>, Error> {
        self.check_form(Form::Parquet, "it is CSV: cut it by `read_csv`")?;
        let mut partitions = Vec::new();
        for part in self.parts.iter().filter(|part| part.bytes > 0) {
            super::parquet::cut_parquet(&open(part)?, block_bytes, &mut partitions)?;
        }
        Ok(partitions)
    }

    /// Looks whether all parts are written so.
    fn check_form(&self, form: Form, otherwise: &str) -> Result<(), Error> {
        let is_other = |part: &&Part| {
            let name = part.url.rsplit('/').next().and_then(part_of_name);
            name.is_none_or(|(_, of_name)| of_name != form)
        };
        match self.parts.iter().find(is_other) {
            Some(part) => Err(error(ErrorKind::Other, &part.url, None, otherwise)),
            None => Ok(()),
        }
    }

    /// Writes the rows of all parts, in the order of their numbers, to one object with one header; gives
    /// its bytes. It is there when it is whole, in the place of what may be there. Little of it is in
    /// memory at a time.
    ///
    /// # Errors
    /// A table of Parquet, whose parts are read one by one; a part that is gone, is not what was written, or has another header than those before it; a URL
    /// among the parts; else see [`ErrorKind`].
    pub fn concat(&self, url: &str) -> Result<u64, Error> {
        if url.starts_with(&self.url) {
            let message = "it would lie among the parts: choose another place";
            return Err(error(ErrorKind::Other, url, None, message));
        }
        self.check_form(
            Form::Csv,
            "parts of Parquet are not put together: what reads them reads many",
        )?;
        let mut writer = store::create(url)?;
        let mut written = 0;
        let mut write = |bytes: &[u8]| {
            written += bytes.len() as u64;
            writer.write_all(bytes).map_err(|failed| of_io(url, failed))
        };
        let mut header: Option<Vec<u8>> = None;
        for part in self.parts.iter().filter(|part| part.bytes > 0) {
            let object = open(part)?;
            let names = first_line(&object)?;
            let start = names.len() as u64;
            match &header {
                None => {
                    rows::header(&part.url, &names)?;
                    write(&names)?;
                    header = Some(names);
                }
                Some(first) if *first != names => {
                    let message = "its header is not that of the parts before it";
                    return Err(error(ErrorKind::Other, &part.url, Some(0), message));
                }
                Some(_) => {}
            }
            let mut at = start;
            while at < object.size() {
                let piece = object.read(at..object.size().min(at + PIECE_BYTES))?;
                if piece.is_empty() {
                    return Err(changed(part, Some(at)));
                }
                write(&piece)?;
                at += piece.len() as u64;
            }
        }
        writer.finish()?;
        Ok(written)
    }
}

/// Opens a part, if it is what was written.
fn open(part: &Part) -> Result<Object, Error> {
    let object = store::open(&part.url)?;
    if object.size() == part.bytes { Ok(object) } else { Err(changed(part, None)) }
}

fn changed(part: &Part, offset: Option<u64>) -> Error {
    let message = format!("it is not the part of {} bytes that was written", part.bytes);
    error(ErrorKind::Changed, &part.url, offset, message)
}
