//! Tasks with a directory of their own.

use std::ffi::{CString, c_char, c_int};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

use grid_sdk::task;

const OWN: &str = "/scratch";

fn path(name: &str) -> String {
    format!("{OWN}/{name}")
}

fn why(error: &io::Error) -> String {
    error.to_string().to_lowercase()
}

/// What is there at the beginning; then leaves a file and a directory of these names.
#[task(pure = false, scratch = "1MiB")]
pub fn scratch_begin(name: String) -> io::Result<Vec<String>> {
    let found = fs::read_dir(OWN)?.map(|entry| Ok(entry?.file_name().display().to_string()));
    let found = found.collect::<io::Result<_>>()?;
    fs::write(path(&name), b"here")?;
    fs::create_dir(path("directory"))?;
    fs::rename(path(&name), path("directory/moved"))?;
    assert_eq!(fs::read(path("directory/moved"))?, b"here");
    Ok(found)
}

/// Writes pieces of so many bytes, each to a file of its own that is removed again if `remove`, until
/// that fails. Gives the bytes that were taken, and why no more were.
#[task(pure = false, scratch = "1MiB", timeout = "60s")]
pub fn scratch_fill(piece: usize, remove: bool) -> (usize, String) {
    let (bytes, mut taken) = (vec![7; piece], 0);
    for number in 0..1_000_000 {
        let file = path(&format!("file-{number}"));
        if let Err(error) = fs::write(&file, &bytes) {
            return (taken, why(&error));
        }
        taken += piece;
        if remove {
            fs::remove_file(&file).expect("it is there");
        }
    }
    (taken, String::new())
}

/// The same by appending to one file.
#[task(pure = false, scratch = "1MiB", timeout = "60s")]
pub fn scratch_append(piece: usize) -> io::Result<(u64, String)> {
    let mut file = OpenOptions::new().create(true).append(true).open(path("one"))?;
    let bytes = vec![7; piece];
    for _ in 0..1_000_000 {
        if let Err(error) = file.write_all(&bytes) {
            return Ok((file.metadata()?.len(), why(&error)));
        }
    }
    Ok((file.metadata()?.len(), String::new()))
}

/// Makes a file as large as it likes without writing, and reads its end.
#[task(pure = false, scratch = "1MiB")]
pub fn scratch_hole(bytes: u64) -> io::Result<u64> {
    let file = File::create(path("hole"))?;
    file.set_len(bytes)?;
    Ok(file.metadata()?.len())
}

#[cfg(target_family = "wasm")]
unsafe extern "C" {
    fn symlink(to: *const c_char, from: *const c_char) -> c_int;
}

#[cfg(not(target_family = "wasm"))]
unsafe fn symlink(_to: *const c_char, _from: *const c_char) -> c_int {
    -1
}

/// Tries to reach a file by way of a link, a name with dots, and a hard link; and to leave a file
/// outside. What came of each.
#[task(pure = false, scratch = "1MiB", writes = "/out")]
pub fn scratch_climb(target: String) -> io::Result<Vec<String>> {
    let told = |result: io::Result<String>| match result {
        Ok(text) => format!("read {text}"),
        Err(error) => format!("refused: {:?}", error.kind()),
    };
    let c_text = |text: &str| CString::new(text).expect("it has no zero");
    let (to, from) = (c_text(&target), c_text(&path("link")));
    // SAFETY: both are texts that end with a zero.
    let made = unsafe { symlink(to.as_ptr(), from.as_ptr()) } == 0;
    let mut outcomes = vec![told(fs::read_to_string(path("link"))), format!("link made: {made}")];
    outcomes.push(told(fs::read_to_string(format!("{OWN}/../../../..{target}"))));
    fs::write(path("inside"), b"inside")?;
    for result in [
        fs::hard_link(path("inside"), "/out/hard"),
        fs::rename(path("inside"), "/out/renamed"),
        fs::hard_link("/out/known", path("hard")),
    ] {
        outcomes.push(told(result.map(|()| "a way out".to_owned())));
    }
    Ok(outcomes)
}
