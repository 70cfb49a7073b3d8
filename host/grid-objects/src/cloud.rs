//! Stores behind the `object_store` crate: S3 and the worker's memory.

use std::fmt;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use grid_proto::outside::{ObjectEntry, PAGE_ENTRIES_MAX, StoreError, StoreErrorKind as Kind};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutPayload,
};
use tokio::task::JoinHandle;

use crate::failures::{self, Doing};
use crate::url::StoreUrl;

/// Bytes of a part of an upload; S3 wants 5 MiB at least, and 10,000 parts at most: objects of 78 GiB.
/// A writer holds two parts, one that is filled and one on its way.
const PART_BYTES: usize = 8 << 20;
/// Parts of an upload.
const PARTS_MAX: usize = 10_000;

/// A bucket, and what its keys are called outside.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) url: StoreUrl,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store holds secrets.
        f.debug_struct("Bucket").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An object that was found, in the version that was found.
#[derive(Clone, Debug)]
pub(crate) struct CloudObject {
    bucket: Bucket,
    path: Path,
    meta: ObjectMeta,
}

impl Bucket {
    pub(crate) async fn open(self) -> Result<CloudObject, StoreError> {
        let path = self.path()?;
        let head = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(&path, head).await {
            Ok(found) => Ok(CloudObject { bucket: self, path, meta: found.meta }),
            Err(error) => Err(self.why_not(&path, error).await),
        }
    }

    /// An answer to HEAD has no body and so no reason: that of a GET is asked for.
    async fn why_not(&self, path: &Path, error: Error) -> StoreError {
        let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        let error = match self.store.get_opts(path, first).await {
            Err(error @ (Error::NotFound { .. } | Error::PermissionDenied { .. })) => error,
            // It has come since, or what it says is no better.
            Ok(_) | Err(_) => error,
        };
        failures::told(&error, &self.url, Doing::Opening)
    }

    pub(crate) async fn put(self, bytes: Vec<u8>, if_absent: bool) -> Result<(), StoreError> {
        let path = self.path()?;
        if if_absent {
            self.check_absent(&path).await?;
        }
        let mode = if if_absent { PutMode::Create } else { PutMode::Overwrite };
        let put = self.store.put_opts(&path, bytes.into(), mode.into()).await;
        put.map(drop).map_err(|error| failures::told(&error, &self.url, Doing::Writing(None)))
    }

    /// Nothing is there. The condition of a put says the same, and for good, but there are stores that
    /// do not look at it (Garage): there it is only as good as this.
    async fn check_absent(&self, path: &Path) -> Result<(), StoreError> {
        match self.store.head(path).await {
            Ok(_) => {
                let message = "there is an object already";
                Err(StoreError::new(Kind::Exists, &self.url.to_string(), message))
            }
            // What else is wrong, writing will tell better.
            Err(_) => Ok(()),
        }
    }

    /// All objects below.
    pub(crate) fn list(self) -> Result<CloudListing, StoreError> {
        let prefix = match self.url.key() {
            "" => None,
            _ => Some(self.path()?),
        };
        let objects = self.store.list(prefix.as_ref());
        Ok(CloudListing { url: self.url, objects, ended: false })
    }

    fn path(&self) -> Result<Path, StoreError> {
        Path::parse(self.url.key())
            .map_err(|error| failures::told(&error.into(), &self.url, Doing::Opening))
    }
}

impl CloudObject {
    pub(crate) fn entry(&self) -> ObjectEntry {
        entry(&self.bucket.url, &self.meta)
    }

    pub(crate) async fn read(self, offset: u64, length: u32) -> Result<Vec<u8>, StoreError> {
        let end = offset.saturating_add(u64::from(length)).min(self.meta.size);
        if offset >= end {
            return Ok(Vec::new());
        }
        let Self { bucket: Bucket { store, url }, path, meta } = self;
        let doing = Doing::Reading(offset);
        let range = Some(GetRange::Bounded(offset..end));
        let options = GetOptions { if_match: meta.e_tag.clone(), range, ..GetOptions::default() };
        let failed = |error: Error| failures::told(&error, &url, doing);
        let found = store.get_opts(&path, options).await.map_err(failed)?;
        // Not every store looks at the condition.
        let same = match (&found.meta.e_tag, &meta.e_tag) {
            (Some(now), Some(then)) => now == then,
            (None, _) | (_, None) => found.meta.last_modified == meta.last_modified,
        };
        if !same || found.meta.size != meta.size {
            return Err(failures::changed(&url, offset));
        }
        let bytes = found.bytes().await.map_err(failed)?;
        if bytes.len() as u64 != end - offset {
            return Err(failures::changed(&url, offset));
        }
        Ok(bytes.into())
    }
}

fn entry(url: &StoreUrl, meta: &ObjectMeta) -> ObjectEntry {
    ObjectEntry {
        url: url.with_key(meta.location.as_ref()).to_string(),
        size: meta.size,
        modified_ms: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
    }
}

/// A listing under way.
pub(crate) struct CloudListing {
    url: StoreUrl,
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ended: bool,
}

impl CloudListing {
    /// The next page; an empty one at the end.
    pub(crate) async fn next(&mut self) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut page = Vec::new();
        while !self.ended && page.len() < PAGE_ENTRIES_MAX {
            match self.objects.next().await {
                Some(Ok(meta)) => page.push(entry(&self.url, &meta)),
                Some(Err(error)) => return Err(failures::told(&error, &self.url, Doing::Listing)),
                None => self.ended = true,
            }
        }
        Ok(page)
    }
}

/// An object that is written in pieces: up to one part as one put, beyond it as an upload of parts.
pub(crate) struct CloudWriter {
    bucket: Bucket,
    if_absent: bool,
    part: Vec<u8>,
    written: u64,
    parts: usize,
    upload: Option<Box<dyn MultipartUpload>>,
    on_its_way: Option<JoinHandle<object_store::Result<()>>>,
}

impl CloudWriter {
    /// Looks first whether there is an object already, so that nothing is written in vain.
    pub(crate) async fn create(bucket: Bucket, if_absent: bool) -> Result<Self, StoreError> {
        let path = bucket.path()?;
        if if_absent {
            bucket.check_absent(&path).await?;
        }
        let part = Vec::new();
        let (written, parts, upload, on_its_way) = (0, 0, None, None);
        Ok(Self { bucket, if_absent, part, written, parts, upload, on_its_way })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let room = PART_BYTES - self.part.len();
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        self.part.extend_from_slice(now);
        if !later.is_empty() {
            self.send_part().await?;
            self.part.extend_from_slice(later);
        }
        self.written += bytes.len() as u64;
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        if self.if_absent {
            return Err(self.over_limit(format!(
                "an object that is written only where there is none has {PART_BYTES} bytes at most \
                 here: the store looks at that for a single put alone"
            )));
        }
        if self.parts == PARTS_MAX {
            let most = PART_BYTES as u64 * PARTS_MAX as u64;
            return Err(self.over_limit(format!("an object has at most {most} bytes")));
        }
        self.arrived().await?;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let path = self.bucket.path()?;
                let begun = self.bucket.store.put_multipart(&path).await;
                let url = &self.bucket.url;
                let begun =
                    begun.map_err(|error| failures::told(&error, url, Doing::Writing(Some(0))))?;
                self.upload.insert(begun)
            }
        };
        let part = std::mem::take(&mut self.part);
        self.on_its_way = Some(tokio::spawn(upload.put_part(PutPayload::from(part))));
        self.parts += 1;
        Ok(())
    }

    /// Waits for the part that is on its way.
    async fn arrived(&mut self) -> Result<(), StoreError> {
        let Some(on_its_way) = self.on_its_way.take() else { return Ok(()) };
        let sent = on_its_way.await.map_err(Error::from).and_then(|sent| sent);
        let doing = Doing::Writing(Some(self.written));
        sent.map_err(|error| failures::told(&error, &self.bucket.url, doing))
    }

    pub(crate) async fn finish(&mut self) -> Result<(), StoreError> {
        if self.upload.is_none() {
            return self.bucket.clone().put(std::mem::take(&mut self.part), self.if_absent).await;
        }
        if !self.part.is_empty() {
            self.send_part().await?;
        }
        self.arrived().await?;
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let done = upload.complete().await;
        let doing = Doing::Writing(Some(self.written));
        done.map_err(|error| failures::told(&error, &self.bucket.url, doing))?;
        self.upload = None;
        Ok(())
    }

    /// Has the store forget what was sent. A store that does not hear it keeps the parts until its
    /// own rules drop them; they are no object.
    pub(crate) async fn abort(mut self) {
        if let Some(on_its_way) = self.on_its_way.take() {
            on_its_way.abort();
            let _ = on_its_way.await;
        }
        if let Some(mut upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            let error = failures::told(&error, &self.bucket.url, Doing::Writing(None));
            tracing::warn!(%error, "an upload that was given up could not be taken back");
        }
    }

    fn over_limit(&self, message: String) -> StoreError {
        StoreError::new(Kind::OverLimit, &self.bucket.url.to_string(), message).at(self.written)
    }
}
