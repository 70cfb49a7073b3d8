//! What is read at the moment: a broken page may make the crate that reads it panic, and then it is this that
//! says where.

use std::cell::RefCell;

use super::chunks::Chunks;

thread_local! {
    static READING: RefCell<Option<(String, Chunks)>> = const { RefCell::new(None) };
}

/// From here on this is read.
pub(super) fn enter(url: &str, chunks: &Chunks) {
    READING.set(Some((url.to_owned(), chunks.clone())));
}

/// Nothing is read any more.
pub(super) fn leave() {
    READING.set(None);
}

/// What is read and where, if anything is.
#[cfg(any(test, target_family = "wasm"))]
pub(crate) fn current() -> Option<String> {
    let place = |(url, chunks): &(String, Chunks)| format!("`{url}` at byte {}", chunks.page());
    READING.with_borrow(|reading| reading.as_ref().map(place))
}
