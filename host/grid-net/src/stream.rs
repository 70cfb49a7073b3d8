//! Streams: a prelude, then frames or bare bytes.

use grid_proto::frame::{self, FrameError, HEADER_BYTES, Message};
use rkyv::util::AlignedVec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::NetError;

const MAGIC: [u8; 4] = *b"GRID";
const PRELUDE_BYTES: usize = 8;
/// What is allocated for bytes of which nothing has come yet.
const FIRST_BYTES: usize = 1 << 20;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A client's control stream to the scheduler.
    Client,
    /// A worker's control stream to the scheduler.
    Worker,
    /// One request and the bytes that answer it.
    Bulk,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::Worker => 2,
            Self::Bulk => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Client, Self::Worker, Self::Bulk].into_iter().find(|kind| kind.code() == code)
    }
}

/// The sending half of a stream.
pub struct SendStream {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
}

/// The receiving half of a stream.
pub struct RecvStream {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    partial: Partial,
}

/// What has arrived of a frame. It is kept here and not in the future of [`RecvStream::recv`], which
/// may be dropped half way.
#[derive(Default)]
struct Partial {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    frame: AlignedVec,
    frame_filled: usize,
}

impl SendStream {
    pub(crate) fn new(inner: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: Box::new(inner) }
    }

    /// Sends one message as a frame.
    ///
    /// # Errors
    /// When it is too long for a frame, or the stream is closed.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), NetError> {
        self.send_bytes(&message.encode()?).await
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the stream is closed.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        self.inner.write_all(bytes).await?;
        Ok(())
    }

    /// Tells the other end that nothing more comes.
    ///
    /// # Errors
    /// When the stream is closed.
    pub async fn finish(&mut self) -> Result<(), NetError> {
        self.inner.shutdown().await?;
        Ok(())
    }
}

impl RecvStream {
    pub(crate) fn new(inner: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self { inner: Box::new(inner), partial: Partial::default() }
    }

    /// The next message; `None` when the other end has finished. The future may be dropped and
    /// `recv` called anew: nothing that arrived is lost.
    ///
    /// # Errors
    /// When a frame is too long, cut off, or no valid message.
    pub async fn recv<M: Message>(&mut self) -> Result<Option<M>, NetError> {
        let Self { inner, partial } = self;
        // Only `read` is awaited: unlike `read_exact`, it has either read or it has not.
        while partial.header_filled < HEADER_BYTES {
            match inner.read(&mut partial.header[partial.header_filled..]).await? {
                0 if partial.header_filled == 0 => return Ok(None),
                0 => return Err(cut_off()),
                count => partial.header_filled += count,
            }
        }
        let length = frame::length(partial.header)?;
        while partial.frame_filled < length {
            if partial.frame_filled == partial.frame.len() {
                // Grows with what arrives: a header alone makes nobody allocate megabytes.
                let grown = partial.frame_filled.max(1 << 15) * 2;
                partial.frame.resize(length.min(grown), 0);
            }
            match inner.read(&mut partial.frame[partial.frame_filled..]).await? {
                0 => return Err(cut_off()),
                count => partial.frame_filled += count,
            }
        }
        let Partial { frame, .. } = std::mem::take(partial);
        Ok(Some(M::decode(&frame)?))
    }

    /// Exactly `size` bytes.
    ///
    /// # Errors
    /// When the stream ends before.
    pub async fn recv_bytes(&mut self, size: usize) -> Result<Vec<u8>, NetError> {
        let mut bytes = Vec::new();
        self.recv_rest(&mut bytes, size).await?;
        Ok(bytes)
    }

    /// What is left of `size` bytes, of which `bytes` are there: what has arrived stays there, though
    /// the stream may end or the future be dropped.
    ///
    /// # Errors
    /// When the stream ends before.
    pub async fn recv_rest(&mut self, bytes: &mut Vec<u8>, size: usize) -> Result<(), NetError> {
        let mut limited = (&mut self.inner).take(size.saturating_sub(bytes.len()) as u64);
        while bytes.len() < size {
            if bytes.len() == bytes.capacity() {
                make_room(bytes, size);
            }
            if limited.read_buf(bytes).await? == 0 {
                let length = bytes.len();
                return Err(NetError::Closed(format!("{length} of {size} bytes arrived")));
            }
        }
        Ok(())
    }
}

/// A size alone makes nobody allocate much: room for all of it, which the system gives page by page as it
/// is used, is taken when some has come. Growing piece by piece would copy it all once more.
fn make_room(bytes: &mut Vec<u8>, size: usize) {
    let left = size - bytes.len();
    let first = bytes.is_empty() && left > FIRST_BYTES;
    if first || bytes.try_reserve_exact(left).is_err() {
        bytes.reserve_exact(left.min(bytes.len().max(FIRST_BYTES)));
    }
}

/// Says who we are at the start of a stream; on control streams, hears who they are.
pub(crate) async fn open(
    kind: Kind,
    ours: u16,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<(), NetError> {
    send.send_bytes(&prelude(ours, kind.code())).await?;
    if kind != Kind::Bulk {
        let (theirs, _) = read_prelude(recv).await?;
        if theirs != ours {
            return Err(NetError::Version { ours, theirs });
        }
    }
    Ok(())
}

/// Hears who they are; on control streams, says who we are whether we like them or not.
pub(crate) async fn accept(
    ours: u16,
    send: &mut SendStream,
    recv: &mut RecvStream,
) -> Result<Kind, NetError> {
    let (theirs, code) = read_prelude(recv).await?;
    let kind = Kind::from_code(code);
    if kind != Some(Kind::Bulk) {
        send.send_bytes(&prelude(ours, 0)).await?;
    }
    if theirs != ours {
        send.finish().await?;
        return Err(NetError::Version { ours, theirs });
    }
    kind.ok_or_else(|| NetError::NotGrid(format!("unknown kind of stream {code}")))
}

fn prelude(version: u16, code: u8) -> [u8; PRELUDE_BYTES] {
    let [low, high] = version.to_le_bytes();
    let [g, r, i, d] = MAGIC;
    [g, r, i, d, low, high, code, 0]
}

async fn read_prelude(recv: &mut RecvStream) -> Result<(u16, u8), NetError> {
    let mut bytes = [0; PRELUDE_BYTES];
    recv.inner.read_exact(&mut bytes).await?;
    match bytes {
        [b'G', b'R', b'I', b'D', low, high, code, _] => Ok((u16::from_le_bytes([low, high]), code)),
        other => Err(NetError::NotGrid(format!("a stream began with {other:02x?}"))),
    }
}

fn cut_off() -> NetError {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
}

/// A single message over the limit of a frame cannot be sent at all.
pub(crate) fn is_too_long(error: &FrameError) -> bool {
    matches!(error, FrameError::TooLong(_))
}
