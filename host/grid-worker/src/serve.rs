//! Serving objects to other workers and to clients.

use std::sync::{Arc, Mutex, PoisonError};

use grid_net::{Connection, Endpoint, Kind, NetError, RecvStream, SendStream};
use grid_proto::message::{BulkHeader, BulkRequest};
use grid_store::Store;

/// Answers whoever connects, until the endpoint is closed.
pub(crate) async fn serve(endpoint: Endpoint, store: Arc<Mutex<Store>>) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(serve_peer(connection, Arc::clone(&store)));
    }
}

async fn serve_peer(connection: Connection, store: Arc<Mutex<Store>>) {
    loop {
        match connection.accept().await {
            Ok((Kind::Bulk, send, recv)) => {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    if let Err(error) = answer(send, recv, &store).await {
                        tracing::debug!(%error, "a request for objects ended early");
                    }
                });
            }
            Ok((Kind::Client | Kind::Worker, ..)) => {
                connection.close("this is a worker; control streams go to the scheduler");
                return;
            }
            Err(NetError::Version { .. } | NetError::NotGrid(_)) => {}
            Err(_) => return,
        }
    }
}

async fn answer(
    mut send: SendStream,
    mut recv: RecvStream,
    store: &Mutex<Store>,
) -> Result<(), NetError> {
    let keys = match recv.recv::<BulkRequest>().await? {
        Some(BulkRequest::Objects(keys)) => keys,
        Some(BulkRequest::Bundle(_) | BulkRequest::Deploy { .. }) => {
            let reason = "this is a worker; bundles are with the scheduler".to_owned();
            return send.send(&BulkHeader::Refused(reason)).await;
        }
        None => return Ok(()),
    };
    for key in keys {
        let object = store.lock().unwrap_or_else(PoisonError::into_inner).find(&key);
        match object {
            Some(object) => {
                send.send(&BulkHeader::Found(object.meta)).await?;
                send.send_bytes(&object.bytes).await?;
            }
            None => send.send(&BulkHeader::Missing).await?,
        }
    }
    send.finish().await
}
