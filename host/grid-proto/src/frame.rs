//! Frames: a length, then one rkyv archive. The length is bounded before a byte is read, and the
//! archive is validated before it is believed.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error as Rancor;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// Bytes of the length before each frame: a little-endian `u32`.
pub const HEADER_BYTES: usize = 4;
/// The longest frame that is read or written: one call with the largest inline arguments, and room.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// A frame that cannot be sent or believed.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Over [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
    /// Not a valid archive of the expected type.
    #[error("a frame of {length} bytes is not a valid message: {reason}")]
    Invalid {
        /// Its length.
        length: usize,
        /// What validation said.
        reason: String,
    },
    /// The message could not be written.
    #[error("a message could not be encoded: {0}")]
    Encode(String),
}

/// A type that travels in frames.
pub trait Message: Sized + Send + 'static {
    /// Writes the message behind its length.
    ///
    /// # Errors
    /// When it is longer than a frame may be.
    fn encode(&self) -> Result<Vec<u8>, FrameError>;

    /// Reads a message from a frame without its length.
    ///
    /// # Errors
    /// When the bytes are not a valid archive of this type.
    fn decode(frame: &AlignedVec) -> Result<Self, FrameError>;
}

impl<T> Message for T
where
    T: Archive
        + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Rancor>>
        + Send
        + 'static,
    T::Archived:
        for<'a> CheckBytes<HighValidator<'a, Rancor>> + Deserialize<T, HighDeserializer<Rancor>>,
{
    fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let archive =
            rkyv::to_bytes::<Rancor>(self).map_err(|e| FrameError::Encode(e.to_string()))?;
        if archive.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(archive.len()));
        }
        let length = u32::try_from(archive.len()).map_err(|e| FrameError::Encode(e.to_string()))?;
        let mut frame = Vec::with_capacity(HEADER_BYTES + archive.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&archive);
        Ok(frame)
    }

    fn decode(frame: &AlignedVec) -> Result<Self, FrameError> {
        let invalid =
            |error: Rancor| FrameError::Invalid { length: frame.len(), reason: error.to_string() };
        let archived = rkyv::access::<T::Archived, Rancor>(frame).map_err(invalid)?;
        rkyv::deserialize::<T, Rancor>(archived).map_err(invalid)
    }
}

/// The length that a header announces, if a frame may be that long.
///
/// # Errors
/// [`FrameError::TooLong`].
pub fn length(header: [u8; HEADER_BYTES]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(header) as usize;
    if length > FRAME_BYTES_MAX { Err(FrameError::TooLong(length)) } else { Ok(length) }
}
