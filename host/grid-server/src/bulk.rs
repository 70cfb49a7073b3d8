//! Bulk streams to the scheduler: bundles in, bundles out.

use std::sync::Arc;

use grid_net::{NetError, RecvStream, SendStream};
use grid_proto::limits::BUNDLE_BYTES_MAX;
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_proto::{BundleHash, Codec, ObjectMeta};
use grid_scheduler::Event;

use crate::bundle_files::BundleFiles;
use crate::driver::{Input, Inputs};

/// Answers one request.
pub(crate) async fn answer(
    mut send: SendStream,
    mut recv: RecvStream,
    files: Arc<BundleFiles>,
    inputs: Inputs,
) -> Result<(), NetError> {
    match recv.recv::<BulkRequest>().await? {
        Some(BulkRequest::Bundle(hash)) => match blocking(move || files.read(hash).ok()).await {
            Some(bytes) => {
                send.send(&BulkHeader::Found(meta(hash, bytes.len() as u64))).await?;
                send.send_bytes(&bytes).await?;
            }
            None => send.send(&BulkHeader::Missing).await?,
        },
        Some(BulkRequest::Deploy { hash, size }) => {
            let header = store(&mut recv, &files, &inputs, hash, size).await?;
            send.send(&header).await?;
        }
        Some(
            BulkRequest::Objects(_)
            | BulkRequest::Rest { .. }
            | BulkRequest::Put(_)
            | BulkRequest::Share,
        ) => {
            let reason = "this is the scheduler; objects are with the workers".to_owned();
            send.send(&BulkHeader::Refused(reason)).await?;
        }
        None => {}
    }
    send.finish().await
}

/// Takes a bundle's bytes, unless they are there. Nothing is kept of a transfer that breaks off or
/// brings other bytes than it promised.
async fn store(
    recv: &mut RecvStream,
    files: &Arc<BundleFiles>,
    inputs: &Inputs,
    hash: BundleHash,
    size: u64,
) -> Result<BulkHeader, NetError> {
    if let Some(size_bytes) = files.has(hash) {
        inputs.send(Input::Event(Box::new(Event::BundleStored { hash, size_bytes }))).await;
        return Ok(BulkHeader::Found(meta(hash, size_bytes)));
    }
    if size == 0 {
        return Ok(BulkHeader::Missing);
    }
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    if length > BUNDLE_BYTES_MAX {
        let reason = format!("a bundle has at most {BUNDLE_BYTES_MAX} bytes, not {size}");
        return Ok(BulkHeader::Refused(reason));
    }
    let bytes = recv.recv_bytes(length).await?;
    let files = Arc::clone(files);
    let saved = blocking(move || match BundleHash::of(&bytes) == hash {
        true => files.save(hash, &bytes).map_err(|error| error.to_string()),
        false => Err("the bytes do not have the hash that was promised: deploy again".to_owned()),
    });
    if let Err(reason) = saved.await {
        return Ok(BulkHeader::Refused(reason));
    }
    inputs.send(Input::Event(Box::new(Event::BundleStored { hash, size_bytes: size }))).await;
    Ok(BulkHeader::Found(meta(hash, size)))
}

fn meta(hash: BundleHash, size: u64) -> ObjectMeta {
    ObjectMeta { codec: Codec::Raw, size, hash: hash.0 }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
