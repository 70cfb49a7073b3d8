//! Objects in memory that processes of this host share: given and taken as descriptors, not as bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use grid_net::{Endpoint, HostListener, HostStream, NetError};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{Key, ObjectMeta};
use grid_share::Sealed;
use grid_store::Object;
use tokio::task::JoinSet;

use crate::incoming::Arrived;
use crate::serve::{Serving, blocking};

/// When there are no descriptors left, it is not tried again at once.
const AFTER_ERROR: Duration = Duration::from_millis(100);

/// Where processes of this host find objects; without, they get them over the network.
pub(crate) fn listen(endpoint: &Endpoint) -> Option<HostListener> {
    if !endpoint.shares_memory() {
        return None;
    }
    HostListener::bind()
        .inspect_err(|error| tracing::warn!(%error, "no memory is shared with this host"))
        .ok()
}

/// Answers whoever connects, until it is dropped.
pub(crate) async fn serve(listener: HostListener, serving: Serving) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(admitted) => {
                    let serving = serving.clone();
                    streams.spawn(async move {
                        let answered = match admitted.await {
                            Ok(stream) => answer(stream, &serving).await,
                            Err(error) => Err(error.into()),
                        };
                        if let Err(error) = answered {
                            tracing::debug!(%error, "a process of this host is served no more");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "processes of this host cannot connect");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn answer(mut stream: HostStream, serving: &Serving) -> Result<(), NetError> {
    while let Some((request, fd)) = stream.recv::<BulkRequest>().await? {
        match request {
            BulkRequest::Objects(keys) => {
                for key in keys {
                    give(key, &mut stream, serving).await?;
                }
            }
            BulkRequest::Put(items) => {
                let header = take(&items, fd, serving).await?;
                stream.send(&header, None).await?;
            }
            BulkRequest::Rest { .. }
            | BulkRequest::Bundle(_)
            | BulkRequest::Deploy { .. }
            | BulkRequest::Share => {
                let reason = "there are only whole objects here".to_owned();
                stream.send(&BulkHeader::Refused(reason), None).await?;
            }
        }
    }
    Ok(())
}

async fn give(key: Key, stream: &mut HostStream, serving: &Serving) -> Result<(), NetError> {
    let Some(meta) = serving.store.meta(&key) else {
        return stream.send(&BulkHeader::Missing, None).await;
    };
    if meta.size < grid_share::BYTES_MIN {
        // Read back from a file it may be slow, and what it is not is the network's to say.
        let Some(object) = serving.store.find(&key) else {
            return stream.send(&BulkHeader::OverNetwork, None).await;
        };
        stream.send(&BulkHeader::Found(object.meta), None).await?;
        return stream.send_bytes(&object.bytes).await;
    }
    let store = serving.store.clone();
    let shared = blocking(move || store.share(&key)).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "memory cannot be shared: the network is used");
        None
    });
    let sealed = shared.as_ref().and_then(|object| Some((object.meta, object.bytes.sealed()?)));
    match sealed {
        Some((meta, sealed)) => stream.send(&BulkHeader::Found(meta), Some(sealed.as_fd())).await,
        None => stream.send(&BulkHeader::OverNetwork, None).await,
    }
}

async fn take(
    items: &[(Key, ObjectMeta)],
    fd: Option<OwnedFd>,
    serving: &Serving,
) -> Result<BulkHeader, NetError> {
    let refused = |why: &str| Ok(BulkHeader::Refused(why.to_owned()));
    let ([(key, meta)], Some(fd)) = (items, fd) else {
        return refused("one object at a time is brought here, with its memory");
    };
    if let Err(reason) = serving.taking.check(items) {
        return Ok(BulkHeader::Refused(reason));
    }
    let (key, meta, store) = (*key, *meta, serving.store.clone());
    if store.is_large(meta.size) {
        return Ok(BulkHeader::OverNetwork);
    }
    let object = match blocking(move || map(meta, fd, store.gauge())).await {
        Ok(Some(object)) => object,
        Ok(None) => return refused("its memory holds something else"),
        Err(error) => return refused(&format!("its memory cannot be shared: {error}")),
    };
    let kept = serving.taking.keep(vec![(key, Arrived::Object(object))]).await?;
    match kept[..] {
        [true] => Ok(BulkHeader::Found(meta)),
        _ => refused("it cannot be kept"),
    }
}

/// An object in another process's memory, verified: `None` if it is not what was said.
pub(crate) fn map(
    meta: ObjectMeta,
    fd: OwnedFd,
    gauge: &grid_store::Gauge,
) -> std::io::Result<Option<Object>> {
    let sealed = Sealed::from_peer(fd, meta.size)?;
    Ok(Object::sealed(meta, sealed, gauge))
}
