use std::os::fd::AsFd;

use grid_net::{HostListener, Identity};
use grid_proto::{Codec, ObjectMeta, Value};
use grid_share::Sealed;
use grid_store::{Store, StoreConfig};

use super::*;
use crate::brought::Taking;
use crate::serve::{Serving, serve};

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
async fn what_has_come_is_handed_over_before_all_of_a_request_is_there() {
    let home = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(home.path()).unwrap();
    let endpoint = || Endpoint::quic(([127, 0, 0, 1], 0).into(), &identity).unwrap();
    let theirs = endpoint();
    let address = theirs.address();
    let value = |number: u8| Value { codec: Codec::Raw, bytes: vec![number; 1 << 20] };
    let (go_on, mut told) = mpsc::channel::<()>(1);
    let serving = tokio::spawn(async move {
        let connection = theirs.accept().await.unwrap();
        while let Ok((_, mut send, mut recv)) = connection.accept().await {
            let Some(BulkRequest::Objects(keys)) = recv.recv().await.unwrap() else { continue };
            for number in 0..u8::try_from(keys.len()).unwrap() {
                send.send(&BulkHeader::Found(value(number).meta())).await.unwrap();
                send.send_bytes(&value(number).bytes).await.unwrap();
                // The next one only when this one is kept.
                told.recv().await;
            }
            send.finish().await.unwrap();
        }
    });
    let keys: Vec<_> = (0..3).map(|number| Key::of_data(&value(number).meta())).collect();
    let own = endpoint().without_shared_memory();
    let peers = Peers::new(own, Incoming::new(Store::default(), 1 << 30));
    let (keeper, mut parts) = mpsc::channel(1);
    let fetch = tokio::spawn(peers.fetch(WorkerId(1), Some(address), keys.clone(), Some(keeper)));
    for key in &keys {
        let part = parts.recv().await.unwrap();
        assert!(part.more && part.failed.is_empty());
        assert_eq!(part.objects.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [*key]);
        go_on.send(()).await.unwrap();
    }
    let last = fetch.await.unwrap();
    assert!(!last.more && last.objects.is_empty() && last.failed.is_empty());
    serving.abort();
}

#[tokio::test]
async fn what_waits_to_be_handed_over_is_not_lost_when_nobody_waits_for_it_any_more() {
    let (keeper, mut kept) = mpsc::channel(1);
    let mut arrivals = Arrivals::new(WorkerId(1), Some(keeper));
    let store = Store::default();
    let object = |number: u8| {
        let value = Value { codec: Codec::Raw, bytes: vec![number; 1 << 20] };
        let object = grid_store::Object::new(value, store.gauge());
        (Key::of_data(&object.meta), Arrived::Object(object))
    };
    let keys: Vec<_> = (0..2).map(|number| object(number).0).collect();
    let (key, first) = object(0);
    arrivals.add(key, first).await;
    // Nobody takes the first: the second waits, and its connection ends.
    let (key, second) = object(1);
    tokio::select! {
        biased;
        () = arrivals.add(key, second) => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    let last = arrivals.take(Vec::new(), false);
    let parts = [kept.recv().await.unwrap(), last];
    let came = parts.iter().flat_map(|part| &part.objects).map(|(key, _)| *key);
    assert_eq!(came.collect::<Vec<_>>(), keys);
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
        let fetched = peers.fetch(WorkerId(1), Some(address), vec![key], None).await;
        assert!(fetched.failed.is_empty(), "{manner:?}");
        let metas: Vec<_> = fetched.objects.iter().map(|(key, it)| (*key, it.meta())).collect();
        assert_eq!(metas, [(key, value.meta())], "{manner:?}");
        sharing.abort();
        serving.abort();
    }
}

/// What a peer was asked for, and how many bytes of objects it has given.
#[derive(Default)]
struct Given {
    rests: Vec<u64>,
    bytes: u64,
}

/// Gives the first `cut` bytes of an object, and then ends the stream; the rest if it is asked for that.
async fn cutting(endpoint: Endpoint, value: Value, cut: usize, given: Arc<Mutex<Given>>) {
    let connection = endpoint.accept().await.unwrap();
    while let Ok((_, mut send, mut recv)) = connection.accept().await {
        let part = match recv.recv::<BulkRequest>().await.unwrap() {
            Some(BulkRequest::Objects(_)) => &value.bytes[..cut],
            Some(BulkRequest::Rest { meta, offset, .. }) => {
                assert_eq!(meta, value.meta());
                given.lock().unwrap().rests.push(offset);
                &value.bytes[usize::try_from(offset).unwrap()..]
            }
            other => panic!("{other:?}"),
        };
        given.lock().unwrap().bytes += part.len() as u64;
        send.send(&BulkHeader::Found(value.meta())).await.unwrap();
        send.send_bytes(part).await.unwrap();
        send.finish().await.unwrap();
    }
}

fn quic(identity: &Identity) -> Endpoint {
    let endpoint = Endpoint::quic(([127, 0, 0, 1], 0).into(), identity).unwrap();
    endpoint.without_shared_memory()
}

/// A store that has room for less than a mebibyte in memory.
fn small_store(directory: &std::path::Path) -> Store {
    let directory = Some(directory.to_owned());
    Store::open(&StoreConfig { directory, target_bytes: 1 << 19, ..StoreConfig::default() })
}

fn value(length: usize) -> Value {
    let bytes = (0..length).map(|place| (place % 251) as u8).collect();
    Value { codec: Codec::Raw, bytes }
}

fn bytes_of(store: &Store, incoming: &Incoming, fetched: Fetched) -> Vec<u8> {
    let (key, arrived) = fetched.objects.into_iter().next().unwrap();
    assert!(incoming.keep(key, arrived));
    store.load(&key).unwrap().bytes.to_vec()
}

#[tokio::test]
async fn a_peer_that_breaks_off_in_the_middle_is_asked_for_the_rest_only() {
    let home = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(home.path()).unwrap();
    // In memory, and through a file.
    for store in [Store::default(), small_store(&home.path().join("files"))] {
        let (theirs, value) = (quic(&identity), value(3 << 20));
        let (key, address) = (Key::of_data(&value.meta()), theirs.address());
        let given = Arc::<Mutex<Given>>::default();
        let (cut, heard) = ((3 << 20) / 2 + 1, Arc::clone(&given));
        let serving = tokio::spawn(cutting(theirs, value.clone(), cut, heard));
        let incoming = Incoming::new(store.clone(), 1 << 30);
        let peers = Peers::new(quic(&identity), incoming.clone());
        let fetched = peers.fetch(WorkerId(1), Some(address), vec![key], None).await;
        assert!(fetched.failed.is_empty());
        assert_eq!(bytes_of(&store, &incoming, fetched), value.bytes);
        let given = given.lock().unwrap();
        assert_eq!(given.rests, [cut as u64]);
        assert_eq!(given.bytes, value.meta().size, "no byte came twice");
        serving.abort();
    }
}

#[tokio::test]
async fn what_one_peer_did_not_finish_another_does() {
    let home = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(home.path()).unwrap();
    let value = value(3 << 20);
    let key = Key::of_data(&value.meta());
    // The other one has it in memory, on disk, or has something else, or the first one gave what it is not.
    for manner in ["memory", "disk", "other", "changed"] {
        let (broken, whole) = (quic(&identity), quic(&identity));
        let addresses = [broken.address(), whole.address()];
        let theirs = match manner {
            "disk" => small_store(&home.path().join("theirs")),
            _ => Store::default(),
        };
        let kept = match manner {
            "other" => Value { codec: Codec::Raw, bytes: vec![1; 3 << 20] },
            _ => value.clone(),
        };
        theirs.insert(key, grid_store::Object::new(kept.clone(), theirs.gauge()));
        let spilled = || manner != "disk" || theirs.usage().spilled == 1;
        while !spilled() {
            tokio::task::yield_now().await;
        }
        let store = Store::default();
        let incoming = Incoming::new(store.clone(), 1 << 30);
        let (lost, keeper) = (mpsc::channel(1).0, mpsc::channel(1).0);
        let taking = Taking { incoming: incoming.clone(), bytes_max: 0, keeper };
        let serving = Serving { store: theirs.clone(), lost, taking, door: None };
        let serving = tokio::spawn(serve(whole, serving));
        let mut cut = value.clone();
        if manner == "changed" {
            cut.bytes[7] += 1;
        }
        let meta = value.meta();
        let breaking = tokio::spawn(async move {
            let connection = broken.accept().await.unwrap();
            let (_, mut send, _recv) = connection.accept().await.unwrap();
            send.send(&BulkHeader::Found(meta)).await.unwrap();
            send.send_bytes(&cut.bytes[..1 << 20]).await.unwrap();
            send.finish().await.unwrap();
            let _ = connection.accept().await;
            connection.close("gone");
        });
        let peers = Peers::new(quic(&identity), incoming.clone());
        let [broken, whole] = addresses;
        let fetched = peers.clone().fetch(WorkerId(1), Some(broken), vec![key], None).await;
        assert_eq!(fetched.failed, [key]);
        assert_eq!(peers.partials.bytes_of(&[key]), 1 << 20);
        assert_eq!(store.gauge().bytes(), 3 << 20, "what is to come is counted");
        let fetched = peers.fetch(WorkerId(2), Some(whole), vec![key], None).await;
        assert_eq!(bytes_of(&store, &incoming, fetched), kept.bytes, "{manner}");
        assert_eq!(store.gauge().bytes(), 3 << 20);
        serving.abort();
        breaking.abort();
    }
}

#[tokio::test]
async fn a_part_whose_rest_nobody_asks_for_is_dropped() {
    let store = Store::default();
    let incoming = Incoming::new(store.clone(), 1 << 30);
    let value = value(1 << 10);
    let key = Key::of_data(&value.meta());
    let hub = grid_net::MemoryHub::new();
    let (ours, theirs) =
        (Endpoint::memory(&hub, "a").unwrap(), Endpoint::memory(&hub, "b").unwrap());
    let connection = ours.connect("memory:b", Duration::from_secs(1)).await.unwrap();
    let accepted = theirs.accept().await.unwrap();
    let (mut send, _) = connection.open(Kind::Bulk).await.unwrap();
    send.send_bytes(&value.bytes[..100]).await.unwrap();
    send.finish().await.unwrap();
    let (_, _, mut recv) = accepted.accept().await.unwrap();
    let mut partial = incoming.begin(key, value.meta()).await.unwrap();
    partial.go_on(&mut recv).await.unwrap_err();
    let partials = Partials::kept_for(Duration::from_millis(20));
    partials.keep(key, partial);
    assert_eq!((partials.bytes_of(&[key]), store.gauge().bytes()), (100, 1 << 10));
    while partials.bytes_of(&[key]) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.gauge().bytes(), 0);
}
