//! The private directory of a call, and what may be written there.
//!
//! A guest's files are WASI's: wasmtime's own implementation does all of it, beneath the directories that
//! were opened for the call. For what was opened beneath the private one this stands before it and
//! counts: bytes as they are written, and a block for each file, directory and link that is made.
//! What is removed again counts on: an open file that has no name any more holds its bytes, and
//! nobody could say how many.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::bindings::sync::filesystem::types::{
    self, Advice, Descriptor, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry,
    DirectoryEntryStream, Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::sync::io::streams;
use wasmtime_wasi::p2::{
    DynOutputStream, FsError, FsResult, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::state::CallState;

/// Where guests find it.
pub const SCRATCH: &str = "/scratch";
/// What a file, a directory or a link costs beside its bytes: as much as file systems take at least.
const ENTRY_BYTES: u64 = 4 << 10;

/// What a call has written in its private directory. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Quota(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    left: AtomicU64,
}

/// The private directory as one store sees it.
#[derive(Debug)]
pub(crate) struct Scratch {
    quota: Quota,
    /// What is open there.
    descriptors: BTreeSet<u32>,
}

impl Quota {
    fn take(&self, bytes: u64) -> Result<(), ErrorCode> {
        let less = |left: u64| left.checked_sub(bytes);
        let taken = self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.map_or(Err(ErrorCode::Quota), |_| Ok(()))
    }
}

impl Scratch {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let quota = Quota(Arc::new(Counted { left: AtomicU64::new(bytes_max) }));
        Self { quota, descriptors: BTreeSet::new() }
    }
}

/// Links the interfaces of files.
pub(crate) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    fn files(state: &mut CallState) -> Files<'_> {
        let (wasi, scratch) = state.wasi_and_scratch();
        Files { wasi, scratch }
    }
    preopens::add_to_linker::<CallState, HasFiles>(linker, files)?;
    types::add_to_linker::<CallState, HasFiles>(linker, files)
}

struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = Files<'a>;
}

/// The files of a store.
struct Files<'a> {
    wasi: WasiFilesystemCtxView<'a>,
    scratch: Option<&'a mut Scratch>,
}

impl Files<'_> {
    /// Counts, if that is where this descriptor belongs.
    fn count(&self, at: &Resource<Descriptor>, bytes: u64) -> FsResult<()> {
        match self.quota_of(at) {
            Some(quota) => Ok(quota.take(bytes).map_err(FsError::from)?),
            None => Ok(()),
        }
    }

    fn quota_of(&self, at: &Resource<Descriptor>) -> Option<&Quota> {
        let scratch = self.scratch.as_ref()?;
        scratch.descriptors.contains(&at.rep()).then_some(&scratch.quota)
    }

    /// A stream that counts what goes through.
    fn counted(
        &mut self,
        at: Option<Quota>,
        stream: Resource<streams::OutputStream>,
    ) -> FsResult<Resource<streams::OutputStream>> {
        let Some(quota) = at else { return Ok(stream) };
        let inner = self.wasi.table.delete(stream)?;
        let counted: DynOutputStream = Box::new(CountedStream { inner, quota });
        Ok(self.wasi.table.push(counted)?)
    }
}

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let directories = self.wasi.get_directories()?;
        if let Some(scratch) = &mut self.scratch {
            let own = directories.iter().filter(|(_, path)| path == SCRATCH);
            scratch.descriptors.extend(own.map(|(descriptor, _)| descriptor.rep()));
        }
        Ok(directories)
    }
}

impl types::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        types::Host::convert_error_code(&mut self.wasi, error)
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<streams::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        if let Ok(error) = self.wasi.table.get(&error)
            && error.downcast_ref::<OverQuota>().is_some()
        {
            return Ok(Some(types::ErrorCode::Quota));
        }
        types::Host::filesystem_error_code(&mut self.wasi, error)
    }
}

impl types::HostDescriptor for Files<'_> {
    fn write(
        &mut self,
        fd: Resource<Descriptor>,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        self.count(&fd, buffer.len() as u64)?;
        self.wasi.write(fd, buffer, offset)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<streams::OutputStream>> {
        let quota = self.quota_of(&fd).cloned();
        let stream = types::HostDescriptor::write_via_stream(&mut self.wasi, fd, offset)?;
        self.counted(quota, stream)
    }

    fn append_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<streams::OutputStream>> {
        let quota = self.quota_of(&fd).cloned();
        let stream = types::HostDescriptor::append_via_stream(&mut self.wasi, fd)?;
        self.counted(quota, stream)
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        self.count(&fd, ENTRY_BYTES)?;
        types::HostDescriptor::create_directory_at(&mut self.wasi, fd, path)
    }

    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        how: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let own = self.quota_of(&fd).is_some();
        if how.contains(OpenFlags::CREATE) {
            self.count(&fd, ENTRY_BYTES)?;
        }
        let opened =
            types::HostDescriptor::open_at(&mut self.wasi, fd, path_flags, path, how, flags)?;
        if let Some(scratch) = self.scratch.as_mut().filter(|_| own) {
            scratch.descriptors.insert(opened.rep());
        }
        Ok(opened)
    }

    fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path_flags: PathFlags,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.count(&new_descriptor, ENTRY_BYTES)?;
        // A name outside would keep the bytes beyond the call.
        if self.quota_of(&fd).is_some() != self.quota_of(&new_descriptor).is_some() {
            return Err(ErrorCode::CrossDevice.into());
        }
        let wasi = &mut self.wasi;
        types::HostDescriptor::link_at(wasi, fd, old_path_flags, old_path, new_descriptor, new_path)
    }

    fn symlink_at(&mut self, fd: Resource<Descriptor>, from: String, to: String) -> FsResult<()> {
        self.count(&fd, ENTRY_BYTES)?;
        types::HostDescriptor::symlink_at(&mut self.wasi, fd, from, to)
    }

    fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old_path: String,
        new_fd: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        if self.quota_of(&fd).is_some() != self.quota_of(&new_fd).is_some() {
            return Err(ErrorCode::CrossDevice.into());
        }
        types::HostDescriptor::rename_at(&mut self.wasi, fd, old_path, new_fd, new_path)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> wasmtime::Result<()> {
        if let Some(scratch) = &mut self.scratch {
            scratch.descriptors.remove(&fd.rep());
        }
        types::HostDescriptor::drop(&mut self.wasi, fd)
    }

    // What follows is wasmtime's as it is.

    fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        types::HostDescriptor::advise(&mut self.wasi, fd, offset, length, advice)
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        types::HostDescriptor::sync_data(&mut self.wasi, fd)
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        types::HostDescriptor::get_flags(&mut self.wasi, fd)
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorType> {
        types::HostDescriptor::get_type(&mut self.wasi, fd)
    }

    /// A file that grows so is a hole, which holds nothing.
    fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        types::HostDescriptor::set_size(&mut self.wasi, fd, size)
    }

    fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        types::HostDescriptor::set_times(&mut self.wasi, fd, accessed, modified)
    }

    fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        types::HostDescriptor::read(&mut self.wasi, fd, length, offset)
    }

    fn read_directory(
        &mut self,
        fd: Resource<Descriptor>,
    ) -> FsResult<Resource<DirectoryEntryStream>> {
        types::HostDescriptor::read_directory(&mut self.wasi, fd)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> FsResult<()> {
        types::HostDescriptor::sync(&mut self.wasi, fd)
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        types::HostDescriptor::stat(&mut self.wasi, fd)
    }

    fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        types::HostDescriptor::stat_at(&mut self.wasi, fd, path_flags, path)
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let wasi = &mut self.wasi;
        types::HostDescriptor::set_times_at(wasi, fd, path_flags, path, accessed, modified)
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<String> {
        types::HostDescriptor::readlink_at(&mut self.wasi, fd, path)
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        types::HostDescriptor::remove_directory_at(&mut self.wasi, fd, path)
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> FsResult<()> {
        types::HostDescriptor::unlink_file_at(&mut self.wasi, fd, path)
    }

    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<streams::InputStream>> {
        types::HostDescriptor::read_via_stream(&mut self.wasi, fd, offset)
    }

    fn is_same_object(
        &mut self,
        a: Resource<Descriptor>,
        b: Resource<Descriptor>,
    ) -> wasmtime::Result<bool> {
        types::HostDescriptor::is_same_object(&mut self.wasi, a, b)
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        types::HostDescriptor::metadata_hash(&mut self.wasi, fd)
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        types::HostDescriptor::metadata_hash_at(&mut self.wasi, fd, path_flags, path)
    }
}

impl types::HostDirectoryEntryStream for Files<'_> {
    fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        types::HostDirectoryEntryStream::read_directory_entry(&mut self.wasi, stream)
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        types::HostDirectoryEntryStream::drop(&mut self.wasi, stream)
    }
}

/// A stream into a file of the private directory.
struct CountedStream {
    inner: DynOutputStream,
    quota: Quota,
}

/// Travels through wasmtime as a stream's error.
#[derive(Debug, thiserror::Error)]
#[error("the call has written as much into its scratch directory as it may")]
struct OverQuota;

#[async_trait]
impl Pollable for CountedStream {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[async_trait]
impl OutputStream for CountedStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let over = |_| StreamError::LastOperationFailed(OverQuota.into());
        self.quota.take(bytes.len() as u64).map_err(over)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
