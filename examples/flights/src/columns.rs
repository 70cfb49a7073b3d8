//! The columns of the CSV that matter here.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use csv::ByteRecord;

/// Where the columns are, from the file's header.
pub(crate) struct Columns {
    pub(crate) header: ByteRecord,
    carrier: usize,
    dep_delay: usize,
}

impl Columns {
    pub(crate) fn of(header: ByteRecord) -> Result<Self> {
        let position = |name: &str| {
            header.iter().position(|column| column == name.as_bytes()).ok_or_else(|| {
                let columns: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
                anyhow!("there is no column `{name}`; there are {}", columns.join(", "))
            })
        };
        let (carrier, dep_delay) = (position("carrier")?, position("dep_delay")?);
        Ok(Self { header, carrier, dep_delay })
    }

    /// Reads the header of a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut line = Vec::new();
        BufReader::new(open(path)?).read_until(b'\n', &mut line)?;
        let mut reader = csv::Reader::from_reader(line.as_slice());
        let header = reader.byte_headers()?.clone();
        Self::of(header).with_context(|| format!("`{}` is not this example's file", path.display()))
    }

    /// The carrier's code and the departure delay in minutes; `None` where it is missing.
    pub(crate) fn carrier_and_delay<'a>(
        &self,
        row: &'a ByteRecord,
    ) -> Result<(&'a str, Option<f64>)> {
        if row.len() != self.header.len() {
            bail!("it has {} fields, and the header has {}", row.len(), self.header.len());
        }
        let text = |column: usize| {
            let field = row.get(column).unwrap_or_default();
            std::str::from_utf8(field).context("it is not UTF-8")
        };
        let delay = match text(self.dep_delay)? {
            "NA" | "" => None,
            number => Some(
                number.parse().with_context(|| format!("its delay `{number}` is not a number"))?,
            ),
        };
        Ok((text(self.carrier)?, delay))
    }
}

pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read `{}`", path.display()))
}
