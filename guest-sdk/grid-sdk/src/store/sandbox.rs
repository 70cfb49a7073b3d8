//! Stores, through `wit/store.wit`.

use super::{Entry, Error, ErrorKind};
use crate::bindings::grid::task::store as wit;

#[derive(Debug)]
pub(super) struct Object(wit::Object);

#[derive(Debug)]
pub(super) struct Listing(wit::Listing);

#[derive(Debug)]
pub(super) struct Writer(wit::Writer);

pub(super) fn open(url: &str) -> Result<(Object, Entry), Error> {
    let object = wit::open(url)?;
    let entry = object.describe().into();
    Ok((Object(object), entry))
}

pub(super) fn list(url: &str) -> Result<Listing, Error> {
    Ok(Listing(wit::list(url)?))
}

pub(super) fn put(url: &str, bytes: &[u8], if_absent: bool) -> Result<(), Error> {
    Ok(wit::put(url, bytes, if_absent)?)
}

pub(super) fn create(url: &str, if_absent: bool) -> Result<Writer, Error> {
    Ok(Writer(wit::create(url, if_absent)?))
}

impl Object {
    pub(super) fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        Ok(self.0.read(offset, length)?)
    }
}

impl Listing {
    pub(super) fn next(&mut self) -> Result<Vec<Entry>, Error> {
        Ok(self.0.next()?.into_iter().map(Entry::from).collect())
    }
}

impl Writer {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.0.write(bytes)?)
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        Ok(self.0.finish()?)
    }
}

impl From<wit::Entry> for Entry {
    fn from(wit::Entry { url, size, modified_ms }: wit::Entry) -> Self {
        Self { url, size, modified_ms }
    }
}

impl From<wit::Error> for Error {
    fn from(wit::Error { kind, url, offset, message }: wit::Error) -> Self {
        let kind = match kind {
            wit::ErrorKind::NotFound => ErrorKind::NotFound,
            wit::ErrorKind::Denied => ErrorKind::Denied,
            wit::ErrorKind::Credentials => ErrorKind::Credentials,
            wit::ErrorKind::Changed => ErrorKind::Changed,
            wit::ErrorKind::Exists => ErrorKind::Exists,
            wit::ErrorKind::Unavailable => ErrorKind::Unavailable,
            wit::ErrorKind::OverLimit => ErrorKind::OverLimit,
            wit::ErrorKind::Other => ErrorKind::Other,
        };
        Self { kind, url, offset, message }
    }
}
