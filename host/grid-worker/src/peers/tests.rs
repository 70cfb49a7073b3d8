use std::os::fd::AsFd;

use grid_net::{HostListener, Identity};
use grid_proto::{Codec, ObjectMeta, Value};
use grid_share::Sealed;
use grid_store::Store;

use super::*;

/// What a peer does with shared memory.
#[derive(Clone, Copy, Debug)]
enum Manner {
    HangsUp,
    GivesOther,
    GivesNone,
    RefersToTheNetwork,
}

async fn on_host(listener: HostListener, manner: Manner, meta: ObjectMeta) {
    while let Ok(admitted) = listener.accept().await {
        let mut stream = admitted.await.unwrap();
        let asked = stream.recv::<BulkRequest>().await.unwrap();
        assert!(matches!(asked, Some((BulkRequest::Objects(_), None))), "{asked:?}");
        let found = BulkHeader::Found(meta);
        let other = Sealed::copy_of(&vec![8; 1 << 20]).unwrap();
        let answered = match manner {
            Manner::HangsUp => Ok(()),
            Manner::GivesOther => stream.send(&found, Some(other.as_fd())).await,
            Manner::GivesNone => stream.send(&found, None).await,
            Manner::RefersToTheNetwork => stream.send(&BulkHeader::OverNetwork, None).await,
        };
        answered.unwrap();
    }
}

async fn over_network(endpoint: Endpoint, door: BulkHeader, value: Value) {
    let connection = endpoint.accept().await.unwrap();
    while let Ok((_, mut send, mut recv)) = connection.accept().await {
        match recv.recv::<BulkRequest>().await.unwrap() {
            Some(BulkRequest::Share) => send.send(&door).await.unwrap(),
            Some(BulkRequest::Objects(_)) => {
                send.send(&BulkHeader::Found(value.meta())).await.unwrap();
                send.send_bytes(&value.bytes).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
        send.finish().await.unwrap();
    }
}

#[tokio::test]
async fn what_does_not_come_as_shared_memory_comes_over_the_network() {
    use Manner::{GivesNone, GivesOther, HangsUp, RefersToTheNetwork};
    let home = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(home.path()).unwrap();
    let endpoint = || Endpoint::quic(([127, 0, 0, 1], 0).into(), &identity).unwrap();
    let value = Value { codec: Codec::Raw, bytes: vec![7; 1 << 20] };
    let key = Key::of_data(&value.meta());
    for manner in [HangsUp, GivesOther, GivesNone, RefersToTheNetwork] {
        let (theirs, listener) = (endpoint(), HostListener::bind().unwrap());
        let (address, door) = (theirs.address(), listener.door());
        let sharing = tokio::spawn(on_host(listener, manner, value.meta()));
        let serving = tokio::spawn(over_network(theirs, door, value.clone()));
        let peers = Peers::new(endpoint(), Incoming::new(Store::default(), 1 << 30));
        let fetched = peers.fetch(WorkerId(1), Some(address), vec![key]).await;
        assert!(fetched.failed.is_empty(), "{manner:?}");
        let metas: Vec<_> = fetched.objects.iter().map(|(key, it)| (*key, it.meta())).collect();
        assert_eq!(metas, [(key, value.meta())], "{manner:?}");
        sharing.abort();
        serving.abort();
    }
}
