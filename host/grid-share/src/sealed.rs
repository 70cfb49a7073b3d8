//! Sealed memory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::Mmap;
use rustix::fs::{FileType, MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat};
use rustix::process::{Resource, getrlimit};

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Of the descriptors that a process may have open, one in so many is for sealed memory.
const DESCRIPTORS_SHARE: u64 = 4;
/// And if there is no limit to speak of.
const DESCRIPTORS_MAX: u64 = 16_384;

/// Sealed memories of this process: each has a descriptor open.
static OPEN: AtomicUsize = AtomicUsize::new(0);

static OPEN_MAX: LazyLock<usize> = LazyLock::new(|| {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from((limit / DESCRIPTORS_SHARE).min(DESCRIPTORS_MAX)).unwrap_or(0)
});

/// Bytes that no process can change any more. Clones are the same memory; it goes with the last of all
/// processes.
#[derive(Clone)]
pub struct Sealed(Arc<Inner>);

struct Inner {
    file: File,
    map: Mmap,
    _open: Open,
}

/// One descriptor of those that there may be.
struct Open;

impl Open {
    fn one() -> io::Result<Self> {
        let more = |open: usize| (open < *OPEN_MAX).then_some(open + 1);
        match OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Self),
            Err(_) => Err(io::Error::other("too much memory is shared already")),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sealed {
    /// Copies bytes into memory that can be shared.
    ///
    /// # Errors
    /// What the system says: no memory, no descriptors; or a quarter of the process's descriptors is
    /// used for shared memory already. Empty memory cannot be shared.
    pub fn copy_of(bytes: &[u8]) -> io::Result<Self> {
        Self::written(|file| file.write_all(bytes))
    }

    /// Reads so many bytes into memory that can be shared.
    ///
    /// # Errors
    /// As [`Self::copy_of`]; what reading gives; there are fewer.
    pub fn read_from(reader: &mut impl Read, size: u64) -> io::Result<Self> {
        Self::written(|file| match io::copy(&mut reader.take(size), file)? == size {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        })
    }

    fn written(write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let open = Open::one()?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create("grid", flags | MemfdFlags::NOEXEC_SEAL) {
            // Kernels before 6.3 do not know that flag.
            Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("grid", flags)?,
            made => made?,
        };
        let mut file = File::from(fd);
        write(&mut file)?;
        fcntl_add_seals(&file, SEALS)?;
        let size = file.metadata()?.len();
        Self::map(file, size, open)
    }

    /// Maps what another process has sealed.
    ///
    /// # Errors
    /// It is not sealed, or not so long, or what the system says.
    pub fn from_peer(fd: OwnedFd, size: u64) -> io::Result<Self> {
        Self::map(File::from(fd), size, Open::one()?)
    }

    fn map(file: File, size: u64, open: Open) -> io::Result<Self> {
        let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(refused("it is no memory"));
        }
        // Only files in memory have seals, and without them the size says nothing.
        let seals = fcntl_get_seals(&file).map_err(|_| refused("it cannot be sealed"))?;
        if !seals.contains(SEALS) {
            return Err(refused("it is not sealed"));
        }
        if size == 0 || u64::try_from(stat.st_size) != Ok(size) {
            return Err(refused("it has another size than was said"));
        }
        let map = map_sealed(&file)?;
        Ok(Self(Arc::new(Inner { file, map, _open: open })))
    }
}

/// Maps a file whose seals have been checked.
#[expect(unsafe_code, reason = "the seals hold what the mapping needs")]
fn map_sealed(file: &File) -> io::Result<Mmap> {
    // SAFETY: a mapping is sound while nobody writes to the file or shortens it. It is sealed against
    // both, for all processes and for ever; seals can be added and never taken away. The kernel refuses
    // the seal against writing while any mapping could write.
    unsafe { Mmap::map(file) }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.map
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.file.as_fd()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shared bytes", self.len())
    }
}
