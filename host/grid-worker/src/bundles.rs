//! Bundles: their bytes come from the scheduler, their native code from the engine.

use std::sync::Arc;

use grid_net::{Connection, Kind, NetError};
use grid_proto::limits::BUNDLE_BYTES_MAX;
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{BundleDescription, BundleHash, Failure, FailureKind};
use grid_sandbox::{Bundle, BundleError, Engine};

/// A bundle that is ready to run, or why it will not be.
pub(crate) type Loaded = Result<Arc<Bundle>, Failure>;

/// Gets a bundle ready: fetches its bytes and compiles them, or takes the native code from disk.
pub(crate) async fn load(scheduler: Connection, engine: Engine, hash: BundleHash) -> Loaded {
    let bytes = fetch(&scheduler, hash).await.map_err(|error| {
        let message = format!("bundle {} could not be fetched: {error}", hash.short());
        Failure::new(FailureKind::LostData, message)
    })?;
    let loaded = blocking(move || engine.load(hash, &bytes)).await;
    loaded.map_err(|error| Failure::new(FailureKind::BundleInvalid, error.to_string()))
}

/// What a bundle says of itself, or why it cannot run.
pub(crate) async fn inspect(
    scheduler: Connection,
    engine: Engine,
    hash: BundleHash,
) -> Result<BundleDescription, String> {
    let bytes = fetch(&scheduler, hash).await.map_err(|error| error.to_string())?;
    let described = blocking(move || {
        let bundle = engine.load(hash, &bytes)?;
        engine.describe(&bundle)
    });
    described.await.map_err(|error| error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BundleError> + Send + 'static,
) -> Result<T, BundleError> {
    let died = |error: tokio::task::JoinError| BundleError::Compiler(error.to_string());
    tokio::task::spawn_blocking(work).await.map_err(died)?
}

async fn fetch(scheduler: &Connection, hash: BundleHash) -> Result<Vec<u8>, NetError> {
    let (mut send, mut recv) = scheduler.open(Kind::Bulk).await?;
    send.send(&BulkRequest::Bundle(hash)).await?;
    send.finish().await?;
    match recv.recv::<BulkHeader>().await? {
        Some(BulkHeader::Found(meta)) => {
            let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
            if size > BUNDLE_BYTES_MAX {
                return Err(NetError::NotGrid(format!("a bundle of {size} bytes was announced")));
            }
            recv.recv_bytes(size).await
        }
        Some(BulkHeader::Refused(reason)) => Err(NetError::Closed(reason)),
        Some(BulkHeader::Missing | BulkHeader::OverNetwork | BulkHeader::Door { .. }) | None => {
            Err(NetError::Closed("the scheduler does not have it".to_owned()))
        }
    }
}
