//! What a worker keeps, through `wit/worker-local.wit`.

use super::Error;
use crate::bindings::grid::task::worker_local as wit;

pub(super) fn get(key: &str) -> Option<Vec<u8>> {
    wit::get(key)
}

pub(super) fn put_if_absent(key: &str, bytes: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    wit::put_if_absent(key, &bytes).map_err(|error| match error {
        wit::Error::OverLimit(message) => Error::OverLimit(message),
        wit::Error::Unavailable(message) => Error::Unavailable(message),
    })
}

pub(super) fn take(key: &str) -> Option<Vec<u8>> {
    wit::take(key)
}
