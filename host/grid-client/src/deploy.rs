//! Deploying bundles: bytes go to the scheduler once, whoever deploys them.

use grid_proto::message::{Answer, BulkHeader, BulkRequest, Query, Refusal};
use grid_proto::report::BundleInfo;
use grid_proto::{BundleHash, limits::BUNDLE_BYTES_MAX};

use crate::client::{Client, unexpected};
use crate::error::ClientError;
use crate::link::Link;

/// What a deployment did.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The bundle as the grid knows it.
    pub info: BundleInfo,
    /// Bytes that had to be sent: 0 if the grid had them.
    pub sent_bytes: u64,
}

impl Client {
    /// Gives the grid a bundle and lets `name@version` point to it; `replace` lets a name that
    /// points to another bundle move. Waits until a worker has checked the bundle.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the bytes are no bundle that can run there, or the name is
    /// taken.
    pub async fn deploy(&self, bytes: &[u8], replace: bool) -> Result<Deployed, ClientError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            let message = format!("{} bytes; at most {BUNDLE_BYTES_MAX} are taken", bytes.len());
            return Err(Refusal::BadBundle { message }.into());
        }
        if bytes.is_empty() {
            let message = "not a wasm file: it is empty".to_owned();
            return Err(Refusal::BadBundle { message }.into());
        }
        let hash = BundleHash::of(bytes);
        let sent_bytes = match self.offer(hash, &[]).await? {
            true => 0,
            false => {
                self.offer(hash, bytes).await?;
                bytes.len() as u64
            }
        };
        match self.link().ask(Query::Deploy { hash, replace }).await? {
            Answer::Bundle(info) => {
                self.link().remember_bundle(info.clone());
                Ok(Deployed { info, sent_bytes })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sends the bytes, or with none of them asks whether they are needed. Says whether the grid
    /// has them now.
    async fn offer(&self, hash: BundleHash, bytes: &[u8]) -> Result<bool, ClientError> {
        let request = BulkRequest::Deploy { hash, size: bytes.len() as u64 };
        let (mut send, mut recv) = Link::bulk(&self.link().scheduler, &request).await?;
        send.send_bytes(bytes).await?;
        send.finish().await?;
        match recv.recv::<BulkHeader>().await? {
            Some(BulkHeader::Found(_)) => Ok(true),
            Some(BulkHeader::Missing) => Ok(false),
            Some(BulkHeader::Refused(message)) => Err(Refusal::Unavailable { message }.into()),
            Some(BulkHeader::OverNetwork | BulkHeader::Door { .. }) | None => {
                Err(ClientError::Net("the scheduler broke the deployment off".to_owned()))
            }
        }
    }
}
