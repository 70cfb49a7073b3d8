//! Frames over a Unix socket, each with a descriptor or without.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

const LENGTH_BYTES: usize = 4;

/// A connection between two processes of one host that know each other.
#[derive(Debug)]
pub struct Stream {
    socket: UnixStream,
    frame_bytes_max: usize,
}

impl Stream {
    pub(crate) fn new(socket: UnixStream, frame_bytes_max: usize) -> Self {
        Self { socket, frame_bytes_max }
    }

    /// Sends a frame: its length in four bytes, lowest first, and so many bytes. The descriptor goes
    /// with it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send(&mut self, frame: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut sent = 0;
        if let Some(fd) = fd {
            let socket = &self.socket;
            sent = socket.async_io(Interest::WRITABLE, || send_with(socket, frame, fd)).await?;
        }
        self.socket.write_all(&frame[sent..]).await
    }

    /// Sends bytes behind a frame.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// The next frame without its length, and the descriptor that came with it; `None` at the end.
    ///
    /// # Errors
    /// The other end is gone in the middle of a frame, or it is longer than is taken.
    pub async fn recv(&mut self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut length = [0; LENGTH_BYTES];
        let socket = &self.socket;
        let (begun, fd) =
            socket.async_io(Interest::READABLE, || recv_with(socket, &mut length)).await?;
        if begun == 0 {
            return Ok(None);
        }
        self.socket.read_exact(&mut length[begun..]).await?;
        let length = u32::from_le_bytes(length) as usize;
        if length > self.frame_bytes_max {
            let why = format!("a frame of {length} bytes; at most {}", self.frame_bytes_max);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Some((self.recv_bytes(length).await?, fd)))
    }

    /// So many bytes behind a frame.
    ///
    /// # Errors
    /// The other end is gone before.
    pub async fn recv_bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(count);
        let taken = (&mut self.socket).take(count as u64).read_to_end(&mut bytes).await?;
        match taken == count {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn send_with(socket: &UnixStream, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    // A peer that is gone is an error, not a signal.
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Descriptors come with the first byte that they were sent with, and never with one before it. More
/// than one is none: the others are closed.
fn recv_with(socket: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let only = if fds.len() == 1 { fds.pop() } else { None };
    Ok((received.bytes, only))
}

#[cfg(test)]
impl std::os::fd::AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
