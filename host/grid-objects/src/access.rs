//! One call's way to the stores: what it may, and threads that wait for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use grid_proto::outside::{
    Answer, ObjectEntry, ObjectListing, ObjectStores, ObjectWriter, OpenObject, READ_BYTES_MAX,
    StoreAccess, StoreError, StoreErrorKind as Kind, WRITE_BYTES_MAX,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::cloud::{Bucket, CloudListing, CloudObject, CloudWriter};
use crate::files::{FileListing, NewFile, OpenFile};
use crate::grants::{Access, Requests, StoreGrant};
use crate::s3::{S3, S3Config};
use crate::url::{Scheme, StoreUrl};

/// Threads that move bytes between stores and calls; a call waits for one thing at a time.
const THREADS: usize = 2;
/// Threads that wait for files, which a slow disk may hold up.
const FILE_THREADS_MAX: usize = 64;
/// What may be written to `memory://` in a worker's life: it is for tests.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// What an object in memory costs beside its bytes.
const MEMORY_OBJECT_BYTES: u64 = 1 << 10;

/// How a worker reaches stores.
#[derive(Clone, Debug, Default)]
pub struct ObjectsConfig {
    /// What bundles may do.
    pub grants: Vec<StoreGrant>,
    /// How it reaches S3.
    pub s3: S3Config,
}

/// The stores of a worker. Clones are the same.
#[derive(Clone, Debug)]
pub struct Objects(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    grants: Vec<StoreGrant>,
    s3: S3,
    memory: Mutex<BTreeMap<String, Arc<InMemory>>>,
    memory_bytes: AtomicU64,
    /// Made when a call first uses a store.
    runtime: OnceLock<Result<Runtime, String>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(Ok(runtime)) = self.runtime.take() {
            // Whoever drops the last may not wait.
            runtime.shutdown_background();
        }
    }
}

impl Objects {
    /// Makes them. Nothing is opened or asked for before a call wants it.
    #[must_use]
    pub fn new(config: ObjectsConfig) -> Self {
        Self(Arc::new(Inner {
            grants: config.grants,
            s3: S3::new(config.s3),
            memory: Mutex::default(),
            memory_bytes: AtomicU64::new(0),
            runtime: OnceLock::new(),
        }))
    }
}

impl ObjectStores for Objects {
    fn for_call(&self, bundle: &str, reads: &[String], writes: &[String]) -> Arc<dyn StoreAccess> {
        let requests = Requests::new(bundle, reads, writes);
        Arc::new(CallStores { inner: Arc::clone(&self.0), requests })
    }
}

impl Inner {
    fn runtime(&self, url: &StoreUrl) -> Result<&Handle, StoreError> {
        let runtime = self.runtime.get_or_init(|| {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(THREADS).max_blocking_threads(FILE_THREADS_MAX);
            let built = builder.thread_name("stores").enable_all().build();
            built.map_err(|error| error.to_string())
        });
        runtime.as_ref().map(Runtime::handle).map_err(|error| {
            let message = format!("the worker cannot start threads for stores: {error}");
            StoreError::new(Kind::Unavailable, &url.to_string(), message)
        })
    }

    /// Has something done elsewhere; it ends when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        url: &StoreUrl,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let mut task = Given(self.runtime(url)?.spawn(work));
        (&mut task.0).await.map_err(|error| broken(&error, url))?
    }

    /// The same for what waits for files. What has begun goes on when nobody waits for it.
    async fn block<T: Send + 'static>(
        &self,
        url: &StoreUrl,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = self.runtime(url)?.spawn_blocking(work);
        task.await.map_err(|error| broken(&error, url))?
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, Arc<InMemory>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store that holds a URL; not for files.
    fn bucket(&self, url: &StoreUrl) -> Result<Bucket, StoreError> {
        if url.bucket().is_empty() {
            return Err(StoreError::new(Kind::NotFound, &url.to_string(), "it names no bucket"));
        }
        let store = match url.scheme() {
            Scheme::S3 => self.s3.bucket(url)?,
            Scheme::Memory | Scheme::File => {
                Arc::clone(self.memory().entry(url.bucket().to_owned()).or_default())
                    as Arc<dyn ObjectStore>
            }
        };
        Ok(Bucket { store, url: url.clone() })
    }

    /// Counts what goes to `memory://`.
    fn count(&self, url: &StoreUrl, bytes: usize) -> Result<(), StoreError> {
        if url.scheme() != Scheme::Memory {
            return Ok(());
        }
        let bytes = bytes as u64 + MEMORY_OBJECT_BYTES;
        if self.memory_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MEMORY_BYTES_MAX {
            let message = format!(
                "`memory://` is for tests: more than {MEMORY_BYTES_MAX} bytes were written to it"
            );
            return Err(StoreError::new(Kind::OverLimit, &url.to_string(), message));
        }
        Ok(())
    }
}

/// A task that ends with whoever waits for it.
struct Given<T>(JoinHandle<T>);

impl<T> Drop for Given<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn broken(error: &JoinError, url: &StoreUrl) -> StoreError {
    tracing::error!(%url, %error, "an operation on a store broke off");
    StoreError::new(Kind::Other, &url.to_string(), "the operation broke off; see the worker's log")
}

/// The stores as one call sees them.
struct CallStores {
    inner: Arc<Inner>,
    requests: Requests,
}

impl CallStores {
    /// A URL that the call may use so, and the granted one that it lies in.
    fn permitted(&self, url: &str, access: Access) -> Result<(StoreUrl, StoreUrl), StoreError> {
        let parsed = StoreUrl::parse(url).map_err(|error| {
            let shown: String = url.chars().take(200).collect();
            StoreError::new(Kind::Denied, &shown, format!("the URL cannot be used: {error}"))
        })?;
        let grant = self.requests.permit(&self.inner.grants, access, &parsed)?;
        let granted = grant.prefix.clone();
        Ok((parsed, granted))
    }

    /// The same for one object.
    fn object(&self, url: &str, access: Access) -> Result<(StoreUrl, StoreUrl), StoreError> {
        let (parsed, granted) = self.permitted(url, access)?;
        if !parsed.is_object() {
            return Err(StoreError::new(Kind::NotFound, url, "it names no object"));
        }
        Ok((parsed, granted))
    }

    async fn open_object(&self, url: &str) -> Result<Arc<dyn OpenObject>, StoreError> {
        let (url, granted) = self.object(url, Access::Read)?;
        let inner = Arc::clone(&self.inner);
        let (object, entry) = if url.scheme() == Scheme::File {
            let of = url.clone();
            let file = inner.block(&url, move || OpenFile::open(&granted, &of)).await?;
            let entry = file.entry();
            (Found::File(Arc::new(file)), entry)
        } else {
            let object = inner.run(&url, inner.bucket(&url)?.open()).await?;
            let entry = object.entry();
            (Found::Cloud(object), entry)
        };
        Ok(Arc::new(Opened { inner, url, object, entry }))
    }

    async fn begin_list(&self, url: &str) -> Result<Box<dyn ObjectListing>, StoreError> {
        let (url, granted) = self.permitted(url, Access::Read)?;
        let inner = Arc::clone(&self.inner);
        let walk = if url.scheme() == Scheme::File {
            let of = url.clone();
            Walk::Files(inner.block(&url, move || FileListing::begin(&granted, &of)).await?)
        } else {
            Walk::Cloud(inner.bucket(&url)?.list()?)
        };
        Ok(Box::new(Listing { inner, url, walk: Some(walk) }))
    }

    async fn put_object(
        &self,
        url: &str,
        bytes: Vec<u8>,
        if_absent: bool,
    ) -> Result<(), StoreError> {
        let (url, granted) = self.object(url, Access::Write)?;
        check_size(&url, bytes.len())?;
        let inner = &self.inner;
        if url.scheme() == Scheme::File {
            let of = url.clone();
            let put = move || {
                let mut file = NewFile::create(&granted, &of, if_absent)?;
                file.write(&bytes)?;
                file.finish()
            };
            return inner.block(&url, put).await;
        }
        inner.count(&url, bytes.len())?;
        inner.run(&url, inner.bucket(&url)?.put(bytes, if_absent)).await
    }

    async fn begin_write(
        &self,
        url: &str,
        if_absent: bool,
    ) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let (url, granted) = self.object(url, Access::Write)?;
        let inner = Arc::clone(&self.inner);
        let pen = if url.scheme() == Scheme::File {
            let of = url.clone();
            let create = move || NewFile::create(&granted, &of, if_absent);
            Pen::File(inner.block(&url, create).await?)
        } else {
            inner.count(&url, 0)?;
            let create = CloudWriter::create(inner.bucket(&url)?, if_absent);
            Pen::Cloud(Box::new(inner.run(&url, create).await?))
        };
        Ok(Box::new(Writer { inner, url, pen: Some(pen) }))
    }
}

impl StoreAccess for CallStores {
    fn open(&self, url: String) -> Answer<'_, Arc<dyn OpenObject>> {
        Box::pin(async move { self.open_object(&url).await })
    }

    fn list(&self, url: String) -> Answer<'_, Box<dyn ObjectListing>> {
        Box::pin(async move { self.begin_list(&url).await })
    }

    fn put(&self, url: String, bytes: Vec<u8>, if_absent: bool) -> Answer<'_, ()> {
        Box::pin(async move { self.put_object(&url, bytes, if_absent).await })
    }

    fn create(&self, url: String, if_absent: bool) -> Answer<'_, Box<dyn ObjectWriter>> {
        Box::pin(async move { self.begin_write(&url, if_absent).await })
    }
}

fn check_size(url: &StoreUrl, bytes: usize) -> Result<(), StoreError> {
    if bytes <= WRITE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("at most {WRITE_BYTES_MAX} bytes are written at a time, not {bytes}");
    Err(StoreError::new(Kind::OverLimit, &url.to_string(), message))
}

#[derive(Clone)]
enum Found {
    File(Arc<OpenFile>),
    Cloud(CloudObject),
}

struct Opened {
    inner: Arc<Inner>,
    url: StoreUrl,
    object: Found,
    entry: ObjectEntry,
}

impl OpenObject for Opened {
    fn entry(&self) -> &ObjectEntry {
        &self.entry
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'static, Vec<u8>> {
        let length = length.min(READ_BYTES_MAX);
        let (inner, url, object) = (Arc::clone(&self.inner), self.url.clone(), self.object.clone());
        Box::pin(async move {
            match object {
                Found::File(file) => inner.block(&url, move || file.read(offset, length)).await,
                Found::Cloud(object) => inner.run(&url, object.read(offset, length)).await,
            }
        })
    }
}

enum Walk {
    Files(FileListing),
    Cloud(CloudListing),
}

struct Listing {
    inner: Arc<Inner>,
    url: StoreUrl,
    /// Away while a page is looked for, and for good if that was given up.
    walk: Option<Walk>,
}

impl Listing {
    async fn next_page(&mut self) -> Result<Vec<ObjectEntry>, StoreError> {
        let Some(walk) = self.walk.take() else { return Ok(Vec::new()) };
        let inner = &self.inner;
        let (walk, page) = match walk {
            Walk::Files(mut files) => {
                let next = move || {
                    let page = files.next()?;
                    Ok((Walk::Files(files), page))
                };
                inner.block(&self.url, next).await?
            }
            Walk::Cloud(mut objects) => {
                let next = async move {
                    let page = objects.next().await?;
                    Ok((Walk::Cloud(objects), page))
                };
                inner.run(&self.url, next).await?
            }
        };
        self.walk = Some(walk);
        Ok(page)
    }
}

impl ObjectListing for Listing {
    fn next(&mut self) -> Answer<'_, Vec<ObjectEntry>> {
        Box::pin(self.next_page())
    }
}

enum Pen {
    File(NewFile),
    Cloud(Box<CloudWriter>),
}

/// What is done with a pen.
enum Stroke {
    Write(Vec<u8>),
    Finish,
}

struct Writer {
    inner: Arc<Inner>,
    url: StoreUrl,
    /// Away while it writes, and for good when it is finished or something failed.
    pen: Option<Pen>,
}

impl Writer {
    async fn stroke(&mut self, stroke: Stroke) -> Result<(), StoreError> {
        let Some(pen) = self.pen.take() else {
            let message = "it is finished, or something went wrong with it before";
            return Err(StoreError::new(Kind::Other, &self.url.to_string(), message));
        };
        let is_last = matches!(stroke, Stroke::Finish);
        let (pen, done) = match pen {
            Pen::File(mut file) => {
                let work = move || {
                    let done = match stroke {
                        Stroke::Write(bytes) => file.write(&bytes),
                        Stroke::Finish => file.finish(),
                    };
                    Ok((Pen::File(file), done))
                };
                self.inner.block(&self.url, work).await?
            }
            Pen::Cloud(writer) => stroke_cloud(&self.inner, &self.url, writer, stroke).await?,
        };
        match (&done, pen) {
            (Ok(()), pen) if !is_last => self.pen = Some(pen),
            (Ok(()), _) | (Err(_), Pen::File(_)) => {}
            (Err(_), Pen::Cloud(writer)) => self.give_up(*writer),
        }
        done
    }

    fn give_up(&self, writer: CloudWriter) {
        if let Ok(runtime) = self.inner.runtime(&self.url) {
            runtime.spawn(writer.abort());
        }
    }
}

/// If nobody waits any more, what was sent is taken back: so it is not simply broken off.
async fn stroke_cloud(
    inner: &Inner,
    url: &StoreUrl,
    mut writer: Box<CloudWriter>,
    stroke: Stroke,
) -> Result<(Pen, Result<(), StoreError>), StoreError> {
    let (reply, answer) = oneshot::channel();
    let task = inner.runtime(url)?.spawn(async move {
        let done = match stroke {
            Stroke::Write(bytes) => writer.write(&bytes).await,
            Stroke::Finish => writer.finish().await,
        };
        if let Err((writer, _)) = reply.send((writer, done)) {
            writer.abort().await;
        }
    });
    match answer.await {
        Ok((writer, done)) => Ok((Pen::Cloud(writer), done)),
        Err(_) => match task.await {
            Err(error) => Err(broken(&error, url)),
            Ok(()) => Err(StoreError::new(Kind::Other, &url.to_string(), "the write broke off")),
        },
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        match self.pen.take() {
            Some(Pen::Cloud(writer)) => self.give_up(*writer),
            // Its file is removed on a thread that may wait for a disk.
            Some(Pen::File(file)) => {
                if let Ok(runtime) = self.inner.runtime(&self.url) {
                    runtime.spawn_blocking(move || drop(file));
                }
            }
            None => {}
        }
    }
}

impl ObjectWriter for Writer {
    fn write(&mut self, bytes: Vec<u8>) -> Answer<'_, ()> {
        Box::pin(async move {
            check_size(&self.url, bytes.len())?;
            self.inner.count(&self.url, bytes.len())?;
            self.stroke(Stroke::Write(bytes)).await
        })
    }

    fn finish(&mut self) -> Answer<'_, ()> {
        Box::pin(self.stroke(Stroke::Finish))
    }
}
