//! What one call reads and writes piece by piece, in its worker's store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use grid_proto::{Codec, Key, Value};
use grid_sandbox::{ObjectAccess, ObjectError};
use grid_store::{RangeReader, Store, Writing, Written};

/// The objects of one call. It computes on one thread, so nobody waits for the locks.
pub(crate) struct Objects {
    store: Store,
    key: Key,
    written_bytes_max: u64,
    arguments: BTreeMap<u32, Mutex<Argument>>,
    result: Mutex<CallResult>,
    lost: Mutex<Vec<Key>>,
}

/// An argument that is read.
pub(crate) enum Argument {
    /// It came with the call.
    Value(Value),
    Object(Key, RangeReader),
}

/// The result while it is written.
enum CallResult {
    None,
    Writing(Writing),
    Whole(Written),
    Abandoned,
}

impl Objects {
    /// For a call whose result may have so many bytes when it is written piece by piece.
    pub(crate) fn new(
        store: &Store,
        key: Key,
        written_bytes_max: u64,
        arguments: BTreeMap<u32, Argument>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|(at, argument)| (at, Mutex::new(argument)));
        Self {
            store: store.clone(),
            key,
            written_bytes_max,
            arguments: arguments.collect(),
            result: Mutex::new(CallResult::None),
            lost: Mutex::default(),
        }
    }

    /// What was written to its end.
    pub(crate) fn take_written(&self) -> Option<Written> {
        let result = std::mem::replace(&mut *lock(&self.result), CallResult::Abandoned);
        match result {
            CallResult::Whole(written) => Some(written),
            CallResult::None | CallResult::Writing(_) | CallResult::Abandoned => None,
        }
    }

    /// Inputs that could not be read.
    pub(crate) fn take_lost(&self) -> Vec<Key> {
        std::mem::take(&mut *lock(&self.lost))
    }
}

impl ObjectAccess for Objects {
    fn argument(&self, position: u32) -> Option<(Codec, u64)> {
        match &*lock(self.arguments.get(&position)?) {
            Argument::Value(value) => Some((value.codec, value.bytes.len() as u64)),
            Argument::Object(_, reader) => Some((reader.meta().codec, reader.meta().size)),
        }
    }

    fn read(&self, position: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, ObjectError> {
        let argument = self.arguments.get(&position).ok_or(ObjectError::Lost)?;
        match &mut *lock(argument) {
            Argument::Value(Value { bytes, .. }) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let count = buffer.len().min(bytes.len() - start);
                buffer[..count].copy_from_slice(&bytes[start..start + count]);
                Ok(count)
            }
            Argument::Object(key, reader) => reader.read_at(offset, buffer).map_err(|error| {
                tracing::warn!(key = %key, %error, "an input cannot be read any more");
                self.store.remove(key);
                lock(&self.lost).push(*key);
                ObjectError::Lost
            }),
        }
    }

    fn begin(&self, codec: Codec) -> Result<(), ObjectError> {
        let mut result = lock(&self.result);
        if !matches!(*result, CallResult::None) {
            return Err(ObjectError::Refused("a call begins one result, once".to_owned()));
        }
        *result = CallResult::Writing(self.store.write(self.key, codec));
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<(), ObjectError> {
        let mut result = lock(&self.result);
        let CallResult::Writing(writing) = &mut *result else { return Err(ended()) };
        let max = self.written_bytes_max;
        if writing.size().saturating_add(bytes.len() as u64) > max {
            let message = format!(
                "the result has more than {max} bytes, which is this worker's limit: write less, or raise \
                 its `--written-max`"
            );
            return Err(ObjectError::OverLimit(message));
        }
        writing.write(bytes).map_err(|error| {
            *result = CallResult::Abandoned;
            unavailable(&error)
        })
    }

    fn finish(&self) -> Result<(), ObjectError> {
        let mut result = lock(&self.result);
        match std::mem::replace(&mut *result, CallResult::Abandoned) {
            CallResult::Writing(writing) => {
                let written = writing.finish().map_err(|error| unavailable(&error))?;
                *result = CallResult::Whole(written);
                Ok(())
            }
            other => {
                *result = other;
                Err(ended())
            }
        }
    }

    fn abandon(&self) {
        let mut result = lock(&self.result);
        if matches!(*result, CallResult::Writing(_)) {
            *result = CallResult::Abandoned;
        }
    }
}

fn ended() -> ObjectError {
    ObjectError::Refused("the result is whole, or was given up".to_owned())
}

fn unavailable(error: &std::io::Error) -> ObjectError {
    ObjectError::Unavailable(format!("the worker cannot keep the result: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
