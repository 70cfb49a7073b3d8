//! Part files: the rows that a block gave, in a file of its own that is whole or not there.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A part file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Its name below the directory of parts.
    pub name: String,
    /// Its rows, without the header.
    pub rows: u64,
}

/// Writes a part: under another name first, which then becomes its name. An attempt that dies half
/// way leaves no half part, and one that is repeated replaces the part by an equal one.
///
/// # Errors
/// Those of `write`, and of the file system.
pub fn write(
    root: &Path,
    run: &str,
    number: u32,
    attempt: u32,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<u64>,
) -> Result<Part> {
    let directory = root.join(run);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    // What earlier attempts left: they died, or whatever they still say is not listened to.
    for earlier in 0..attempt {
        let _ = fs::remove_file(directory.join(partial(number, earlier)));
    }
    let name = format!("part-{number:05}.csv");
    let path = directory.join(partial(number, attempt));
    let failed = || format!("cannot write `{}`", path.display());
    let mut file = BufWriter::new(File::create(&path).with_context(failed)?);
    let written =
        write(&mut file).and_then(|rows| file.flush().with_context(failed).map(|()| rows));
    let rows = written.inspect_err(|_| drop(fs::remove_file(&path)))?;
    fs::rename(&path, directory.join(&name)).with_context(failed)?;
    Ok(Part { name: format!("{run}/{name}"), rows })
}

fn partial(number: u32, attempt: u32) -> String {
    format!(".part-{number:05}.{attempt}")
}
