use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const FRAME_MAX: usize = 1_000;

/// Memory with these bytes and seals.
fn memory(bytes: &[u8], seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("test", flags).unwrap());
    file.write_all(bytes).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file.into()
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
    frame.extend(bytes);
    frame
}

async fn pair() -> (Stream, Stream) {
    let listener = Listener::bind(FRAME_MAX).unwrap();
    let (name, secret) = listener.door();
    let admitted = async { listener.guard().admit(listener.accept().await.unwrap()).await };
    let (one, other) = tokio::join!(connect(name, secret, FRAME_MAX), admitted);
    (one.unwrap(), other.unwrap())
}

#[tokio::test]
async fn memory_goes_from_one_to_the_other_and_cannot_be_changed() {
    let (mut one, mut other) = pair().await;
    let sealed = Sealed::copy_of(b"shared by both").unwrap();
    one.send(&framed(b"take this"), Some(sealed.as_fd())).await.unwrap();
    one.send(&framed(b"and no more"), None).await.unwrap();
    let (frame, fd) = other.recv().await.unwrap().unwrap();
    assert_eq!(frame, b"take this");
    let fd = fd.unwrap();
    let mut file = File::from(fd.try_clone().unwrap());
    let theirs = Sealed::from_peer(fd, 14).unwrap();
    drop(sealed);
    assert_eq!(&theirs[..], b"shared by both");
    file.rewind().unwrap();
    assert!(file.write_all(b"x").is_err() && file.set_len(1).is_err() && file.set_len(99).is_err());
    let (frame, fd) = other.recv().await.unwrap().unwrap();
    assert!(frame == b"and no more" && fd.is_none());
    drop(one);
    assert!(other.recv().await.unwrap().is_none());
}

#[test]
fn what_somebody_could_change_or_shorten_is_not_mapped() {
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert_eq!(&Sealed::from_peer(memory(b"abc", all), 3).unwrap()[..], b"abc");
    for missing in [SealFlags::SEAL, SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        // With the seal against seals left out, the others hold; it is asked for all the same.
        let error = Sealed::from_peer(memory(b"abc", all - missing), 3).unwrap_err();
        assert!(error.to_string().contains("not sealed"), "{error}");
    }
    for size in [0, 2, 4, u64::MAX] {
        assert!(Sealed::from_peer(memory(b"abc", all), size).is_err(), "{size}");
    }
    assert!(Sealed::from_peer(memory(b"", all), 0).is_err());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"abc").unwrap();
    assert!(Sealed::from_peer(file.into(), 3).is_err(), "a file of a disk has no seals");
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(Sealed::from_peer(reader.into(), 3).is_err());
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_not_let_in_and_not_believed() {
    let listener = Listener::bind(FRAME_MAX).unwrap();
    let (name, Secret(secret)) = listener.door();
    let wrong = Secret(secret.map(|byte| !byte));
    let admitted = async { listener.guard().admit(listener.accept().await.unwrap()).await };
    let (one, other) = tokio::join!(connect(name, wrong, FRAME_MAX), admitted);
    assert!(one.is_err());
    assert_eq!(other.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    // Nor is a listener that gives back what it hears.
    let echo = async {
        let mut socket = listener.accept().await.unwrap();
        let mut heard = [0; 32];
        socket.read_exact(&mut heard).await.unwrap();
        socket.write_all(&heard).await.unwrap();
    };
    let (one, ()) = tokio::join!(connect(name, Secret(secret), FRAME_MAX), echo);
    assert_eq!(one.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    drop(listener);
    assert!(connect(name, Secret(secret), FRAME_MAX).await.is_err(), "the name goes with it");
}

#[tokio::test]
async fn frames_are_bounded_and_whole_and_bytes_may_follow() {
    let (mut one, mut other) = pair().await;
    one.send(&framed(&[7; FRAME_MAX]), None).await.unwrap();
    one.send_bytes(&[8; 5_000]).await.unwrap();
    assert_eq!(other.recv().await.unwrap().unwrap().0, [7; FRAME_MAX]);
    assert_eq!(other.recv_bytes(5_000).await.unwrap(), [8; 5_000]);
    one.send(&framed(&[7; FRAME_MAX + 1]), None).await.unwrap();
    assert!(other.recv().await.unwrap_err().to_string().contains("at most 1000"));
    let (mut one, mut other) = pair().await;
    one.send(&framed(b"half of it")[..7], None).await.unwrap();
    drop(one);
    assert!(other.recv().await.is_err());
}

#[tokio::test]
async fn more_than_one_descriptor_is_none_and_those_are_closed() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let listener = Listener::bind(FRAME_MAX).unwrap();
    let (name, Secret(secret)) = listener.door();
    let admitted = async { listener.guard().admit(listener.accept().await.unwrap()).await };
    let (one, other) = tokio::join!(connect(name, Secret(secret), FRAME_MAX), admitted);
    let (one, mut other) = (one.unwrap(), other.unwrap());
    let sealed = Sealed::copy_of(b"abc").unwrap();
    let fds = [sealed.as_fd(), sealed.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let frame = framed(b"two");
    let slice = [std::io::IoSlice::new(&frame)];
    sendmsg(&one, &slice, &mut control, SendFlags::empty()).unwrap();
    let (frame, fd) = other.recv().await.unwrap().unwrap();
    assert!(frame == b"two" && fd.is_none());
}
