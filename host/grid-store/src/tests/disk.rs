//! A disk that fails as disks do.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::files::{Disk, DiskRead, DiskWrite, LocalDisk};

/// What goes wrong with the next writes and reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    None,
    /// Nothing can be created.
    Unwritable,
    /// Half of each write fits.
    Full,
    /// A byte is not what was written.
    Corrupt,
    /// The end is missing though the write succeeded.
    Short,
    /// Everything is written, and the process that was to rename it is not heard of again.
    Crash,
    /// What is there cannot be read.
    Unreadable,
}

const ALL: [Fault; 7] = [
    Fault::None,
    Fault::Unwritable,
    Fault::Full,
    Fault::Corrupt,
    Fault::Short,
    Fault::Crash,
    Fault::Unreadable,
];

#[derive(Clone, Debug, Default)]
pub(super) struct FaultyDisk(Arc<AtomicU8>);

struct FaultyFile {
    inner: Box<dyn DiskWrite>,
    fault: Fault,
}

impl FaultyDisk {
    pub(super) fn set(&self, fault: Fault) {
        let place = ALL.iter().position(|known| *known == fault).unwrap();
        self.0.store(u8::try_from(place).unwrap(), Ordering::SeqCst);
    }

    fn fault(&self) -> Fault {
        ALL[usize::from(self.0.load(Ordering::SeqCst))]
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskWrite>> {
        let fault = self.fault();
        if fault == Fault::Unwritable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Box::new(FaultyFile { inner: LocalDisk.create(path)?, fault }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.fault() {
            Fault::Crash => Err(io::Error::other("gone before the rename")),
            _ => LocalDisk.rename(from, to),
        }
    }

    fn open(&self, path: &Path, whole: bool) -> io::Result<Box<dyn DiskRead>> {
        match self.fault() {
            Fault::Unreadable => Err(io::Error::other("the disk does not answer")),
            _ => LocalDisk.open(path, whole),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.fault {
            Fault::Full if bytes.len() > 1 => {
                self.inner.write_all(&bytes[..bytes.len() / 2])?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Fault::Corrupt => {
                let mut changed = bytes.to_vec();
                if let Some(last) = changed.last_mut() {
                    *last ^= 1;
                }
                self.inner.write_all(&changed)?;
                Ok(bytes.len())
            }
            Fault::Short => {
                self.inner.write_all(&bytes[..bytes.len().saturating_sub(1)])?;
                Ok(bytes.len())
            }
            _ => self.inner.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Seek for FaultyFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
