//! Frames from whoever sends them: bytes are a message or an error, and nothing else happens. A
//! message that was read is written and read again as the same.

use std::fmt::Debug;

use grid_proto::frame::{HEADER_BYTES, Message};
use grid_proto::message::{FromClient, FromWorker, ToClient, ToWorker};
use rkyv::util::AlignedVec;

/// Reads a frame as each of the messages that travel on the streams of clients and workers. Says as
/// how many of them it can be read.
///
/// # Errors
/// A message that does not survive a second journey.
pub fn read(bytes: &[u8]) -> Result<u32, String> {
    let readers = [
        there_and_back::<Vec<FromClient>>,
        there_and_back::<Vec<FromWorker>>,
        there_and_back::<Vec<ToClient>>,
        there_and_back::<Vec<ToWorker>>,
    ];
    let mut read = 0;
    for reader in readers {
        read += u32::from(reader(bytes)?);
    }
    Ok(read)
}

fn there_and_back<T: Message + Debug>(bytes: &[u8]) -> Result<bool, String> {
    let Ok(message) = T::decode(&aligned(bytes)) else { return Ok(false) };
    let again = message.encode().map_err(|error| error.to_string())?;
    let again = T::decode(&aligned(&again[HEADER_BYTES..])).map_err(|error| error.to_string())?;
    // Not all of them can be compared; a number that is none differs from itself anyway.
    let (message, again) = (format!("{message:?}"), format!("{again:?}"));
    if message == again { Ok(true) } else { Err(format!("{message} became {again}")) }
}

fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    aligned
}
